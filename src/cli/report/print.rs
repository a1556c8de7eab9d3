//! Rows of a report as a table, CSV, or JSON.

use std::io;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value};

use crate::config::format_duration;
use crate::store::reports::{Cell, Column, Kind, Report};

use super::super::failure::Failure;
use super::super::output;
use super::super::size::format_size;

/// For people.
pub(super) fn table(report: &Report, rows: &[Vec<Cell>]) -> Result<(), Failure> {
    if rows.is_empty() {
        return output::print("nothing");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(report.columns.iter().map(head));
    for (index, column) in report.columns.iter().enumerate() {
        if !matches!(column.kind, Kind::Text | Kind::Time | Kind::Day)
            && let Some(column) = table.column_mut(index)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for row in rows {
        table.add_row(row.iter().zip(report.columns).map(|(cell, column)| shown(cell, column.kind)));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    output::print(&lines.join("\n"))
}

/// For programs.
pub(super) fn json(report: &Report, rows: &[Vec<Cell>]) -> Result<(), Failure> {
    let object = |row: &Vec<Cell>| -> Map<String, Value> {
        report.columns.iter().zip(row).map(|(column, cell)| (column.name.to_owned(), value(cell))).collect()
    };
    output::print_json(&rows.iter().map(object).collect::<Vec<_>>())
}

/// For spreadsheets.
pub(super) fn csv(report: &Report, rows: &[Vec<Cell>]) -> Result<(), Failure> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |error: csv::Error| Failure::failed(error.to_string());
    writer.write_record(report.columns.iter().map(|column| column.name)).map_err(failed)?;
    for row in rows {
        writer.write_record(row.iter().map(plain)).map_err(failed)?;
    }
    let octets = writer.into_inner().map_err(|error| Failure::from(io::Error::other(error.to_string())))?;
    output::print(String::from_utf8_lossy(&octets).trim_end_matches('\n'))
}

/// A column's name without the unit, which the values show.
fn head(column: &Column) -> String {
    let name = column.name.strip_suffix("_octets").or_else(|| column.name.strip_suffix("_seconds"));
    let name = if column.name == "user_name" { "user" } else { name.unwrap_or(column.name) };
    name.replace('_', " ").to_uppercase()
}

/// A value for people.
pub(super) fn shown(cell: &Cell, kind: Kind) -> String {
    match (cell, kind) {
        (Cell::Nothing, _) => "-".to_owned(),
        (Cell::Integer(octets), Kind::Octets) => format_size(u64::try_from(*octets).unwrap_or(0)),
        (Cell::Integer(secs), Kind::Seconds) => format_duration(Duration::from_secs(u64::try_from(*secs).unwrap_or(0))),
        (Cell::Integer(number), _) => number.to_string(),
        (Cell::Real(number), Kind::Percent) => format!("{number:.1}%"),
        (Cell::Real(number), _) => format!("{number:.1}s"),
        (Cell::Text(text), _) if text.is_empty() => "-".to_owned(),
        (Cell::Text(text), _) => output::printable(text),
    }
}

fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Nothing => Value::Null,
        Cell::Text(text) => text.as_str().into(),
        Cell::Integer(number) => (*number).into(),
        Cell::Real(number) => rounded(*number).into(),
    }
}

fn plain(cell: &Cell) -> String {
    match cell {
        Cell::Nothing => String::new(),
        Cell::Text(text) => text.clone(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => rounded(*number).to_string(),
    }
}

/// To the thousandth: what the engines add up differently in the last digit reads the same.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_with_their_unit() {
        for (cell, kind, text) in [
            (Cell::Integer(5_000_000_000), Kind::Octets, "5.00 GB"),
            (Cell::Integer(3725), Kind::Seconds, "1h2m5s"),
            (Cell::Integer(7), Kind::Count, "7"),
            (Cell::Real(12.345), Kind::Percent, "12.3%"),
            (Cell::Real(8.25), Kind::Wait, "8.2s"),
            (Cell::Text("a\u{1b}b".to_owned()), Kind::Text, "a\\u{1b}b"),
            (Cell::Nothing, Kind::Time, "-"),
        ] {
            assert_eq!(shown(&cell, kind), text);
        }
        assert_eq!(head(&Column { name: "input_octets", kind: Kind::Octets }), "INPUT");
        assert_eq!(head(&Column { name: "octets", kind: Kind::Octets }), "OCTETS");
    }
}
