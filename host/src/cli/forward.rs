//! `kadapter forward`: the door for checking against other implementations.

use super::ProjectArguments;
use super::model::ModelArguments;
use super::report::Failure;
use kadapter_host::Error;
use kadapter_host::backbone::Positions;
use kadapter_host::pipeline::{Plan, RawInput, RawOutput};
use kadapter_host::weights::{self, Reader};
use kadapter_registry::tensors::Dtype;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `kadapter forward`.
#[derive(Debug, clap::Args)]
pub(crate) struct Forward {
    /// Safetensors with `input_ids` and `attention_mask` [batch, length], and `positions` [batch, reads] where the task needs them
    #[arg(long, value_name = "FILE")]
    ids: PathBuf,
    /// Safetensors to write: `hidden.I`, `adapter.NAME` [batch, length, hidden], `logits.TASK`, all f32
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Also write this task's logits
    #[arg(long)]
    task: Option<String>,
    #[command(flatten)]
    project: ProjectArguments,
    #[command(flatten)]
    model: ModelArguments,
}

impl Forward {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let (project, resolved) = self.project.resolve()?;
        let input = read(&self.ids)?;
        let plan = Plan::every_adapter(&resolved, &self.task.clone().into_iter().collect::<Vec<_>>())?;
        let opened = self.model.open(&project, plan, false)?;
        let output = opened.runner.forward(&input, self.task.as_deref())?;
        write(&self.out, &input, self.task.as_deref(), &output)?;
        println!(
            "wrote {} hidden states and {} adapters to {}",
            output.hidden.len(),
            output.adapters.len(),
            self.out.display()
        );
        Ok(ExitCode::SUCCESS)
    }
}

fn read(path: &Path) -> Result<RawInput, Failure> {
    let mut tensors = std::collections::BTreeMap::new();
    let mut reader = Reader::open(path, None)?;
    while let Some(mut tensor) = reader.next_tensor()? {
        let mut bytes = Vec::new();
        tensor.read_bytes(&mut bytes)?;
        let info = tensor.info().clone();
        let values = integers(info.dtype, &bytes)
            .ok_or_else(|| wrong(&info.name, format!("dtype {}", info.dtype), "an integer dtype such as `I64`"))?;
        tensors.insert(info.name, (info.shape, values));
    }
    let mut take =
        |name: &str| tensors.remove(name).ok_or_else(|| wrong(name, "no such tensor".into(), "I64 [batch, length]"));
    let (shape, ids) = take("input_ids")?;
    let (mask_shape, mask) = take("attention_mask")?;
    let &[batch, length] = shape.as_slice() else {
        return Err(wrong("input_ids", format!("shape {shape:?}"), "[batch, length]"));
    };
    if batch == 0 || length == 0 {
        return Err(wrong("input_ids", format!("shape {shape:?}"), "at least one row and one token"));
    }
    if mask_shape != shape {
        return Err(wrong("attention_mask", format!("shape {mask_shape:?}"), "the shape of `input_ids`"));
    }
    let ids = ids
        .iter()
        .map(|&id| u32::try_from(id).map_err(|_| wrong("input_ids", id.to_string(), "ids of the vocabulary")))
        .collect::<Result<_, _>>()?;
    let mask = mask
        .iter()
        .map(|&flag| match flag {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(wrong("attention_mask", flag.to_string(), "0 or 1")),
        })
        .collect::<Result<_, _>>()?;
    let positions = match tensors.remove("positions") {
        None => None,
        Some((shape, values)) => match *shape.as_slice() {
            [rows, reads] if rows == batch && reads > 0 => {
                let place = |&value: &i64| {
                    usize::try_from(value).map_err(|_| wrong("positions", value.to_string(), "at least 0"))
                };
                Some(values.chunks_exact(reads).map(|row| row.iter().map(place).collect()).collect::<Result<_, _>>()?)
            }
            _ => return Err(wrong("positions", format!("shape {shape:?}"), "[batch, reads]")),
        },
    };
    Ok(RawInput { batch, length, ids, mask, positions_rule: Positions::EverySlot, positions })
}

fn wrong(name: &str, found: String, expected: &str) -> Failure {
    Failure::new(
        format!("tensor `{name}` of the input: found {found}, expected {expected}"),
        "write it with `safetensors.torch.save_file({\"input_ids\": ids, \"attention_mask\": mask}, FILE)`",
    )
}

fn integers(dtype: Dtype, bytes: &[u8]) -> Option<Vec<i64>> {
    Some(match dtype {
        Dtype::I64 => bytes.as_chunks().0.iter().map(|&value| i64::from_le_bytes(value)).collect(),
        Dtype::I32 => bytes.as_chunks().0.iter().map(|&value| i64::from(i32::from_le_bytes(value))).collect(),
        Dtype::U32 => bytes.as_chunks().0.iter().map(|&value| i64::from(u32::from_le_bytes(value))).collect(),
        Dtype::U8 | Dtype::BOOL => bytes.iter().map(|&value| i64::from(value)).collect(),
        _ => return None,
    })
}

fn write(path: &Path, input: &RawInput, task: Option<&str>, output: &RawOutput) -> Result<(), Failure> {
    let hidden = output.hidden.first().map_or(0, |state| state.len() / input.ids.len().max(1));
    let shape = vec![input.batch, input.length, hidden];
    let mut named: Vec<(String, &[usize], &[f32])> = Vec::new();
    for (index, state) in output.hidden.iter().enumerate() {
        named.push((format!("hidden.{index}"), &shape, state));
    }
    for (name, features) in &output.adapters {
        named.push((format!("adapter.{name}"), &shape, features));
    }
    if let (Some(task), Some((shape, logits))) = (task, &output.logits) {
        named.push((format!("logits.{task}"), shape, logits));
    }
    let tensors: Vec<_> = named.iter().map(|(name, shape, values)| (name.as_str(), *shape, *values)).collect();
    weights::write_f32(path, Dtype::F32, &tensors, &std::collections::BTreeMap::new()).map_err(Error::from)?;
    Ok(())
}
