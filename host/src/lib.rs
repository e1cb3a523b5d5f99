//! The runtime of kadapter: one frozen RoBERTa, adapters as plugins, tasks by manifest.
//!
//! ```text
//! text -> task encoding (markers, spans) -> tokenizer -> ragged batch
//!      -> backbone, once, keeping the taps that anybody in this batch needs
//!      -> each distinct adapter, once, over the rows that need it           (plugin code, host tensors)
//!      -> per task: fusion -> head -> decode -> answer
//! ```
//!
//! | room | what it is for |
//! | --- | --- |
//! | [`pipeline`] | the way above: a plan, a loaded model, answers |
//! | [`task`] | one file per kind of task: encoding, head, decoding |
//! | [`tokenizer`] | text to tokens as the paper's code does |
//! | [`backbone`] | the frozen network and its hidden states |
//! | [`plugin`] | inspect, open and ask native plugins |
//! | [`tensor`] | the op table on CPU, CUDA and Metal, for inference and for training |
//! | [`train`] | adapters and heads from data, the backbone frozen |
//! | [`weights`], [`parameters`] | safetensors files, streamed and verified, and their way to the device |
//! | [`compare`] | stacks and controls side by side: seeds, significance, table and chart |
//! | [`data`] | labelled data: corpora as one stream of records with their gold answers |
//! | [`metric`], [`evaluate`] | scores as their benchmarks compute them, and tasks scored over labelled data |
//! | [`import`] | checkpoints of others into packages |
//! | [`pack`], [`stage`] | a built plugin crate into a package; folders that appear whole or not at all |
//! | [`signing`] | secret keys, in minisign's format |

#![deny(unsafe_code)]

pub mod backbone;
pub mod compare;
pub mod data;
pub mod error;
pub mod evaluate;
pub mod import;
pub mod metric;
pub mod pack;
pub mod parameters;
pub mod pipeline;
pub mod plugin;
pub mod signing;
pub mod stage;
pub mod task;
pub mod tensor;
pub mod tokenizer;
pub mod train;
pub mod weights;

pub use error::Error;
