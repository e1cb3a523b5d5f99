//! [`CpuEngine`]: the op table on the CPU, one line per op; the work is in the modules beside it.

use super::{
    CpuParam, CpuTensor, Isa,
    kernel::{Team, TileMut, Tiles, Vectorised},
    pool::Pool,
    tensor::Fresh,
};
use kadapter_plugin_api::{Activation, Engine, Result, Segments};
use std::{fmt, num::NonZeroUsize, sync::Arc};

/// How a [`CpuEngine`] is set up.
#[derive(Clone, Debug)]
pub struct CpuConfig {
    /// Threads that compute, the caller's included. Default: as many as this process may run at once.
    pub threads: NonZeroUsize,
    /// Bytes of idle buffers to keep for the next op. Default: 1 GiB.
    pub pool_bytes: usize,
    /// The instructions to use; the best that the processor has if it lacks these. Default: the best.
    pub isa: Isa,
}

impl Default for CpuConfig {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            pool_bytes: 1 << 30,
            isa: Isa::detect(),
        }
    }
}

/// The CPU as an [`Engine`] for inference. `Send` and `Sync`: callers on several threads may share one, and each gets right
/// answers; the team of threads serves one op at a time, and the others run on their caller's thread alone.
pub struct CpuEngine {
    isa: Isa,
    team: Team,
    pool: Arc<Pool>,
}

/// Element operations below which an op is not worth sharing between threads (about 10 µs).
const WORTH_SHARING: usize = 1 << 15;

impl CpuEngine {
    /// An engine with its own threads and its own pool of buffers.
    pub fn new(config: CpuConfig) -> Self {
        let CpuConfig { threads, pool_bytes, isa } = config;
        Self { isa: isa.or_available(), team: Team::new(threads), pool: Pool::new(pool_bytes) }
    }

    /// The instructions that this engine uses: what to pack weights for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// How many threads compute.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    /// Bytes of the buffers that wait to be used again.
    pub fn idle_bytes(&self) -> usize {
        self.pool.idle_bytes()
    }

    /// A matrix to write.
    pub(super) fn fresh(&self, rows: usize, columns: usize) -> Result<Fresh> {
        Fresh::new(&self.pool, rows, columns)
    }

    /// A buffer of floats that hold anything.
    pub(super) fn scratch(&self, length: usize) -> Result<super::pool::Pooled> {
        self.pool.take(length)
    }

    /// Calls `work(thread, unit)` for every unit: on all threads if there is enough to do (`cost` in element operations), here
    /// otherwise.
    pub(super) fn run(&self, units: usize, cost: usize, work: impl Fn(usize, usize) + Sync) {
        if cost < WORTH_SHARING {
            (0..units).for_each(|unit| work(0, unit));
        } else {
            self.team.run(units, work);
        }
    }

    /// Writes every row of a new matrix; `cost` counts an element's operations, roughly.
    pub(super) fn each_row(&self, rows: usize, columns: usize, cost: usize, op: impl RowOp) -> Result<CpuTensor> {
        let mut out = self.fresh(rows, columns)?;
        let total = rows.saturating_mul(columns).saturating_mul(cost);
        let blocks = (total / WORTH_SHARING).clamp(1, 4 * self.threads()).min(rows.max(1));
        let bounds: Vec<usize> = (0..=blocks).map(|block| rows * block / blocks).collect();
        if columns > 0 {
            let (data, stride) = out.parts();
            let tiles = Tiles::new(data, stride, columns, &bounds, columns);
            self.run(blocks, total, |_, block| {
                let first = tiles.rows(block).start;
                self.isa.vectorise(EachRow { op: &op, first, tile: tiles.take(block, 0) });
            });
        }
        Ok(out.done())
    }
}

impl Default for CpuEngine {
    fn default() -> Self {
        Self::new(CpuConfig::default())
    }
}

impl fmt::Debug for CpuEngine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CpuEngine")
            .field("isa", &self.isa)
            .field("threads", &self.threads())
            .field("idle_bytes", &self.idle_bytes())
            .finish()
    }
}

/// What an op does to one row of its result.
pub(super) trait RowOp: Sync {
    /// Writes row `row`; must be `#[inline(always)]`, so that it is compiled with the engine's instructions.
    fn row<const FMA: bool>(&self, row: usize, out: &mut [f32]);
}

struct EachRow<'a, O> {
    op: &'a O,
    first: usize,
    tile: TileMut<'a>,
}

impl<O: RowOp> Vectorised for EachRow<'_, O> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(mut self) {
        for row in 0..self.tile.rows() {
            self.op.row::<FMA>(self.first + row, self.tile.row(row));
        }
    }
}

