//! What `explain` and `--plan` answer. The sentences are the server's; here they are laid out.

use packhorse_wire::admin::{ExplainEntry, Explained, PlanView};

use crate::say;

/// An explanation: the summary, then an entry each, and what would clear it.
pub fn explained(answer: &Explained) -> String {
    let mut lines = Vec::new();
    // About a single line the summary is that line's sentence: once is enough.
    let said = answer.entries.len() == 1 && answer.entries[0].text.starts_with(&answer.summary);
    if !answer.summary.is_empty() && !said {
        lines.push(say::clean_lines(&answer.summary));
    }
    for entry in &answer.entries {
        lines.extend(entry_lines(entry));
    }
    if lines.is_empty() { "nothing waits and nothing went wrong".into() } else { lines.join("\n") }
}

fn entry_lines(entry: &ExplainEntry) -> Vec<String> {
    let mut lines = vec![format!("  {}", say::clean(&sentence(entry)))];
    if let Some(clear) = entry.clear.as_ref().filter(|clear| !clear.is_empty()) {
        lines.push(format!("    to clear it: {}", say::clean(clear)));
    }
    lines
}

/// The server's sentence; of a group also who is in it.
fn sentence(entry: &ExplainEntry) -> String {
    if entry.lines <= 1 || entry.hosts.is_empty() {
        return entry.text.clone();
    }
    let more = if entry.lines > entry.hosts.len() as u64 { " …" } else { "" };
    format!("{} ({}{more})", entry.text, entry.hosts.join(", "))
}

/// A plan, as the server wrote it.
pub fn plan(view: &PlanView) -> String {
    say::clean_lines(&view.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(lines: u64, hosts: &[&str], text: &str, clear: Option<&str>) -> ExplainEntry {
        ExplainEntry {
            job: Some("server/3".into()),
            lines,
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            state: "waiting".into(),
            text: text.into(),
            clear: clear.map(Into::into),
        }
    }

    #[test]
    fn a_plan_is_shown_as_the_server_wrote_it() {
        let text = "install office/editor@2.1:1 to below:osaka            180 hosts: 179 in, 1 out\n\
                    \u{20} out   1 has it already\n\
                    \u{20} when  now; no window: any time\u{1b}[2J\n\
                    \u{20} line  server → osaka    38 MB (kept until 3 Dec)\n";
        let view = PlanView {
            to: vec![],
            packages: vec![],
            hosts: 180,
            within: 179,
            out: vec![],
            lines: vec![],
            ends: None,
            stage: None,
            text: text.into(),
        };
        assert_eq!(plan(&view), text.replace('\u{1b}', " ").trim_end());
    }

    #[test]
    fn groups_and_single_lines() {
        let answer = Explained {
            summary: "312 of 340 done · 11 off · 3 failed: exit 1603".into(),
            entries: vec![
                entry(11, &["pc1", "pc2"], "11 off since 09:12", Some("switch it on")),
                entry(
                    1,
                    &["pc17"],
                    "pc17: waiting at osaka\u{1b}[31m: no room.",
                    Some("packhorse relay list"),
                ),
                entry(2, &["a", "b"], "2 failed: exit 1603", None),
            ],
        };
        assert_eq!(
            explained(&answer),
            "312 of 340 done · 11 off · 3 failed: exit 1603\n\
             \u{20} 11 off since 09:12 (pc1, pc2 …)\n\
             \u{20}   to clear it: switch it on\n\
             \u{20} pc17: waiting at osaka [31m: no room.\n\
             \u{20}   to clear it: packhorse relay list\n\
             \u{20} 2 failed: exit 1603 (a, b)"
        );
        let text = "pc17: failed: exit 1 (main/editor@1.0:1)";
        let single = Explained {
            summary: "pc17: failed: exit 1".into(),
            entries: vec![entry(1, &["pc17"], text, Some("packhorse job retry 3 --failed"))],
        };
        let shown = explained(&single);
        assert_eq!(shown, format!("  {text}\n    to clear it: packhorse job retry 3 --failed"));
        let nothing = Explained { summary: String::new(), entries: vec![] };
        assert_eq!(explained(&nothing), "nothing waits and nothing went wrong");
    }
}
