//! What computes: a number of threads of the CPU engine, or a device and a precision of candle's.

use crate::Outcome;
use kadapter_host::tensor::candle::CandleEngine;
use kadapter_host::tensor::cpu::{CpuConfig, CpuEngine};
use kadapter_host::tensor::device::{self, Selected};

/// An engine that is measured.
pub(crate) enum Measured {
    Cpu(CpuEngine),
    Candle(CandleEngine),
}

impl Measured {
    /// `2` (threads on the CPU), `candle` (candle's own CPU device), `cuda:0` or `cuda:0,bf16`.
    pub(crate) fn parse(text: &str) -> Outcome<Self> {
        if let Ok(threads) = text.parse() {
            return Ok(Self::Cpu(CpuEngine::new(CpuConfig { threads, ..CpuConfig::default() })));
        }
        if text == "candle" {
            return Ok(Self::Candle(CandleEngine::on_cpu()?));
        }
        let (device, dtype) = text.split_once(',').unwrap_or((text, "f32"));
        match device::select(device.parse()?, dtype.parse()?)? {
            Selected::Cpu => Ok(Self::Cpu(CpuEngine::new(CpuConfig::default()))),
            Selected::Candle(engine) => Ok(Self::Candle(engine)),
        }
    }
}
