//! The records of a split, and what became of those that are not given out.

use crate::data::{Counts, Error, Labelled, Records, Source};

/// Which records belong to a split.
pub(super) type Belongs = Box<dyn Fn(&Labelled) -> bool>;

/// The records of a split, file after file.
#[derive(Default)]
pub struct Reading {
    sources: std::vec::IntoIter<Source>,
    current: Option<Records>,
    belongs: Option<Belongs>,
    counts: Counts,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reading").field("current", &self.current).finish_non_exhaustive()
    }
}

impl Reading {
    /// Those records of some files that belong to it; all of them where nothing decides.
    pub(super) fn new(sources: Vec<Source>, belongs: Option<Belongs>) -> Self {
        Self { sources: sources.into_iter(), current: None, belongs, counts: Counts::default() }
    }

    /// What became of the records of the files until now, whatever split they belong to.
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts.clone();
        if let Some(current) = &self.current {
            counts.add(current.counts());
        }
        counts
    }
}

impl Iterator for Reading {
    type Item = Result<Labelled, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(records) = &mut self.current else {
                self.current = Some(self.sources.next()?.records());
                continue;
            };
            match records.next() {
                Some(Ok(record)) if self.belongs.as_ref().is_some_and(|belongs| !belongs(&record)) => {}
                Some(found) => return Some(found),
                None => {
                    let ended = self.current.take();
                    ended.iter().for_each(|ended| self.counts.add(ended.counts()));
                }
            }
        }
    }
}
