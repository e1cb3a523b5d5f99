//! What is trained on and judged in one run: a task's splits, or folds of one, and a share of the training data.

use super::{Error, FeatureSet, View};
use crate::data::{Share, Subset, fold};

/// The splits of a task, as features.
#[derive(Clone, Debug)]
pub struct Splits {
    /// To learn from.
    pub train: FeatureSet,
    /// To choose by.
    pub dev: Option<FeatureSet>,
    /// To judge by.
    pub test: Option<FeatureSet>,
    /// Instead of dev and test data: how many parts of `train` are tested in turn.
    pub folds: Option<usize>,
    /// The class and number of the official `negative_sample`.
    pub negative_sample: Option<(u32, usize)>,
}

/// One training and its test.
#[derive(Clone, Debug)]
pub struct Round<'a> {
    /// To learn from.
    pub train: View<'a>,
    /// To choose by; empty where there is none.
    pub dev: View<'a>,
    /// To judge by; empty where there is none.
    pub test: View<'a>,
}

/// The seed by which folds are made: fixed, so that every run tests the same parts.
const FOLD_SEED: u64 = 0x666f_6c64;

impl Splits {
    /// The rounds of a run: one, or one per fold. `fraction` of the training data is used, chosen by `seed`, of each label as large a
    /// share. In a fold, the next fold is the development data.
    ///
    /// # Errors
    /// When the share or the number of folds is none, or nothing is left to train on.
    pub fn rounds(&self, fraction: f64, seed: u64) -> Result<Vec<Round<'_>>, Error> {
        let share = Share::new(fraction)?;
        let Some(folds) = self.folds else {
            let nothing = || self.train.only(Vec::new());
            return Ok(vec![Round {
                train: self.part(self.train.all(), share, seed)?,
                dev: self.dev.as_ref().map_or_else(nothing, FeatureSet::all),
                test: self.test.as_ref().map_or_else(nothing, FeatureSet::all),
            }]);
        };
        let parts = self.train.keys.iter().map(|key| fold(FOLD_SEED, key, folds)).collect::<Result<Vec<usize>, _>>()?;
        let pick = |wanted: &dyn Fn(usize) -> bool| {
            self.train.only((0..parts.len()).filter(|&record| wanted(parts[record])).collect())
        };
        (0..folds)
            .map(|test| {
                let dev = (test + 1) % folds;
                let train =
                    if folds > 2 { pick(&|part| part != test && part != dev) } else { pick(&|part| part != test) };
                Ok(Round {
                    train: self.part(train, share, seed)?,
                    dev: pick(&|part| part == dev),
                    test: pick(&|part| part == test),
                })
            })
            .collect()
    }

    /// The records that the rounds test, in their order: the same for every run.
    ///
    /// # Errors
    /// As [`Splits::rounds`].
    pub fn tested(&self) -> Result<Vec<View<'_>>, Error> {
        Ok(self.rounds(1.0, 0)?.into_iter().map(|round| round.test).collect())
    }

    /// So large a part of what is trained on.
    fn part<'a>(&self, mut view: View<'a>, share: Share, seed: u64) -> Result<View<'a>, Error> {
        let set = view.set;
        view.records.retain(|&record| set.targets[record].is_learnable());
        let strata: Vec<String> =
            view.records.iter().map(|&record| set.targets[record].stratum().to_string()).collect();
        let keys = view.records.iter().map(|&record| &*set.keys[record]);
        let subset = Subset::new(seed, share, keys.zip(strata.iter().map(String::as_str)));
        let records =
            view.records.iter().enumerate().filter(|(place, _)| subset.has(*place)).map(|(_, &record)| record);
        let mut view = set.only(records.collect());
        if let Some((class, sample)) = self.negative_sample {
            view = view.negative_sample(class, sample);
        }
        if view.is_empty() { Err(Error::NoRecords { what: "the training data".to_owned() }) } else { Ok(view) }
    }
}
