//! How far a long reading has come: on stderr, never when nobody waits.

use std::{
    fs,
    io::{IsTerminal, stderr},
    path::PathBuf,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::grouped;
use crate::output::Output;

/// What is over sooner needs no progress.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a line is printed where there is no terminal.
const PACE: Duration = Duration::from_secs(10);

/// The bytes that were read of all there are.
pub(super) struct Progress {
    read: u64,
    all: u64,
    started: Instant,
    told: Instant,
    bar: Option<ProgressBar>,
    is_terminal: bool,
    is_quiet: bool,
}

impl Progress {
    pub(super) fn start(files: &[PathBuf], output: &Output) -> Self {
        let sizes = files.iter().filter_map(|file| Some(fs::metadata(file).ok()?.len()));
        let now = Instant::now();
        Self {
            read: 0,
            all: sizes.sum(),
            started: now,
            told: now,
            bar: None,
            is_terminal: stderr().is_terminal(),
            is_quiet: output.is_quiet(),
        }
    }

    pub(super) fn advance(&mut self, bytes: usize) {
        self.read = self.read.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Tells, if it is time to.
    pub(super) fn tell(&mut self, calls: impl Fn() -> u64) {
        if self.is_quiet || self.started.elapsed() < PATIENCE {
            return;
        }
        if self.is_terminal {
            let bar = self.bar.get_or_insert_with(|| bar(self.all));
            bar.set_position(self.read);
            bar.set_message(format!("{} calls", grouped(calls())));
        } else if self.told.elapsed() >= PACE {
            self.told = Instant::now();
            let percent = self.read.saturating_mul(100).checked_div(self.all).unwrap_or(100);
            eprintln!("replayed {percent}% {} calls", grouped(calls()));
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(all: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(all), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("Replaying [{bar:40}] {msg} {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("##-"));
    bar
}
