//! A comparison's findings as a chart, written as SVG: a panel per task and share, a line per condition.
//!
//! Each line has a dot at the mean, a bar one standard deviation to both sides, and a small mark per seed. Controls are grey, and the
//! best one is a dashed line through its panel, so that one sees at a glance what stands right of it.

use super::report::{Group, Report, Row};
use std::fmt::Write;

const PANEL_WIDTH: f64 = 525.0;
/// Room for [`LABEL`] bold characters.
const LABEL_WIDTH: f64 = 225.0;
/// Characters of a condition's name, at most.
const LABEL: usize = 29;
const ROW_HEIGHT: f64 = 20.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 34.0;
const GAP: f64 = 18.0;
/// Panels side by side.
const COLUMNS: usize = 2;
/// Ticks of an axis, at most.
const TICKS: f64 = 6.0;

/// Draws the chart.
#[must_use]
pub fn svg(report: &Report) -> String {
    let columns = COLUMNS.min(report.groups.len()).max(1);
    let height = |group: &Group| TOP + ROW_HEIGHT * group.rows.len() as f64 + BOTTOM;
    let heights: Vec<f64> =
        report.groups.chunks(columns).map(|groups| groups.iter().map(height).fold(0.0, f64::max)).collect();
    let (width, total) = (PANEL_WIDTH * columns as f64 + GAP, heights.iter().sum::<f64>() + GAP);
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{total:.0}\" \
         viewBox=\"0 0 {width:.0} {total:.0}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>"
    );
    let mut top = GAP / 2.0;
    for (groups, height) in report.groups.chunks(columns).zip(&heights) {
        for (column, group) in groups.iter().enumerate() {
            panel(&mut out, group, GAP / 2.0 + PANEL_WIDTH * column as f64, top);
        }
        top += height;
    }
    out.push_str("</svg>\n");
    out
}

/// Where numbers stand.
struct Scale {
    least: f64,
    most: f64,
    left: f64,
    width: f64,
    step: f64,
}

impl Scale {
    /// A scale around all scores of a group, in points, that begins and ends at a tick.
    fn of(group: &Group, left: f64, width: f64) -> Self {
        let ends = group.rows.iter().flat_map(|row| {
            let around = [row.mean - row.deviation, row.mean + row.deviation];
            row.scores.iter().copied().chain(around).map(|score| score * 100.0).collect::<Vec<_>>()
        });
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for end in ends.filter(|end| end.is_finite()) {
            (least, most) = (least.min(end), most.max(end));
        }
        if least > most {
            (least, most) = (0.0, 100.0);
        }
        let step = tick_step((most - least).max(0.5));
        let (least, most) = ((least / step).floor() * step, (most / step).ceil() * step);
        Self { least, most: if most > least { most } else { least + step }, left, width, step }
    }

    fn x(&self, points: f64) -> f64 {
        self.left + (points - self.least) / (self.most - self.least) * self.width
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let (least, step) = (self.least, self.step);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few ticks")]
        let count = ((self.most - self.least) / step).round() as usize;
        (0..=count).map(move |tick| least + step * tick as f64)
    }
}

/// 1, 2 or 5 times a power of ten.
fn tick_step(range: f64) -> f64 {
    let rough = range / (TICKS - 1.0);
    let power = 10.0_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough * 0.999).unwrap_or(10.0);
    factor * power
}

fn panel(out: &mut String, group: &Group, left: f64, top: f64) {
    let scale = Scale::of(group, left + LABEL_WIDTH, PANEL_WIDTH - LABEL_WIDTH - 2.0 * GAP);
    let (first, last) = (top + TOP - 12.0, top + TOP + ROW_HEIGHT * group.rows.len() as f64 - 8.0);
    text(out, (left, top + 14.0), "start", "#222222", true, &group.title());
    let about = format!("{}, {} test records", group.metric, group.test_records);
    text(out, (left, top + 27.0), "start", "#666666", false, &about);
    for tick in scale.ticks() {
        let x = scale.x(tick);
        let _ = writeln!(out, "<path d=\"M{x:.1} {first:.1}V{last:.1}\" stroke=\"#e6e6e6\"/>");
        let label = if scale.step < 1.0 { format!("{tick:.1}") } else { format!("{tick:.0}") };
        text(out, (x, last + 13.0), "middle", "#666666", false, &label);
    }
    let best = group.rows.iter().filter(|row| row.control).map(|row| row.mean).fold(f64::NEG_INFINITY, f64::max);
    if best.is_finite() {
        let x = scale.x(best * 100.0);
        let _ = writeln!(out, "<path d=\"M{x:.1} {first:.1}V{last:.1}\" stroke=\"#888888\" stroke-dasharray=\"4 3\"/>");
    }
    for (place, row) in group.rows.iter().enumerate() {
        draw_row(out, row, &scale, left, top + TOP + ROW_HEIGHT * place as f64);
    }
}

