use super::*;

fn line(host: &str, state: &str) -> InstructionView {
    InstructionView {
        host: host.into(),
        package: "office/editor@2.1:1".into(),
        attempt: 1,
        state: state.into(),
        reason: None,
        progress_percent: None,
        result: None,
        silent: false,
    }
}

fn waiting(host: &str, code: &str, system: &str, text: &str) -> InstructionView {
    let reason = ReasonView {
        code: code.into(),
        system: system.into(),
        since: "2026-11-24T09:12:00Z".into(),
        next_try: None,
        clear: "switch it on".into(),
        text: text.into(),
    };
    InstructionView { reason: Some(reason), ..line(host, "waiting") }
}

fn failed(host: &str, tail: &str) -> InstructionView {
    let result = ResultView {
        at: "2026-11-24T09:13:00Z".into(),
        class: Some("installer".into()),
        step: "install".into(),
        exit_code: Some(3),
        text: "dpkg ended with 3".into(),
        tail: tail.into(),
        verdict: None,
        by: None,
    };
    InstructionView { result: Some(result), ..line(host, "failed") }
}

fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(word, number)| ((*word).to_owned(), *number)).collect()
}

#[test]
fn counts_stand_in_the_order_of_states() {
    let some = counts(&[("failed", 1), ("done", 3), ("at_relay", 2), ("waiting", 0), ("newer_word", 1)]);
    assert_eq!(counts_text(&some), "2 at relay · 3 done · 1 failed · 1 newer word");
    assert_eq!(counts_text(&counts(&[])), "no lines yet");
}

#[test]
fn a_tally_knows_what_ended_well() {
    let tally = |pairs| Tally::of(&counts(pairs));
    assert_eq!(tally(&[("done", 3), ("superseded", 1)]), Tally { all: 4, ended: 4, well: 4 });
    assert!(!tally(&[("done", 3), ("missed", 1)]).is_well());
    assert!(tally(&[("done", 3), ("missed", 1)]).is_over());
    assert!(!tally(&[("done", 3), ("installing", 1)]).is_over());
    assert!(!tally(&[("a_state_of_tomorrow", 1)]).is_over());
}

#[test]
fn groups_name_a_reason_once() {
    let lines = [
        waiting("pc1", "host_off", "pc1", "pc1: waiting at pc1 since 09:12"),
        waiting("pc2", "disk", "osaka", "pc2: 4.1 GB needed\u{7}"),
        waiting("pc3", "disk", "osaka", "4.1 GB needed"),
        line("pc4", "done"),
    ];
    let lines: Vec<String> = groups(&lines).iter().map(Group::line).collect();
    assert_eq!(lines, ["2 disk (pc2, pc3): 4.1 GB needed ", "pc1: waiting at pc1 since 09:12"]);
}

#[test]
fn a_job_as_it_is_shown() {
    let view = JobView {
        job: JobSummary {
            id: "server/3".into(),
            job_type: "install".into(),
            state: "running".into(),
            packages: vec!["office/editor@2.1:1".into()],
            to: vec!["below:osaka".into()],
            at: None,
            until: "tomorrow".into(),
            created: "today".into(),
            counts: counts(&[("waiting", 2), ("done", 1), ("failed", 1)]),
            silent: 1,
        },
        revision: 1,
        closed: None,
        plan: vec![PlanFact {
            what: "server → osaka".into(),
            planned: "38 MB".into(),
            fact: "39 MB since, all jobs together".into(),
        }],
        instructions: vec![
            InstructionView {
                progress_percent: Some(40),
                ..waiting("pc1", "host_off", "pc1", "off since 09:12")
            },
            line("pc2", "done"),
            failed("pc3", "line one\u{1b}[31m\nline two\n"),
            InstructionView { silent: true, ..waiting("pc4", "silent", "osaka", "not heard for 91 days") },
        ],
        silent_days: 90,
        change: 7,
    };
    assert_eq!(
        show(&view),
        "job    server/3 install office/editor@2.1:1\n\
         to     below:osaka\n\
         state  running · 2 waiting · 1 done · 1 failed (1 silent for very long, not counted)\n\
         at     now\n\
         until  tomorrow\n\
         made   today · revision 1\n\n\
         WHAT            PLANNED  SO FAR\n\
         server → osaka  38 MB    39 MB since, all jobs together\n\n\
         HOST  PACKAGE              ATTEMPT  STATE    PROGRESS  WHY\n\
         pc1   office/editor@2.1:1        1  waiting  40 %      off since 09:12\n\
         pc2   office/editor@2.1:1        1  done     -         -\n\
         pc3   office/editor@2.1:1        1  failed   -         installer: exit 3: dpkg ended with 3\n\n\
         silent for more than 90 days, not counted:\n\
         HOST  PACKAGE              ATTEMPT  STATE    PROGRESS  WHY\n\
         pc4   office/editor@2.1:1        1  waiting  -         not heard for 91 days\n\n\
         the end of what it said at pc3:\n\
         \u{20} line one [31m\n\
         \u{20} line two"
    );
}
