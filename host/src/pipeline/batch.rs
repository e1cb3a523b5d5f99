//! Encoded jobs packed into passes: equal segments once, no pass larger than the token budget.

use crate::task::{Compat, Encoding, Task};
use std::collections::HashMap;

/// A segment as the backbone gets it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Segment {
    pub(super) ids: Vec<u32>,
    /// Tokens that are not padding; the rest is real rows that the backbone does not attend to.
    pub(super) visible: usize,
}

/// One pass: its distinct segments and the jobs that read them.
#[derive(Debug, Default)]
pub(super) struct Pass {
    pub(super) segments: Vec<Segment>,
    /// First row of each segment.
    pub(super) starts: Vec<usize>,
    pub(super) rows: usize,
    pub(super) jobs: Vec<PackedJob>,
    places: HashMap<Segment, usize>,
}

/// A job in a pass.
#[derive(Debug)]
pub(super) struct PackedJob {
    /// Index among all jobs.
    pub(super) job: usize,
    /// Index of the task.
    pub(super) task: usize,
    /// Per segment of the encoding its place in the pass.
    segments: Vec<usize>,
}

impl Pass {
    /// Rows that a segment would add.
    fn cost(&self, segments: &[Segment]) -> usize {
        segments.iter().filter(|segment| !self.places.contains_key(segment)).map(|segment| segment.ids.len()).sum()
    }

    fn add(&mut self, job: usize, task: usize, segments: Vec<Segment>) {
        let places = segments
            .into_iter()
            .map(|segment| {
                *self.places.entry(segment).or_insert_with_key(|segment| {
                    self.starts.push(self.rows);
                    self.rows += segment.ids.len();
                    self.segments.push(segment.clone());
                    self.segments.len() - 1
                })
            })
            .collect();
        self.jobs.push(PackedJob { job, task, segments: places });
    }

    /// The rows of this pass that a job's units read.
    pub(super) fn units(&self, job: &PackedJob, encoding: &Encoding) -> Vec<Vec<u32>> {
        let row = |position: &crate::task::Position| {
            let row = self.starts[job.segments[position.segment]] + position.row;
            u32::try_from(row).unwrap_or(u32::MAX)
        };
        encoding.reads.iter().map(|unit| unit.iter().map(row).collect()).collect()
    }

    /// The places of the segments that a job reads.
    pub(super) fn segments_of<'a>(&self, job: &'a PackedJob) -> &'a [usize] {
        &job.segments
    }
}

/// Packs encoded jobs, in order, into passes of at most `budget` rows; a job that is larger gets a pass of its own.
pub(super) fn pack<'a>(
    jobs: impl Iterator<Item = (usize, usize, &'a Encoding, &'a dyn Task)>,
    compat: Compat,
    budget: usize,
) -> Vec<Pass> {
    let mut passes: Vec<Pass> = Vec::new();
    for (job, task, encoding, kind) in jobs {
        let segments: Vec<_> = encoding.segments.iter().map(|ids| as_segment(ids, kind, compat)).collect();
        let fits = passes.last().is_some_and(|pass| pass.rows + pass.cost(&segments) <= budget);
        if !fits {
            passes.push(Pass::default());
        }
        if let Some(pass) = passes.last_mut() {
            pass.add(job, task, segments);
        }
    }
    passes
}

fn as_segment(ids: &[u32], task: &dyn Task, compat: Compat) -> Segment {
    let mut padded = ids.to_vec();
    if compat == Compat::Official {
        padded.resize(task.max_length().max(ids.len()), task.pad_id());
    }
    Segment { ids: padded, visible: ids.len() }
}
