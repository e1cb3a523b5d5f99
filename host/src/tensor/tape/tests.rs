//! Gradients against finite differences, forward values against the inference op table, masks, and what must not change a bit.

mod dropout;
mod gradients;
mod networks;
mod ops;
mod record;

use super::*;
use crate::parameters::Declared;
use crate::tensor::candle::CandleEngine;
use crate::tensor::cpu::{CpuConfig, CpuEngine, Isa};
use candle_core::DType;
use kadapter_plugin_api::{Engine, Role, Segments};
use std::num::NonZeroUsize;

/// Engines with every instruction set that the processor has, on one thread and on three.
fn cpu_engines() -> Vec<CpuEngine> {
    Isa::available().iter().flat_map(|&isa| [1, 3].map(|threads| cpu(isa, threads))).collect()
}

fn cpu(isa: Isa, threads: usize) -> CpuEngine {
    CpuEngine::new(CpuConfig { isa, threads: NonZeroUsize::new(threads).unwrap(), ..CpuConfig::default() })
}

fn candle() -> CandleEngine {
    crate::tensor::candle::tests::engine(DType::F32)
}

/// A generator of test values: the same ones every time.
struct Values(u64);

impl Values {
    /// Values between -1 and 1, none very close to 0.
    fn take(&mut self, count: usize) -> Vec<f32> {
        let next = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = ((self.0 >> 40) as f32) / (1_u32 << 23) as f32 - 1.0;
            value * 0.96 + 0.04_f32.copysign(value)
        };
        std::iter::repeat_with(next).take(count).collect()
    }
}

/// Parameters with these shapes, named by their places.
fn trainable<E: Derivatives>(engine: &E, shapes: &[Vec<usize>], values: &[Vec<f32>]) -> Trainable<E> {
    let declared = shapes.iter().enumerate().map(|(place, shape)| Declared {
        name: format!("p{place}"),
        shape: shape.clone(),
        role: role(shape),
    });
    Trainable::new(engine, declared.zip(values.iter().cloned())).unwrap()
}

fn role(shape: &[usize]) -> Role {
    if shape.len() == 1 { Role::Vector } else { Role::LinearWeight }
}

/// Segments of every kind of length, some rows hidden if asked for.
fn segments(hidden: bool) -> Segments {
    let segments = Segments::new([5, 1, 53, 3]).unwrap();
    if hidden {
        let flags = (0..segments.rows()).map(|row| row % 7 == 2).collect();
        segments.with_hidden(flags).unwrap()
    } else {
        segments
    }
}

#[track_caller]
fn assert_near(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        let near = (found - expected).abs() <= tolerance * expected.abs().max(1.0);
        assert!(near, "{what}, element {place}: found {found}, expected {expected}");
    }
}
