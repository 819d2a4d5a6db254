//! What is told while it happens: on a terminal with live progress, on a pipe as plain lines.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Outcome;
use crate::say;

/// Tells the story.
#[derive(Debug)]
pub struct Narrator {
    live: ProgressBar,
}

impl Narrator {
    /// On this terminal, or pipe.
    pub fn new() -> Narrator {
        if !say::is_terminal() {
            return Narrator { live: ProgressBar::hidden() };
        }
        let live = ProgressBar::new_spinner();
        live.set_draw_target(indicatif::ProgressDrawTarget::stdout());
        let style = ProgressStyle::with_template("  {spinner:.cyan} {wide_msg}");
        live.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        live.enable_steady_tick(Duration::from_millis(100));
        Narrator { live }
    }

    /// A step begins.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn step(&self, title: &str) -> Outcome {
        self.print(&say::styled(say::HEAD, title))
    }

    /// How it goes; overwritten by the next.
    pub fn progress(&self, text: &str) {
        self.live.set_message(say::clean(text));
    }

    /// Something that was found to be so.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn fact(&self, text: &str) -> Outcome {
        self.live.set_message("");
        for line in say::clean_lines(text).lines() {
            self.print(&format!("  {} {line}", say::styled(say::GOOD, "✓")))?;
        }
        Ok(())
    }

    /// Text as it is, several lines.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn text(&self, text: &str) -> Outcome {
        for line in say::clean_lines(text).lines() {
            self.print(&format!("  {line}"))?;
        }
        Ok(())
    }

    fn print(&self, line: &str) -> Outcome {
        self.live.suspend(|| say::line(line))
    }

    /// No more progress.
    pub fn end(&self) {
        self.live.finish_and_clear();
    }
}
