//! A plugin that does to its process what no safe code does, or does it before anybody asked; the tests see that it is found out.
//!
//! `fault` in the configuration is `none`, or `segfault-` and one of `build`, `forward` and `drop`; in that of its objective, `encode`
//! and `loss`. What a constructor does, before there is
//! a configuration, is chosen by the environment variable `KADAPTER_BAD_CONSTRUCTOR`: see `constructor`. Without a fault it yields its
//! first tap scaled by the parameter `gain`.
#![expect(unsafe_code, reason = "it segfaults, and it has a constructor")]

use kadapter_plugin_api::prelude::*;

struct Bad {
    fault: String,
    gain: Param,
}

/// Reads where nothing is.
fn segfault() {
    // SAFETY: none; that is what this plugin is for. Volatile, so that the compiler does not see through it.
    let value = unsafe { std::ptr::without_provenance::<u8>(16).read_volatile() };
    std::hint::black_box(value);
}

impl Bad {
    fn act(&self, stage: &str) {
        if self.fault == format!("segfault-{stage}") {
            segfault();
        }
    }
}

impl Adapter for Bad {
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> Result<Self> {
        let gain = params.vector("gain", backbone.hidden_size(), Init::Constant(1.0))?;
        let bad = Self { fault: config.text_or("fault", "none")?, gain };
        bad.act("build");
        Ok(bad)
    }

    fn forward(&self, cx: &Context<'_>, taps: &[Tensor]) -> Result<Tensor> {
        self.act("forward");
        cx.mul(&taps[0], &cx.parameter(&self.gain)?)
    }
}

impl Drop for Bad {
    fn drop(&mut self) {
        self.act("drop");
    }
}

/// Asks for nothing: its one class is always right.
struct BadObjective {
    fault: String,
    out: Linear,
}

impl Objective for BadObjective {
    fn build(config: &Config, backbone: &Backbone, params: &mut Params) -> Result<Self> {
        let out = Linear::new(&params.scope("out"), backbone.hidden_size(), 2)?;
        Ok(Self { fault: config.text_or("fault", "none")?, out })
    }

    fn encode(&self, record: &Record<'_>, text: &Text<'_>) -> Result<Encoded> {
        if self.fault == "segfault-encode" {
            segfault();
        }
        let ids = text.segment(&text.pieces(record.text("text")?)?)?;
        Ok(Encoded::Example(Example::new(ids).with_rows([0]).with_targets([0])))
    }

    fn loss(&self, cx: &Context<'_>, batch: &Batch, _last: &Tensor, features: &Tensor) -> Result<Loss> {
        if self.fault == "segfault-loss" {
            segfault();
        }
        let logits = self.out.forward(cx, &cx.gather(features, batch.rows())?)?;
        Ok(Loss { value: cx.cross_entropy(&logits, batch.targets())?, weight: batch.len() as f64 })
    }

    fn tally(&self, _cx: &Context<'_>, batch: &Batch, _last: &Tensor, _features: &Tensor) -> Result<Vec<f64>> {
        Ok(vec![batch.len() as f64])
    }

    fn metrics(&self, tally: &[f64]) -> Result<Vec<Metric>> {
        Ok(vec![Metric::new("examples", tally.iter().sum())])
    }
}

export_adapter!(Bad, objective: BadObjective);

#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = destructor;

/// Writes the file that the environment names.
fn write() {
    if let Some(path) = std::env::var_os("KADAPTER_BAD_FILE") {
        std::fs::write(path, "written by a plugin").expect("the file can be written");
    }
}

#[cfg(target_os = "linux")]
extern "C" fn constructor() {
    match std::env::var("KADAPTER_BAD_CONSTRUCTOR").as_deref() {
        Ok("write") => write(),
        Ok("exit") => std::process::exit(0),
        Ok("thread") => {
            std::thread::spawn(|| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                write();
            });
        }
        Ok("process") => drop(std::process::Command::new("true").spawn()),
        Ok("network") => drop(std::net::UdpSocket::bind("127.0.0.1:0")),
        Ok("print") => println!("hello from a constructor"),
        Ok("segfault") => segfault(),
        Ok("abort") => std::process::abort(),
        Ok("loop") => loop {
            std::hint::spin_loop();
        },
        Ok("memory") => loop {
            std::mem::forget(std::hint::black_box(vec![0_u8; 64 << 20]));
        },
        _ => {}
    }
}

#[cfg(target_os = "linux")]
extern "C" fn destructor() {
    if std::env::var("KADAPTER_BAD_CONSTRUCTOR").as_deref() == Ok("end") {
        segfault();
    }
}
