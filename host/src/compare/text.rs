//! A comparison's findings as a table for people.

use super::report::{Group, Report, Row, Versus};
use std::fmt;

/// What is shown for p values from here on.
const NOT_SIGNIFICANT: f64 = 0.05;
/// Findings below this are marked twice.
const SIGNIFICANT: f64 = 0.01;

/// Shows a report as text.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a>(pub &'a Report);

impl fmt::Display for Table<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, group) in self.0.groups.iter().enumerate() {
            if place > 0 {
                writeln!(formatter)?;
            }
            write_group(formatter, group)?;
        }
        writeln!(
            formatter,
            "\n** p < {SIGNIFICANT}, * p < {NOT_SIGNIFICANT}: better than every control, one-sided paired bootstrap over"
        )?;
        writeln!(
            formatter,
            "test records and seeds, {} replicates. ± is the standard deviation over seeds.",
            self.0.replicates
        )
    }
}

fn write_group(formatter: &mut fmt::Formatter<'_>, group: &Group) -> fmt::Result {
    let seeds = group.rows.iter().map(|row| row.scores.len()).max().unwrap_or(0);
    writeln!(
        formatter,
        "{} ({} records), {} on {} records, {seeds} seeds",
        group.title(),
        group.train_records,
        group.metric,
        group.test_records
    )?;
    let width = group.rows.iter().map(|row| row.condition.chars().count()).max().unwrap_or(0).max(9);
    writeln!(
        formatter,
        "  {:<width$}  {:<8}  {:>10}  {:>14}    {:<34}  over its best part",
        "condition", "fusion", "parameters", "score", "over the best control"
    )?;
    for row in &group.rows {
        let name = if row.control { format!("{} ·", row.condition) } else { row.condition.clone() };
        let line = format!(
            "  {name:<width$}  {:<8}  {:>10}  {:>14} {:<2} {:<34}  {}",
            row.fusion,
            row.parameters,
            score(row),
            mark(row),
            row.over_control.as_ref().map(versus).unwrap_or_default(),
            row.over_part.as_ref().map(versus).unwrap_or_default(),
            width = width + 2,
        );
        writeln!(formatter, "{}", line.trim_end())?;
    }
    Ok(())
}

fn score(row: &Row) -> String {
    format!("{:.2} ± {:.2}", row.mean * 100.0, row.deviation * 100.0)
}

fn mark(row: &Row) -> &'static str {
    match &row.over_control {
        Some(versus) if versus.p < SIGNIFICANT => "**",
        Some(versus) if versus.p < NOT_SIGNIFICANT => "*",
        _ => "",
    }
}

fn versus(versus: &Versus) -> String {
    format!("{:+.2} over {} (p {})", versus.difference * 100.0, versus.condition, p_value(versus.p))
}

/// Three decimals, and not less than that.
fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}
