//! Gradients of whole losses against finite differences.

use super::super::{Gradients, gradients};
use super::*;

/// Every number that is trained gets the gradient that the loss has, for every kind, fusion and control.
#[test]
fn gradients_are_those_of_finite_differences() {
    let engine = engine(1);
    let kinds = [Kind::RelationClassification, Kind::EntityTyping, Kind::MultipleChoice, Kind::Span];
    for (kind, fusion) in kinds.into_iter().zip([Fusion::Gated, Fusion::Concat, Fusion::Gated, Fusion::Concat]) {
        let set = records(kind, 7, 5);
        let mut spec = spec(kind, fusion, &["a", "b"]);
        spec.stack[1] = Member::TapMix { name: "b".to_owned(), taps: vec![0, 2] };
        let mut random = Random::new(11);
        // Gates that are not zero, so that something is behind them.
        let mut values: Vec<Vec<f32>> = spec
            .declared()
            .iter()
            .map(|declared| (0..declared.shape.iter().product()).map(|_| 0.3 + random.normal() as f32 * 0.2).collect())
            .collect();
        let run = |values: &[Vec<f32>]| gradients(&engine, &spec, values.to_vec(), &set.all()).unwrap();
        let Gradients { gradients, .. } = run(&values);
        for (parameter, declared) in spec.declared().iter().enumerate() {
            let gradient = gradients[parameter].as_ref().unwrap_or_else(|| panic!("`{}` gets none", declared.name));
            let largest = gradient.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            // What shifts all units of a record alike changes no choice among them.
            let shifts = matches!(kind, Kind::MultipleChoice | Kind::Span) && declared.name.ends_with("bias");
            assert!(largest > 0.0 || shifts, "{kind}, {fusion}: `{}` has a gradient of 0", declared.name);
            // The element with the largest gradient, and another.
            let place = gradient.iter().position(|value| value.abs() == largest).unwrap();
            for place in [place, gradient.len() / 2] {
                let step = 1e-2;
                let kept = values[parameter][place];
                values[parameter][place] = kept + step;
                let above = run(&values).loss;
                values[parameter][place] = kept - step;
                let below = run(&values).loss;
                values[parameter][place] = kept;
                let difference = (above - below) / (2.0 * step);
                let off = (difference - gradient[place]).abs();
                assert!(
                    off <= 2e-2 * difference.abs().max(largest).max(1e-2),
                    "{kind}, {fusion}: `{}` at {place}: {} by the tape, {difference} by differences",
                    declared.name,
                    gradient[place]
                );
            }
        }
    }
}
