//! Hidden states of a batch's segments: kept ones from the cache on disk, the others from one backbone pass.

use crate::backbone::{Batch, Roberta};
use crate::error::Error;
use crate::tensor::HostEngine;
use crate::train::cache::{CacheDtype, TapCache};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Where hidden states come from; the frozen backbone's.
pub struct States<'e, E: HostEngine> {
    engine: &'e E,
    backbone: &'e Roberta<E>,
    /// The hidden states that anybody reads, in order.
    taps: Vec<usize>,
    cache: Option<TapCache>,
    dtype: CacheDtype,
    /// The most rows of one backbone pass.
    budget: usize,
    passes: u64,
    /// The number of passes at which a process that only reads the cache looks for what the writing one has added.
    refresh_at: u64,
    /// Per tap, the rows of the last request: memory to use again.
    host: Vec<Vec<f32>>,
}

/// Backbone passes between two looks at what another process has added to the cache.
const REFRESH: u64 = 16;

/// The hidden states of one request, each `[rows, hidden size]`, in the order of [`States::taps`].
pub type Tensors<T> = Vec<T>;

impl<E: HostEngine> std::fmt::Debug for States<'_, E> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("States").field("taps", &self.taps).field("passes", &self.passes).finish_non_exhaustive()
    }
}

impl<'e, E: HostEngine> States<'e, E> {
    /// The hidden states `taps`; with a cache of just these, kept ones are not computed again.
    ///
    /// `dtype` rounds them, whether they come from a cache or not, so that a run's numbers do not depend on what was cached.
    pub fn new(
        engine: &'e E,
        backbone: &'e Roberta<E>,
        taps: &BTreeSet<usize>,
        cache: Option<TapCache>,
        dtype: CacheDtype,
        budget: usize,
    ) -> Self {
        let taps = taps.iter().copied().collect();
        Self {
            engine,
            backbone,
            taps,
            cache,
            dtype,
            budget: budget.max(1),
            passes: 0,
            refresh_at: REFRESH,
            host: Vec::new(),
        }
    }

    /// The backbone's layers: the number of its last hidden state.
    pub fn layers(&self) -> usize {
        self.backbone.config().layers
    }

    /// The hidden states that every request gets.
    pub fn taps(&self) -> &[usize] {
        &self.taps
    }

    /// The place of a hidden state in [`States::taps`].
    pub fn place(&self, tap: usize) -> Option<usize> {
        self.taps.iter().position(|&kept| kept == tap)
    }

    /// Backbone passes so far.
    pub fn passes(&self) -> u64 {
        self.passes
    }

    /// The cache, if there is one.
    pub fn cache(&self) -> Option<&TapCache> {
        self.cache.as_ref()
    }

    /// The hidden states of each request's segments, one after another. Equal segments of all requests are computed once.
    ///
    /// # Errors
    /// When a segment does not fit the backbone, or the device fails.
    pub fn of(&mut self, requests: &[Vec<&[u32]>]) -> Result<Vec<Tensors<E::Tensor>>, Error> {
        let mut places: HashMap<&[u32], usize> = HashMap::new();
        let mut distinct: Vec<&[u32]> = Vec::new();
        for &segment in requests.iter().flatten() {
            places.entry(segment).or_insert_with(|| {
                distinct.push(segment);
                distinct.len() - 1
            });
        }
        let rows: usize = distinct.iter().map(|segment| segment.len()).sum();
        let order = |request: &Vec<&[u32]>| request.iter().map(|segment| places[segment]).collect::<Vec<_>>();
        let orders: Vec<Vec<usize>> = requests.iter().map(order).collect();
        // Without rounding or cache, the states of one pass stay on the device.
        if self.cache.is_none() && self.dtype == CacheDtype::F32 && rows <= self.budget {
            let states = self.pass(&distinct)?;
            return orders.iter().map(|order| self.on_device(&states, &distinct, order)).collect();
        }
        let mut host = std::mem::take(&mut self.host);
        self.on_host(&distinct, &mut host)?;
        let tensors = orders.iter().map(|order| self.upload(&host, &distinct, order)).collect();
        self.host = host;
        tensors
    }

    fn pass(&mut self, segments: &[&[u32]]) -> Result<BTreeMap<usize, E::Tensor>, Error> {
        self.passes += 1;
        let batch = Batch::ragged(self.backbone.config(), segments.iter().copied())?;
        let taps: BTreeSet<usize> = self.taps.iter().copied().collect();
        self.backbone.taps(self.engine, &batch, &taps).map_err(Error::compute)
    }

