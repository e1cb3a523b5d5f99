//! Tests of the task kinds: the official converters' features, decoding, messages, and arbitrary input.

mod decode;
mod hostile;
mod official;
mod records;

use serde_json::Value;

use super::{Compat, Encoding, Error, Kind, Record, Task, TaskSpec};
use crate::tokenizer::Tokenizer;
use crate::tokenizer::fixture::{official, official_bytes};

/// Tokens that the fixtures' backbone has positions for.
const BACKBONE_LIMIT: usize = 48;

/// A description with `labels` numbered labels where the kind has any, and options in TOML.
fn spec(kind: Kind, max_length: usize, options: &str) -> TaskSpec {
    let labels = if kind.has_labels() { numbered(3) } else { Vec::new() };
    let (options, max_length) = (toml::from_str(options).unwrap(), Some(max_length));
    TaskSpec { kind, labels, max_length, options, compat: Compat::Masked, truncate: false }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("label {index}")).collect()
}

/// Builds a description with the fixtures' tokenizer.
fn build(spec: &TaskSpec) -> (Tokenizer, Box<dyn Task>) {
    let tokenizer = official();
    let task = spec.build(&tokenizer, BACKBONE_LIMIT).unwrap();
    (tokenizer, task)
}

/// Encodes one record given as an argument or line.
fn encode(spec: &TaskSpec, record: &str) -> Result<Encoding, Error> {
    let (tokenizer, task) = build(spec);
    task.encode(&tokenizer, &Record::parse(record)?)
}

/// Reads a JSON file of the official fixtures.
fn json(name: &str) -> Value {
    serde_json::from_slice(&official_bytes(name)).unwrap()
}

/// Reads a list from a JSON value.
fn list<T: serde::de::DeserializeOwned>(value: &Value) -> Vec<T> {
    serde_json::from_value(value.clone()).unwrap()
}
