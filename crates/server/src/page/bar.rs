//! Progress as a bar: drawn as SVG, because the page's policy allows no style inside it.

use askama::Template;

/// The width that all parts share.
const WHOLE: u64 = 1000;

/// A bar; what it says in words stands in its label.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label="{{ label }}">{% for part in parts %}<rect class="{{ part.class }}" x="{{ part.x }}" y="0" width="{{ part.width }}" height="10"/>{% endfor %}</svg>"#
)]
pub struct Bar {
    parts: Vec<Part>,
    label: String,
}

struct Part {
    class: &'static str,
    x: u64,
    width: u64,
}

impl Bar {
    /// One value of 0 to 100.
    pub fn percent(class: &'static str, percent: u8, label: String) -> Bar {
        let percent = u64::from(percent.min(100));
        Bar::of(&[(class, percent)], 100, label)
    }

    /// Shares of `total`, from left to right. What there is of something can be seen, however little it is.
    pub fn of(shares: &[(&'static str, u64)], total: u64, label: String) -> Bar {
        let mut parts: Vec<Part> = Vec::new();
        let mut x = 0;
        for (class, share) in shares.iter().filter(|(_, share)| *share > 0) {
            let exact = u128::from(*share) * u128::from(WHOLE) / u128::from(total.max(1));
            let width = u64::try_from(exact).unwrap_or(WHOLE).max(12).min(WHOLE - x);
            parts.push(Part { class, x, width });
            x += width;
        }
        Bar { parts, label }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_stays_within_its_width_and_shows_little_things() {
        let text = Bar::of(&[("ok", 999_999), ("bad", 1), ("wait", 0)], 1_000_000, "<all>".into());
        let text = text.render().unwrap();
        assert!(text.contains(r#"class="ok" x="0" y="0" width="999""#), "{text}");
        assert!(text.contains(r#"class="bad" x="999" y="0" width="1""#), "{text}");
        assert!(!text.contains("wait") && text.contains("&#60;all&#62;"), "{text}");
        assert!(Bar::percent("go", 255, String::new()).render().unwrap().contains(r#"width="1000""#));
    }
}