impl Engine for CpuEngine {
    type Tensor = CpuTensor;
    type Param = CpuParam;

    fn shape(&self, tensor: &CpuTensor) -> [usize; 2] {
        tensor.shape()
    }

    fn from_f32(&self, rows: usize, columns: usize, values: Vec<f32>) -> Result<CpuTensor> {
        self.copied(rows, columns, &values)
    }

    fn read_f32(&self, tensor: &CpuTensor) -> Result<Vec<f32>> {
        Ok(tensor.to_vec())
    }

    fn zeros(&self, rows: usize, columns: usize) -> Result<CpuTensor> {
        self.constant(rows, columns, 0.0)
    }

    fn parameter(&self, param: &CpuParam) -> Result<CpuTensor> {
        self.whole_parameter(param)
    }

    fn linear(
        &self,
        x: &CpuTensor,
        weight: &CpuParam,
        bias: Option<&CpuParam>,
        activation: Activation,
    ) -> Result<CpuTensor> {
        self.linear_product(x, weight, bias, activation)
    }

    fn matmul(&self, a: &CpuTensor, b: &CpuTensor, transposed: bool) -> Result<CpuTensor> {
        self.matrix_product(a, b, transposed)
    }

    fn add(&self, a: &CpuTensor, b: &CpuTensor) -> Result<CpuTensor> {
        self.sum(a, b)
    }

    fn mul(&self, a: &CpuTensor, b: &CpuTensor) -> Result<CpuTensor> {
        self.element_product(a, b)
    }

    fn scale(&self, x: &CpuTensor, factor: f32) -> Result<CpuTensor> {
        self.scaled(x, factor)
    }

    fn activation(&self, x: &CpuTensor, activation: Activation) -> Result<CpuTensor> {
        self.activated(x, activation)
    }

    fn log(&self, x: &CpuTensor) -> Result<CpuTensor> {
        self.logarithm(x)
    }

    fn layer_norm(&self, x: &CpuTensor, weight: &CpuParam, bias: &CpuParam, epsilon: f32) -> Result<CpuTensor> {
        self.normalised(x, None, weight, bias, epsilon)
    }

    fn add_layer_norm(
        &self,
        x: &CpuTensor,
        residual: &CpuTensor,
        weight: &CpuParam,
        bias: &CpuParam,
        epsilon: f32,
    ) -> Result<CpuTensor> {
        self.normalised(x, Some(residual), weight, bias, epsilon)
    }

    fn attention(
        &self,
        q: &CpuTensor,
        k: &CpuTensor,
        v: &CpuTensor,
        heads: usize,
        segments: &Segments,
    ) -> Result<CpuTensor> {
        self.segment_attention(q, k, v, heads, segments)
    }

    fn concat(&self, tensors: &[&CpuTensor]) -> Result<CpuTensor> {
        self.side_by_side(tensors)
    }

    fn narrow(&self, x: &CpuTensor, start: usize, length: usize) -> Result<CpuTensor> {
        Ok(x.narrow(start, length))
    }

    fn gather(&self, x: &CpuTensor, rows: &[u32]) -> Result<CpuTensor> {
        self.gathered(x, rows)
    }

    fn segment_mean(&self, x: &CpuTensor, segments: &Segments) -> Result<CpuTensor> {
        self.mean_of_segments(x, segments)
    }

    fn segment_matmul(&self, a: &CpuTensor, b: &CpuTensor, segments: &Segments) -> Result<CpuTensor> {
        self.segment_scores(a, b, segments)
    }

    fn softmax(&self, x: &CpuTensor) -> Result<CpuTensor> {
        self.row_softmax(x)
    }

    fn log_softmax(&self, x: &CpuTensor) -> Result<CpuTensor> {
        self.row_log_softmax(x)
    }

    fn dropout(&self, x: &CpuTensor, _probability: f32) -> Result<CpuTensor> {
        Ok(x.clone())
    }

    fn embedding(&self, table: &CpuParam, rows: &[u32]) -> Result<CpuTensor> {
        self.looked_up(table, rows)
    }

    fn cross_entropy(&self, logits: &CpuTensor, targets: &[i64]) -> Result<CpuTensor> {
        self.mean_cross_entropy(logits, targets)
    }

    fn bce_with_logits(&self, logits: &CpuTensor, targets: &CpuTensor) -> Result<CpuTensor> {
        self.mean_binary_cross_entropy(logits, targets)
    }

    fn mse(&self, a: &CpuTensor, b: &CpuTensor) -> Result<CpuTensor> {
        self.mean_squared_error(a, b)
    }
}