    fn on_device(
        &self,
        states: &BTreeMap<usize, E::Tensor>,
        distinct: &[&[u32]],
        order: &[usize],
    ) -> Result<Tensors<E::Tensor>, Error> {
        let same = are_all_in_order(order, distinct.len());
        let rows: Vec<u32> = if same { Vec::new() } else { rows_of(distinct, order) };
        let state = |&tap: &usize| {
            let state = states.get(&tap).ok_or_else(|| {
                Error::compute(kadapter_plugin_api::Error::new(format!("hidden state {tap} was not kept")))
            })?;
            if same { Ok(state.clone()) } else { self.engine.gather(state, &rows).map_err(Error::compute) }
        };
        self.taps.iter().map(state).collect()
    }

    /// The states of all distinct segments, row-major per tap.
    fn on_host(&mut self, distinct: &[&[u32]], host: &mut Vec<Vec<f32>>) -> Result<(), Error> {
        let hidden = self.backbone.config().hidden_size;
        let rows: usize = distinct.iter().map(|segment| segment.len()).sum();
        host.resize(self.taps.len(), Vec::new());
        if let Some(cache) = &self.cache
            && self.passes >= self.refresh_at
        {
            self.refresh_at = self.passes + REFRESH;
            // Without it, segments are computed as before.
            if let Err(error) = cache.refresh() {
                tracing::debug!("{error}");
            }
        }
        let kept = match &self.cache {
            Some(cache) => cache.get_batch(distinct, host),
            None => {
                host.iter_mut().for_each(|state| state.resize(rows * hidden, 0.0));
                vec![false; distinct.len()]
            }
        };
        let starts = starts_of(distinct);
        let missing: Vec<usize> = (0..distinct.len()).filter(|&segment| !kept[segment]).collect();
        let mut rest = missing.as_slice();
        while !rest.is_empty() {
            let mut tokens = 0;
            let fitting = rest.iter().take_while(|&&segment| {
                tokens += distinct[segment].len();
                tokens <= self.budget
            });
            let (chunk, left) = rest.split_at(fitting.count().max(1));
            rest = left;
            let segments: Vec<&[u32]> = chunk.iter().map(|&segment| distinct[segment]).collect();
            let states = self.pass(&segments)?;
            let own: Vec<usize> = (0..chunk.len()).collect();
            let tensors = self.on_device(&states, &segments, &own)?;
            for (state, tensor) in host.iter_mut().zip(&tensors) {
                let mut values = self.engine.read_f32(tensor).map_err(Error::compute)?;
                self.dtype.round(&mut values);
                let mut values = values.as_slice();
                for &segment in chunk {
                    let (mine, others) = values.split_at(distinct[segment].len() * hidden);
                    values = others;
                    state[starts[segment] * hidden..][..mine.len()].copy_from_slice(mine);
                }
            }
            if let Some(cache) = &self.cache {
                for &segment in chunk {
                    let range = starts[segment] * hidden..(starts[segment] + distinct[segment].len()) * hidden;
                    let states: Vec<&[f32]> = host.iter().map(|state| &state[range.clone()]).collect();
                    cache.put(distinct[segment], &states);
                }
            }
        }
        Ok(())
    }

    fn upload(&self, host: &[Vec<f32>], distinct: &[&[u32]], order: &[usize]) -> Result<Tensors<E::Tensor>, Error> {
        let hidden = self.backbone.config().hidden_size;
        let starts = starts_of(distinct);
        let rows: usize = order.iter().map(|&segment| distinct[segment].len()).sum();
        if are_all_in_order(order, distinct.len()) {
            let state = |state: &Vec<f32>| self.engine.upload_rows(rows, hidden, state).map_err(Error::compute);
            return host.iter().map(state).collect();
        }
        let state = |state: &Vec<f32>| {
            let mut values = Vec::with_capacity(rows * hidden);
            for &segment in order {
                values.extend_from_slice(&state[starts[segment] * hidden..][..distinct[segment].len() * hidden]);
            }
            self.engine.from_f32(rows, hidden, values).map_err(Error::compute)
        };
        host.iter().map(state).collect()
    }
}

/// Whether a request is for all segments, as they come.
fn are_all_in_order(order: &[usize], segments: usize) -> bool {
    order.len() == segments && order.iter().enumerate().all(|(at, &place)| at == place)
}

fn starts_of(segments: &[&[u32]]) -> Vec<usize> {
    let mut next = 0;
    let mut start = |segment: &&[u32]| {
        next += segment.len();
        next - segment.len()
    };
    segments.iter().map(&mut start).collect()
}

fn rows_of(distinct: &[&[u32]], order: &[usize]) -> Vec<u32> {
    let starts = starts_of(distinct);
    let rows = |&segment: &usize| starts[segment]..starts[segment] + distinct[segment].len();
    order.iter().flat_map(rows).map(|row| u32::try_from(row).unwrap_or(u32::MAX)).collect()
}
