//! Printing reports as they come, or JSON at the end, and progress on a terminal. Judges nothing.

use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::report::{Report, Summary};
use crate::cli::failure::Failure;
use crate::cli::output;

/// Prints reports as they come; JSON, at the end.
pub(super) struct Printer {
    json: bool,
    each: bool,
    total: usize,
    kept: Vec<Report>,
    summary: Summary,
    /// Draws itself on a terminal only.
    bar: ProgressBar,
}

#[derive(Serialize)]
struct Document<'a> {
    packets: &'a [Report],
    summary: &'a Summary,
}

/// From so many packets on, progress is shown.
const MANY: usize = 20;

impl Printer {
    /// `each`: print every packet, not only the summary.
    pub(super) fn new(json: bool, each: bool, total: usize) -> Self {
        let bar = if total >= MANY && (json || !each) {
            let style = ProgressStyle::with_template("{bar:40} {pos}/{len}, {per_sec}, {eta} left");
            ProgressBar::new(total as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        } else {
            ProgressBar::hidden()
        };
        Self { json, each, total, kept: vec![], summary: Summary::default(), bar }
    }

    pub(super) fn take(&mut self, report: Report) -> Result<(), Failure> {
        self.summary.add(&report);
        self.bar.inc(1);
        match (self.each, self.json) {
            (true, true) => self.kept.push(report),
            (true, false) => output::print(&report.text())?,
            (false, _) => {}
        }
        Ok(())
    }

    pub(super) fn finish(mut self, elapsed: Duration) -> Result<ExitCode, Failure> {
        self.bar.finish_and_clear();
        self.summary.finish(elapsed);
        if self.json {
            output::print_json(&Document { packets: &self.kept, summary: &self.summary })?;
        } else if self.total > 1 {
            output::print(&self.summary.text())?;
        }
        Ok(ExitCode::from(self.summary.worst().exit_code()))
    }
}
