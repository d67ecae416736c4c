//! How far the run is, on stderr: a line that moves on a terminal, else one line each 30 s.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::evaluate::Evaluation;

const PAUSE: Duration = Duration::from_secs(30);

/// Progress of one run.
pub struct Progress {
    name: String,
    begun: u64,
    last: u64,
    bar: Option<ProgressBar>,
    start: Instant,
    spoken: Instant,
    words: String,
}

impl Progress {
    /// Begins with `begun` iterations of `last` done by the parts before.
    pub fn new(name: &str, begun: u64, last: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(last).with_position(begun);
            bar.reset_eta();
            let template = "{prefix} {bar:30} {pos}/{len} {per_sec} ETA {eta} {msg}";
            bar.set_style(
                ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.set_prefix(name.to_owned());
            bar
        });
        let now = Instant::now();
        let (name, words) = (name.to_owned(), String::new());
        Self { name, begun, last, bar, start: now, spoken: now, words }
    }

    /// An evaluation was made.
    pub fn evaluation(&mut self, evaluation: &Evaluation) {
        let Evaluation { test_accuracy, hypergradient_norm, .. } = *evaluation;
        self.words = match (test_accuracy.is_nan(), hypergradient_norm.is_nan()) {
            (false, _) => format!("test accuracy {:.2} %", 100.0 * test_accuracy),
            (true, false) => format!("|hypergradient| {hypergradient_norm:.3e}"),
            (true, true) => String::new(),
        };
        if let Some(bar) = &self.bar {
            bar.set_message(self.words.clone());
        }
    }

    /// `k` iterations are done.
    pub fn at(&mut self, k: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(k);
        } else if self.spoken.elapsed() >= PAUSE && k > self.begun {
            self.spoken = Instant::now();
            let each = self.start.elapsed().div_f64((k - self.begun) as f64);
            let left = each.mul_f64((self.last - k) as f64);
            let percent = 100 * k / self.last;
            let Self { name, last, words, .. } = self;
            let left = HumanDuration(left);
            crate::system::say(&format!("{name}: {k}/{last} ({percent} %), {left} left, {words}"));
        }
    }

    /// A remark that is no error.
    pub fn note(&self, words: &str) {
        let say = || crate::system::say(&format!("sobaya: note: {words}"));
        match &self.bar {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }

    /// Takes the line off the terminal.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
