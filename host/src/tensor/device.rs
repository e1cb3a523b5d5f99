//! Which device computes, and in which precision.

use super::candle::{CandleEngine, sentence};
use candle_core::{DType, Device};
use kadapter_plugin_api::{Activation, Engine};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A device as it is asked for: `auto`, `cpu`, `cuda`, `cuda:N` or `metal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceChoice {
    /// The first CUDA device if this build has CUDA and one opens, otherwise the CPU. Never Metal, which must be asked for.
    #[default]
    Auto,
    /// Our own engine on the CPU.
    Cpu,
    /// The CUDA device with this number.
    Cuda(usize),
    /// The Metal device.
    Metal,
}

impl DeviceChoice {
    /// Reads a device.
    ///
    /// # Errors
    /// When the text names none.
    pub fn parse(text: &str) -> Result<Self, DeviceError> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            _ => text
                .strip_prefix("cuda:")
                .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|number| number.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| DeviceError::UnknownDevice { found: text.to_owned() }),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        Self::parse(text)
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Cpu => formatter.write_str("cpu"),
            Self::Cuda(number) => write!(formatter, "cuda:{number}"),
            Self::Metal => formatter.write_str("metal"),
        }
    }
}

/// A precision as it is asked for: `auto`, `f32`, `bf16` or `f16`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// Single precision on every device, so that the same project gives the same answers everywhere; half precision is asked for.
    #[default]
    Auto,
    /// Single precision.
    F32,
    /// Half precision with the range of f32 and 8 significant bits.
    Bf16,
    /// Half precision with 11 significant bits and numbers up to 65504.
    F16,
}

impl Dtype {
    /// Reads a precision.
    ///
    /// # Errors
    /// When the text names none.
    pub fn parse(text: &str) -> Result<Self, DeviceError> {
        [Self::Auto, Self::F32, Self::Bf16, Self::F16]
            .into_iter()
            .find(|dtype| dtype.name() == text)
            .ok_or_else(|| DeviceError::UnknownDtype { found: text.to_owned() })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    fn stored(self) -> DType {
        match self {
            Self::Auto | Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

impl FromStr for Dtype {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        Self::parse(text)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A device that cannot be had, or not in this precision.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum DeviceError {
    #[error("Could not read the device `{found}`, expected `auto`, `cpu`, `cuda`, `cuda:N` or `metal`")]
    UnknownDevice { found: String },
    #[error("Could not read the precision `{found}`, expected `auto`, `f32`, `bf16` or `f16`")]
    UnknownDtype { found: String },
    #[error("Could not use `{device}`: this `kadapter` was built without the feature `{feature}`")]
    NotBuilt { device: DeviceChoice, feature: &'static str },
    #[error("Could not open `{device}`: {reason}")]
    Open { device: DeviceChoice, reason: String },
    #[error("Could not compute in `{dtype}` on the CPU, expected `f32`")]
    CpuDtype { dtype: Dtype },
    #[error("Could not compute in `{dtype}` on `{device}`: {reason}")]
    Unusable { device: DeviceChoice, dtype: Dtype, reason: String },
}

impl DeviceError {
    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::UnknownDevice { .. } | Self::Open { device: DeviceChoice::Metal, .. } => "use `--device cpu`".into(),
            Self::UnknownDtype { .. } => "use `--dtype f32`".into(),
            Self::NotBuilt { feature, .. } => {
                format!("build it with `cargo build --release --features {feature}`, or use `--device cpu`")
            }
            Self::Open { .. } => {
                "see which devices the driver knows with `nvidia-smi -L`, or use `--device cpu`".into()
            }
            Self::CpuDtype { .. } => "use `--dtype f32`, or a GPU with `--device cuda`".into(),
            Self::Unusable { dtype: Dtype::Bf16, .. } => "use `--dtype f32`, or `--dtype f16` on older GPUs".into(),
            Self::Unusable { .. } => "use another precision or the CPU: `--device cpu --dtype f32`".into(),
        })
    }
}

/// The device that will compute.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one, made at the start")]
pub enum Selected {
    /// Our own engine on the CPU, in f32.
    Cpu,
    /// Candle's engine, already tried out.
    Candle(CandleEngine),
}

/// Opens the device that was asked for.
///
/// # Errors
/// When this build or this machine does not have the device, or it cannot compute in this precision.
pub fn select(device: DeviceChoice, dtype: Dtype) -> Result<Selected, DeviceError> {
    match device {
        DeviceChoice::Cpu => cpu(dtype),
        DeviceChoice::Cuda(_) | DeviceChoice::Metal => accelerator(device, dtype),
        DeviceChoice::Auto => match accelerator(DeviceChoice::Cuda(0), dtype) {
            Err(DeviceError::NotBuilt { .. }) => cpu(dtype),
            Err(error @ DeviceError::Open { .. }) => {
                tracing::info!(%error, "computing on the CPU");
                cpu(dtype)
            }
            other => other,
        },
    }
}

fn cpu(dtype: Dtype) -> Result<Selected, DeviceError> {
    match dtype {
        Dtype::Auto | Dtype::F32 => Ok(Selected::Cpu),
        Dtype::Bf16 | Dtype::F16 => Err(DeviceError::CpuDtype { dtype }),
    }
}

fn accelerator(device: DeviceChoice, dtype: Dtype) -> Result<Selected, DeviceError> {
    let (feature, built, open): (_, _, candle_core::Result<Device>) = match device {
        DeviceChoice::Cuda(number) => ("cuda", candle_core::utils::cuda_is_available(), Device::new_cuda(number)),
        DeviceChoice::Metal => ("metal", candle_core::utils::metal_is_available(), Device::new_metal(0)),
        DeviceChoice::Auto | DeviceChoice::Cpu => return cpu(dtype),
    };
    if !built {
        return Err(DeviceError::NotBuilt { device, feature });
    }
    let opened = open.map_err(|error| DeviceError::Open { device, reason: sentence(&error) })?;
    try_out(opened, dtype.stored()).map(Selected::Candle).map_err(|error| DeviceError::Unusable {
        device,
        dtype,
        reason: error.to_string(),
    })
}

/// Runs one product and one norm, so that a GPU without this precision (bf16 before compute capability 8.0) or a driver that does
/// not fit says so at the start, and the libraries are loaded before the first request.
fn try_out(device: Device, dtype: DType) -> kadapter_plugin_api::Result<CandleEngine> {
    let engine = CandleEngine::new(device, dtype)?;
    let weight = engine.linear_param(2, 2, vec![1.0; 4])?;
    let gain = engine.vector_param(vec![1.0; 2])?;
    let x = engine.from_f32(1, 2, vec![0.5, -0.5])?;
    let x = engine.linear(&x, &weight, Some(&gain), Activation::GeluErf)?;
    let x = engine.softmax(&engine.layer_norm(&x, &gain, &gain, 1e-5)?)?;
    engine.read_f32(&x)?;
    Ok(engine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_read_back_as_written() {
        for text in ["auto", "cpu", "cuda:0", "cuda:3", "metal"] {
            assert_eq!(DeviceChoice::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(DeviceChoice::parse("cuda").unwrap(), DeviceChoice::Cuda(0));
        for text in ["auto", "f32", "bf16", "f16"] {
            assert_eq!(Dtype::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused_with_what_was_expected() {
        for text in
            ["", "gpu", "CPU", "cuda:", "cuda:-1", "cuda:+1", "cuda:x", "cuda:99999999999999999999999", "cuda: 1"]
        {
            let error = DeviceChoice::parse(text).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("Could not read the device `{text}`, expected `auto`, `cpu`, `cuda`, `cuda:N` or `metal`")
            );
            assert_eq!(error.hint().as_deref(), Some("use `--device cpu`"));
        }
        let error = Dtype::parse("int8").unwrap_err();
        assert_eq!(error.to_string(), "Could not read the precision `int8`, expected `auto`, `f32`, `bf16` or `f16`");
    }

    #[test]
    fn the_cpu_computes_in_f32_only() {
        assert!(matches!(select(DeviceChoice::Cpu, Dtype::Auto), Ok(Selected::Cpu)));
        assert!(matches!(select(DeviceChoice::Cpu, Dtype::F32), Ok(Selected::Cpu)));
        for dtype in [Dtype::Bf16, Dtype::F16] {
            let error = select(DeviceChoice::Cpu, dtype).unwrap_err();
            assert_eq!(error.to_string(), format!("Could not compute in `{dtype}` on the CPU, expected `f32`"));
            assert!(error.hint().unwrap().contains("--dtype f32"));
        }
    }

    #[cfg(not(any(feature = "cuda", feature = "metal")))]
    #[test]
    fn a_build_without_a_device_says_how_to_build_with_it() {
        assert!(matches!(select(DeviceChoice::Auto, Dtype::Auto), Ok(Selected::Cpu)));
        assert!(matches!(select(DeviceChoice::Auto, Dtype::F16), Err(DeviceError::CpuDtype { .. })));
        for (device, feature) in [(DeviceChoice::Cuda(1), "cuda"), (DeviceChoice::Metal, "metal")] {
            let error = select(device, Dtype::Auto).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("Could not use `{device}`: this `kadapter` was built without the feature `{feature}`")
            );
            assert!(error.hint().unwrap().contains(&format!("cargo build --release --features {feature}")));
        }
    }

    #[test]
    fn every_precision_passes_the_trial_on_candles_own_cpu_device() {
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            assert_eq!(try_out(Device::Cpu, dtype).unwrap().dtype(), dtype);
        }
        let error = try_out(Device::Cpu, DType::F64).unwrap_err();
        assert_eq!(error.message(), "`f64` was asked for as the precision, expected `f32`, `bf16` or `f16`");
    }
}
