//! A bar for each day or hour, on a terminal or in a pipe.

use std::collections::BTreeMap;
use std::io;

use crate::model::Timestamp;
use crate::store::reports::{Asked, Cell, Kind, Report};

use super::super::failure::Failure;
use super::super::output;
use super::number;
use super::print::shown;

/// When nobody says how wide the terminal is.
const WIDTH: usize = 80;
/// More lines than this are no picture any more.
const LINES: usize = 1000;
/// Eighths of a cell, from none.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// How a report is drawn.
pub(super) struct Chart {
    /// Where the values are.
    value: usize,
    kind: Kind,
    /// Seconds from a bar to the next.
    step: i64,
    /// How much of a time is written.
    label: usize,
}

/// How this report is drawn; not every one can be.
pub(super) fn of(report: &Report) -> Result<Chart, Failure> {
    let (value, step, label) = match report.name {
        "usage" => ("octets", 86_400, "2026-11-01".len()),
        "hours" => ("octets", 3600, "2026-11-01T08:00".len()),
        "concurrent" => ("most_at_once", 3600, "2026-11-01T08:00".len()),
        other => {
            return Err(Failure::usage(format!("report {other} has no chart; there are usage, hours, concurrent")));
        }
    };
    let value = report.columns.iter().position(|column| column.name == value).expect("these reports have it");
    Ok(Chart { value, kind: report.columns[value].kind, step, label })
}

impl Chart {
    pub(super) fn print(&self, rows: &[Vec<Cell>], asked: &Asked) -> Result<(), Failure> {
        if rows.is_empty() {
            return output::print("nothing");
        }
        output::print(&self.lines(rows, asked, width()).join("\n"))
    }

    /// One line for each step of the span, those without a row being empty.
    fn lines(&self, rows: &[Vec<Cell>], asked: &Asked, width: usize) -> Vec<String> {
        let values: BTreeMap<String, i64> = rows
            .iter()
            .filter_map(|row| match &row[0] {
                Cell::Text(at) => Some((at.chars().take(self.label).collect(), number(&row[self.value])?)),
                _ => None,
            })
            .collect();
        let first = asked.from.as_secs() - asked.from.as_secs().rem_euclid(self.step);
        let steps = (first..asked.to.as_secs().max(first + 1)).step_by(usize::try_from(self.step).unwrap_or(1));
        let bars: Vec<(String, i64)> = steps
            .take(LINES)
            .map(|at| {
                let label: String = Timestamp::from_secs(at).to_string().chars().take(self.label).collect();
                let value = values.get(&label).copied().unwrap_or(0);
                (label, value)
            })
            .collect();
        let texts: Vec<String> = bars.iter().map(|(_, value)| shown(&Cell::Integer(*value), self.kind)).collect();
        let text_width = texts.iter().map(String::len).max().unwrap_or(0);
        let most = bars.iter().map(|(_, value)| *value).max().unwrap_or(0).max(1);
        let room = width.saturating_sub(self.label + text_width + 4).max(10);
        let lines = bars.iter().zip(&texts).map(|((label, value), text)| {
            format!("{label}  {text:>text_width$}  {}", bar(*value, most, room)).trim_end().to_owned()
        });
        lines.collect()
    }
}

/// A bar of that share of the room; whatever is more than nothing can be seen.
fn bar(value: i64, most: i64, room: usize) -> String {
    let share = i128::from(value.max(0)) * (room as i128 * 8) / i128::from(most);
    let eighths = usize::try_from(share).unwrap_or(0).max(usize::from(value > 0));
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_has_its_line() {
        let chart = of(Report::named("usage").unwrap()).unwrap_or_else(|_| unreachable!());
        let row = |day: &str, octets| {
            let mut row = vec![Cell::Text(day.to_owned())];
            row.extend([1, 0, 0, octets].map(Cell::Integer));
            row
        };
        let asked = Asked {
            from: Timestamp::from_secs(1_793_491_200),
            to: Timestamp::from_secs(1_793_491_200 + 3 * 86_400 + 5),
            user: None,
            nas: None,
            limit: 0,
        };
        let lines = chart.lines(&[row("2026-11-01", 8_000_000), row("2026-11-04", 1)], &asked, 31);
        assert_eq!(
            lines,
            ["2026-11-01  8.00 MB  ██████████", "2026-11-02      0 B", "2026-11-03      0 B", "2026-11-04      1 B  ▏"]
        );
    }

    #[test]
    fn a_bar_has_eighths() {
        assert_eq!(bar(100, 100, 4), "████");
        assert_eq!(bar(50, 100, 3), "█▌");
        assert_eq!(bar(0, 100, 3), "");
        assert_eq!(bar(i64::MAX, i64::MAX, 2), "██");
    }
}
