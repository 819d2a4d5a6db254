//! When a package that is there is to be installed: `timing` and `install_at` of `[install]`.

use jiff::civil::DateTime;
use packhorse_domain::agent::Timing;

/// The word of a timing.
pub fn word(timing: Timing) -> &'static str {
    match timing {
        Timing::Now => "now",
        Timing::Start => "start",
        Timing::Stop => "stop",
    }
}

/// `now`, `start`, `stop`. Errors: a sentence that says what is possible.
pub fn parse(text: &str) -> Result<Timing, String> {
    let all = [Timing::Now, Timing::Start, Timing::Stop];
    all.into_iter().find(|timing| word(*timing) == text).ok_or_else(|| {
        let shown: String = text.chars().take(32).collect();
        format!("timing {shown:?} is not known; now, start (of the system) and stop are possible")
    })
}

/// `2026-12-01 07:00`: what the clock shows, in the time of the job: the managing server's, or with `--host-time` each host's
/// own. Errors: a sentence that says how it is written.
pub fn parse_install_at(text: &str) -> Result<DateTime, String> {
    let wrong = || {
        let shown: String = text.chars().take(32).collect();
        format!("install_at {shown:?} is not a time such as \"2026-12-01 07:00\"")
    };
    let shape = text.len() == "2026-12-01 07:00".len() && text.as_bytes()[10] == b' ';
    if !shape || !text.is_ascii() {
        return Err(wrong());
    }
    text.parse().map_err(|_| wrong())
}

/// As [`parse_install_at`] reads it.
pub fn install_at_text(at: DateTime) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}

/// What both may not say together. Errors: a sentence.
pub fn check_together(timing: Timing, install_at: Option<DateTime>) -> Result<(), String> {
    match (timing, install_at) {
        (Timing::Start | Timing::Stop, Some(_)) => {
            Err(format!("timing {:?} and install_at exclude each other: write one of them", word(timing)))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for timing in [Timing::Now, Timing::Start, Timing::Stop] {
            assert_eq!(parse(word(timing)), Ok(timing));
        }
        assert!(parse("later").is_err());
        let at = parse_install_at("2026-12-01 07:00").unwrap();
        assert_eq!(install_at_text(at), "2026-12-01 07:00");
        for bad in
            ["2026-12-01", "2026-12-01T07:00", "2026-13-01 07:00", "2026-12-01 07:00Z", "2026-12-0é 7:00", ""]
        {
            assert!(parse_install_at(bad).is_err(), "{bad}");
        }
        assert!(check_together(Timing::Start, Some(at)).is_err());
        assert!(check_together(Timing::Now, Some(at)).is_ok());
    }
}
