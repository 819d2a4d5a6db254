//! `packhorse job watch`: live on a terminal; on a pipe a line whenever something changed.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use packhorse_wire::admin::JobView;
use packhorse_wire::net::LinkError;

use crate::api::Api;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::job::{Group, Tally, counts_of, groups};
use crate::say;

/// Pause before asking again when the system did not answer.
const PAUSE: Duration = Duration::from_secs(2);
/// How often in a row it may not answer.
const TRIES_MAX: u32 = 30;
/// Most reasons that are shown at once.
const REASONS_MAX: usize = 8;

/// Follows a job until all lines known have ended, an offer (unless `to_end`) until every host shows it; fails if not all that
/// ended ended well.
///
/// # Errors
/// The job did not end well, or nobody answers any more.
pub async fn follow(api: &Api, job: &str, to_end: bool) -> Outcome {
    let mut screen = Screen::new();
    let mut view = api.job(job).await?;
    loop {
        screen.show(&view)?;
        let tally = Tally::of(&view.job.counts);
        let shown = !to_end && view.job.job_type == "offer" && is_shown(&view);
        if (tally.is_over() || shown) && !is_to_come(&view) {
            screen.end();
            return verdict(&view, tally);
        }
        view = tokio::select! {
            view = news(api, job, view.change) => view?,
            () = say::reader_gone() => return Err(Failure::silent(Exit::Ok)),
        };
    }
}

/// A job without lines whose time has not come has not ended.
fn is_to_come(view: &JobView) -> bool {
    view.instructions.is_empty() && view.job.state == "scheduled"
}

/// Whether every host shows the offer, or is past that.
fn is_shown(view: &JobView) -> bool {
    !view.instructions.is_empty()
        && view.instructions.iter().all(|line| !matches!(line.state.as_str(), "registered" | "waiting"))
}

fn verdict(view: &JobView, tally: Tally) -> Outcome {
    let bad = tally.ended - tally.well;
    if bad == 0 || tally.is_well() {
        return Ok(());
    }
    let id = say::clean(&view.job.id);
    say::note(&format!("{bad} of {} did not end well: packhorse explain {id}", tally.all));
    Err(Failure::silent(Exit::Failed))
}

/// Asks until there is an answer; a server that restarts meanwhile is waited for.
async fn news(api: &Api, job: &str, seen: u64) -> Result<JobView, LinkError> {
    let mut tries = 0;
    loop {
        match api.job_after(job, seen).await {
            Err(error) if error.is_passing() && tries < TRIES_MAX => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// Where it is shown.
enum Screen {
    Live { all: MultiProgress, bar: ProgressBar, reasons: Vec<ProgressBar> },
    Plain { last: Vec<String> },
}

impl Screen {
    fn new() -> Screen {
        if !say::is_terminal() {
            return Screen::Plain { last: Vec::new() };
        }
        let all = MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::stdout());
        let style = ProgressStyle::with_template("{prefix} [{bar:30.green}] {pos}/{len}  {msg}");
        let bar = all.add(ProgressBar::new(1));
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("█▌ "));
        Screen::Live { all, bar, reasons: Vec::new() }
    }

    fn show(&mut self, view: &JobView) -> Outcome {
        let tally = Tally::of(&view.job.counts);
        let counts = counts_of(&view.job);
        // What is silent is not waited for on the screen, and may be back.
        let waited_for = tally.all - view.job.silent.min(tally.all);
        let mut why: Vec<String> =
            groups(&view.instructions).iter().take(REASONS_MAX).map(Group::line).collect();
        why.extend(failures(view));
        match self {
            Screen::Live { all, bar, reasons } => {
                bar.set_prefix(format!("job {}", say::clean(&view.job.id)));
                bar.set_length(waited_for);
                bar.set_position(tally.ended);
                bar.set_message(counts);
                set_lines(all, reasons, &why);
                Ok(())
            }
            Screen::Plain { last } => {
                let mut lines = vec![format!("{} of {waited_for} ended · {counts}", tally.ended)];
                lines.extend(why.into_iter().map(|line| format!("  {line}")));
                let fresh: Vec<&String> = lines.iter().filter(|line| !last.contains(line)).collect();
                for line in fresh {
                    say::line(line)?;
                }
                *last = lines;
                Ok(())
            }
        }
    }

    fn end(&mut self) {
        if let Screen::Live { bar, reasons, .. } = self {
            bar.abandon();
            for reason in reasons {
                reason.finish_and_clear();
            }
        }
    }
}

/// Lines that failed, by what they say.
fn failures(view: &JobView) -> Vec<String> {
    let mut texts: Vec<(String, u64)> = Vec::new();
    for line in view.instructions.iter().filter(|line| line.state == "failed") {
        let why = crate::render::job::why(line);
        match texts.iter_mut().find(|(text, _)| *text == why) {
            Some((_, number)) => *number += 1,
            None => texts.push((why, 1)),
        }
    }
    texts.into_iter().take(REASONS_MAX).map(|(text, number)| format!("{number} failed: {text}")).collect()
}

/// As many lines below the bar as there are reasons.
fn set_lines(all: &MultiProgress, bars: &mut Vec<ProgressBar>, texts: &[String]) {
    while bars.len() > texts.len() {
        if let Some(bar) = bars.pop() {
            bar.finish_and_clear();
            all.remove(&bar);
        }
    }
    while bars.len() < texts.len() {
        let bar = all.add(ProgressBar::new_spinner());
        bar.set_style(
            ProgressStyle::with_template("  {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bars.push(bar);
    }
    for (bar, text) in bars.iter().zip(texts) {
        bar.set_message(text.clone());
    }
}
