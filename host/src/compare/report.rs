//! What a comparison found, as data: the same for the text, the JSON and the chart.

use crate::train::task::Metric;
use crate::train::task::statistics::{Bootstrap, System, deviation, mean};
use serde::Serialize;

/// A comparison's findings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Per task and share of the training data.
    pub groups: Vec<Group>,
    /// Replicates of the bootstrap.
    pub replicates: usize,
}

/// All conditions on one task with one share of its training data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// The task's name.
    pub task: String,
    /// How it is judged.
    pub metric: String,
    /// The share of the training data.
    pub fraction: f64,
    /// Records that were trained on.
    pub train_records: usize,
    /// Records that were tested.
    pub test_records: usize,
    /// The conditions, in the recipe's order.
    pub rows: Vec<Row>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub condition: String,
    /// Whether it is a control.
    pub control: bool,
    /// The adapters, in the order of fusion.
    pub stack: Vec<String>,
    /// How features come together.
    pub fusion: String,
    /// Numbers that were trained.
    pub parameters: usize,
    /// The test score of each seed, from 0 to 1.
    pub scores: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation (`n - 1`).
    pub deviation: f64,
    /// The mean development score; none without development data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<f64>,
    /// Against the best control; none for controls, and where there is none. `p` is that of "better than every control".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_control: Option<Versus>,
    /// Against the best condition with a part of the stack and the same fusion; none where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_part: Option<Versus>,
}

/// A comparison with another condition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Versus {
    /// The other one.
    pub condition: String,
    /// How much better this one is, the difference of the means.
    pub difference: f64,
    /// The stretch in which 95 % of the replicates' differences lie.
    pub interval: [f64; 2],
    /// The one-sided p value of "better".
    pub p: f64,
}

/// A condition's outcomes, before they are compared.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its name.
    pub condition: String,
    /// Whether it is a control.
    pub control: bool,
    /// The adapters, in the order of fusion.
    pub stack: Vec<String>,
    /// How features come together.
    pub fusion: String,
    /// Numbers that were trained.
    pub parameters: usize,
    /// The mean development score.
    pub dev: Option<f64>,
    /// Per seed and record what it adds to the metric.
    pub system: System,
}

/// What a group is about.
#[derive(Clone, Debug)]
pub struct About {
    /// The task's name.
    pub task: String,
    /// The share of the training data.
    pub fraction: f64,
    /// Records that were trained on.
    pub train_records: usize,
    /// Records that were tested.
    pub test_records: usize,
}

impl Group {
    /// Compares outcomes on one task; `clusters` are those of [`Bootstrap::draw`].
    #[must_use]
    pub fn of(about: About, metric: &Metric, outcomes: &[Outcome], bootstrap: Bootstrap, clusters: &[u32]) -> Self {
        let systems: Vec<System> = outcomes.iter().map(|outcome| outcome.system.clone()).collect();
        let replicates = bootstrap.draw(metric, &systems, clusters);
        let scores: Vec<Vec<f64>> = systems.iter().map(|system| system.scores(metric)).collect();
        let means: Vec<f64> = scores.iter().map(|scores| mean(scores)).collect();
        let best = |places: Vec<usize>| places.into_iter().max_by(|&a, &b| means[a].total_cmp(&means[b]));
        let versus = |own: usize, others: Vec<usize>| -> Option<Versus> {
            // Better than each of them: the worst p counts.
            let p = others.iter().map(|&other| replicates.difference(own, other).p).fold(0.0, f64::max);
            let other = best(others)?;
            let difference = replicates.difference(own, other);
            Some(Versus {
                condition: outcomes[other].condition.clone(),
                difference: means[own] - means[other],
                interval: difference.interval,
                p,
            })
        };
        let row = |(place, outcome): (usize, &Outcome)| {
            let others = |wanted: &dyn Fn(&Outcome) -> bool| {
                (0..outcomes.len()).filter(|&other| other != place && wanted(&outcomes[other])).collect::<Vec<_>>()
            };
            let controls = others(&|other| other.control);
            let is_part = |other: &Outcome| {
                let inside = other.stack.iter().all(|name| outcome.stack.contains(name));
                !other.control
                    && !other.stack.is_empty()
                    && inside
                    && other.stack.len() < outcome.stack.len()
                    && other.fusion == outcome.fusion
            };
            let parts = others(&is_part);
            Row {
                condition: outcome.condition.clone(),
                control: outcome.control,
                stack: outcome.stack.clone(),
                fusion: outcome.fusion.clone(),
                parameters: outcome.parameters,
                mean: means[place],
                deviation: deviation(&scores[place]),
                scores: scores[place].clone(),
                dev: outcome.dev,
                over_control: if outcome.control { None } else { versus(place, controls) },
                over_part: if outcome.control { None } else { versus(place, parts) },
            }
        };
        let About { task, fraction, train_records, test_records } = about;
        let rows = outcomes.iter().enumerate().map(row).collect();
        Self { task, metric: metric.to_string(), fraction, train_records, test_records, rows }
    }

    /// What it is about, in a line.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{}, {} of the training data", self.task, percent(self.fraction))
    }
}

/// `10 %`, `100 %`, `2.5 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if (percent - percent.round()).abs() < 1e-9 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::task::Target;

    /// A condition that answers every `n`-th of 1000 records wrong, the same ones with every seed.
    fn outcome(condition: &str, control: bool, stack: &[&str], n: usize) -> Outcome {
        let tally = |record: usize| {
            let answer = u32::from(record.is_multiple_of(n));
            Metric::Accuracy.tally(&Target::Class(0), &Target::Class(answer))
        };
        Outcome {
            condition: condition.to_owned(),
            control,
            stack: stack.iter().map(|name| (*name).to_owned()).collect(),
            fusion: "gated".to_owned(),
            parameters: 10,
            dev: None,
            system: System { seeds: vec![(0..1000).map(tally).collect(); 3] },
        }
    }

    #[test]
    fn a_condition_is_held_against_the_best_control_and_its_best_part() {
        let outcomes = [
            outcome("none", true, &[], 2),
            outcome("taps", true, &["a"], 4),
            outcome("a", false, &["a"], 10),
            outcome("b", false, &["b"], 3),
            outcome("both", false, &["a", "b"], 8),
        ];
        let about = About { task: "t".to_owned(), fraction: 0.1, train_records: 5, test_records: 1000 };
        let bootstrap = Bootstrap { replicates: 500, seed: 1 };
        let clusters: Vec<u32> = (0..1000).collect();
        let group = Group::of(about, &Metric::Accuracy, &outcomes, bootstrap, &clusters);
        assert_eq!(group.title(), "t, 10 % of the training data");
        let [none, taps, a, b, both] = &group.rows[..] else { panic!("{group:?}") };
        assert!(none.over_control.is_none() && taps.over_part.is_none());
        let over = |row: &Row| row.over_control.clone().unwrap();
        assert_eq!((over(a).condition.as_str(), over(b).condition.as_str()), ("taps", "taps"));
        assert!((over(a).difference - 0.15).abs() < 1e-9 && over(a).p < 0.01, "{a:?}");
        // Better than none but not than taps: not better than every control.
        assert!(over(b).difference < 0.0 && over(b).p > 0.9, "{b:?}");
        let part = both.over_part.clone().unwrap();
        assert_eq!(part.condition, "a");
        assert!((part.difference + 0.025).abs() < 1e-9 && part.p > 0.9, "{part:?}");
        assert!(a.over_part.is_none());
        assert_eq!((a.mean, a.deviation), (0.9, 0.0));
    }
}