fn draw_row(out: &mut String, row: &Row, scale: &Scale, left: f64, y: f64) {
    let significant = row.over_control.as_ref().is_some_and(|versus| versus.p < 0.01);
    let colour = match (row.control, significant) {
        (true, _) => "#888888",
        (false, true) => "#0b6e4f",
        (false, false) => "#1f5fa8",
    };
    text(out, (left + LABEL_WIDTH - 10.0, y + 4.0), "end", colour, significant, &shortened(&row.condition));
    for score in &row.scores {
        let x = scale.x(score * 100.0);
        let _ =
            writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.6\" fill=\"{colour}\" fill-opacity=\"0.45\"/>");
    }
    let [from, to] = [row.mean - row.deviation, row.mean + row.deviation].map(|score| scale.x(score * 100.0));
    let x = scale.x(row.mean * 100.0);
    let fill = if row.control { "#ffffff" } else { colour };
    let _ = writeln!(
        out,
        "<path d=\"M{from:.1} {y:.1}H{to:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
         <circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"1.5\"><title>{:.2} ± {:.2}</title></circle>",
        row.mean * 100.0,
        row.deviation * 100.0
    );
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, colour: &str, bold: bool, words: &str) {
    let weight = if bold { " font-weight=\"bold\"" } else { "" };
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\"{weight}>{}</text>",
        escaped(words)
    );
}

/// At most as many characters as stand beside a panel.
fn shortened(name: &str) -> String {
    if name.chars().count() <= LABEL { name.to_owned() } else { name.chars().take(LABEL - 1).chain(['…']).collect() }
}

/// Text as XML has it; characters that XML has no place for are left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ if character.is_control() => {}
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::report::Versus;
    use super::*;
    use crate::train::task::statistics;

    fn row(condition: &str, control: bool, scores: &[f64], p: Option<f64>) -> Row {
        let over = |p| Versus { condition: "taps".into(), difference: 0.01, interval: [0.0, 0.02], p };
        Row {
            condition: condition.to_owned(),
            control,
            stack: Vec::new(),
            fusion: "concat".to_owned(),
            parameters: 1,
            scores: scores.to_vec(),
            mean: statistics::mean(scores),
            deviation: statistics::deviation(scores),
            dev: None,
            over_control: p.map(over),
            over_part: None,
        }
    }

    fn report(tasks: usize) -> Report {
        let group = |place: usize| Group {
            task: format!("task<{place}> & more"),
            metric: "accuracy".to_owned(),
            fraction: 0.1,
            train_records: 100,
            test_records: 50,
            rows: vec![
                row("none", true, &[0.50, 0.52], None),
                row("both\u{7}", false, &[0.61, 0.63], Some(0.001)),
                row("one", false, &[0.55, 0.55], Some(0.3)),
            ],
        };
        Report { groups: (0..tasks).map(group).collect(), replicates: 10 }
    }

    /// Every attribute and element is closed, and every number is one.
    fn check(svg: &str) {
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!(svg.matches('"').count() % 2, 0);
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').unwrap();
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name.to_owned())),
                None if tag.ends_with('/') => {}
                None => open.push(tag.split(' ').next().unwrap().to_owned()),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn a_chart_is_well_formed_whatever_is_in_it() {
        for tasks in [0, 1, 3] {
            check(&svg(&report(tasks)));
        }
        let mut odd = report(1);
        odd.groups[0].rows = Vec::new();
        check(&svg(&odd));
        odd.groups[0].rows = vec![row("one", false, &[], None), row("two", true, &[0.5], None)];
        check(&svg(&odd));
    }

    #[test]
    fn what_is_better_stands_right_and_significance_is_seen() {
        let drawn = svg(&report(1));
        let x = |title: &str| -> f64 {
            let line = drawn.lines().find(|line| line.contains(title)).unwrap();
            line.split("cx=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
        };
        assert!(x("62.00 ± 1.41") > x("55.00 ± 0.00") && x("55.00 ± 0.00") > x("51.00 ± 1.41"));
        assert!(drawn.contains("font-weight=\"bold\">both</text>"), "{drawn}");
        assert!(drawn.contains("task&lt;0&gt; &amp; more, 10 % of the training data"));
        assert!(drawn.contains("stroke-dasharray"));
    }

    #[test]
    fn ticks_are_round_numbers() {
        for (range, step) in [(0.5, 0.1), (4.0, 1.0), (10.0, 2.0), (12.0, 5.0), (60.0, 20.0)] {
            assert!((tick_step(range) - step).abs() < 1e-12, "{range}: {}", tick_step(range));
        }
    }
}
