//! A plugin that does wrong whatever its configuration asks for, in safe code; the tests see that nobody else notices, and that
//! `kadapter plugin check` does.
//!
//! Without a fault (`none`) it yields its first tap scaled by the parameter `gain`. The others:
//!
//! | `fault` | what is wrong |
//! | --- | --- |
//! | `panic-build`, `panic-forward`, `panic-drop` | it panics there |
//! | `error-build`, `error-forward` | it gives an error there |
//! | `abort`, `exit`, `endless-loop`, `endless-memory` | what its forward does to the process |
//! | `leak` | each forward keeps memory |
//! | `wrong-shape`, `wrong-op`, `not-finite` | what its forward computes |
//! | `unused-parameter`, `idle-parameter` | a parameter that is not read, one that changes nothing |
//! | `mixed-segments` | each row sees the rows of all segments |
//! | `counting` | each forward gives something else |
//! | `shared-scratch` | instances write to one place |
//! | `careless` | it panics where an op fails |
//! | `lenient` | it takes any type for the key `lenient` |
//! | `printing` | it prints |
//! | `detached` | a parameter is read out and put back, so that no gradient reaches it |
//!
//! The faults of its objective are in `objective.rs`.
#![forbid(unsafe_code)]

mod objective;

use kadapter_plugin_api::prelude::*;
use objective::FaultyObjective;
use std::sync::atomic::{AtomicU32, Ordering};

struct Faulty {
    fault: String,
    gain: Param,
    idle: Option<Param>,
    forwards: AtomicU32,
}

/// The one place of `shared-scratch`.
static SCRATCH: AtomicU32 = AtomicU32::new(0);

impl Adapter for Faulty {
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> Result<Self> {
        let fault = config.text_or("fault", "none")?;
        match fault.as_str() {
            "panic-build" => panic!("built to panic"),
            "error-build" => return Err(Error::config("`fault` is error-build, expected none")),
            "lenient" => drop(config.integer_or("lenient", 0)),
            _ => {}
        }
        let gain = params.vector("gain", backbone.hidden_size(), Init::Constant(1.0))?;
        let has_more = matches!(fault.as_str(), "unused-parameter" | "idle-parameter");
        let idle = has_more.then(|| params.vector("idle", backbone.hidden_size(), Init::Constant(0.0))).transpose()?;
        Ok(Self { fault, gain, idle, forwards: AtomicU32::new(0) })
    }

    fn forward(&self, cx: &Context<'_>, taps: &[Tensor]) -> Result<Tensor> {
        let first = &taps[0];
        match self.fault.as_str() {
            "panic-forward" => panic!("run to panic"),
            "error-forward" => return Err(Error::new("run to fail")),
            "wrong-shape" => return cx.narrow(first, 0, 1),
            "wrong-op" => return cx.matmul(first, first),
            "not-finite" => return cx.log(&cx.scale(first, 0.0)?),
            "abort" => std::process::abort(),
            "exit" => std::process::exit(0),
            "endless-loop" => loop {
                std::hint::spin_loop();
            },
            "endless-memory" => loop {
                std::mem::forget(std::hint::black_box(vec![0_u8; 64 << 20]));
            },
            "leak" => std::mem::forget(std::hint::black_box(vec![1_u8; 32 << 10])),
            "printing" => println!("running"),
            _ => {}
        }
        let scaled = cx.mul(first, &cx.parameter(&self.gain)?)?;
        match (self.fault.as_str(), &self.idle) {
            ("idle-parameter", Some(idle)) => cx.add(&scaled, &cx.scale(&cx.parameter(idle)?, 0.0)?),
            ("mixed-segments", _) => {
                let values = cx.read_f32(&scaled)?;
                let mean = values.iter().sum::<f32>() / values.len() as f32;
                cx.add(&scaled, &cx.from_f32(1, first.columns(), &vec![mean; first.columns()])?)
            }
            ("counting", _) => cx.scale(&scaled, 1.0 + self.forwards.fetch_add(1, Ordering::Relaxed) as f32),
            ("shared-scratch", _) => {
                let factor = cx.read_f32(first)?.first().copied().unwrap_or(1.0);
                SCRATCH.store(factor.to_bits(), Ordering::Relaxed);
                std::thread::yield_now();
                cx.scale(&scaled, f32::from_bits(SCRATCH.load(Ordering::Relaxed)))
            }
            ("detached", _) => {
                let values = cx.read_f32(&cx.parameter(&self.gain)?)?;
                cx.mul(first, &cx.from_f32(1, values.len(), &values)?)
            }
            ("careless", _) => Ok(cx.scale(&scaled, 2.0).unwrap()),
            _ => Ok(scaled),
        }
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        assert_ne!(self.fault, "panic-drop", "dropped to panic");
    }
}

export_adapter!(Faulty, objective: FaultyObjective);
