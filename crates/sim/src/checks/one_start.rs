//! Rule 2: an attempt starts its installer at most once without evidence that the earlier start ended.

use super::{Checked, Rule, require};
use crate::client::Start;

/// Judges the newest of a host's starts, the last in `starts`.
///
/// # Errors
/// Another installer runs, or an earlier start of the attempt is not known to have ended, or INTENT is not durable:
/// `intents` counts the INTENTs of the attempt that are.
pub fn one_start(starts: &[Start], intents: usize) -> Checked {
    let Some((newest, earlier)) = starts.split_last() else { return Ok(()) };
    let name = || format!("{:?} attempt {}", newest.line, newest.attempt);
    require(Rule::OneStart, earlier.iter().all(|start| start.over), || {
        format!("{} starts while another installer runs", name())
    })?;
    let of_attempt = |start: &&Start| start.line == newest.line && start.attempt == newest.attempt;
    require(Rule::OneStart, earlier.iter().filter(of_attempt).all(|start| start.told), || {
        format!("{} starts again without evidence that the start before ended", name())
    })?;
    let made = starts.iter().filter(of_attempt).count();
    require(Rule::OneStart, made <= intents, || {
        format!("{}: {made} starts, {intents} durable INTENTs", name())
    })
}
