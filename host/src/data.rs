//! Labelled data: files of the field's corpora as one stream of records, each with its gold answer and its place.
//!
//! ```text
//! FILE (.xz, .gz or as it is) -> lines, JSON values, tables or blocks, one at a time -> a format's reader
//!      -> Labelled { fields, gold, at }                                          in memory: one record
//! ```
//!
//! [`Source`] names a file and how it is read; [`Source::records`] streams it. A record's fields are those that
//! [`task`](crate::task) encodes, its gold answer is beside them. What cannot be read stops the stream with file, line,
//! what was expected and what to do, or is counted where [`Options::skip_bad`] says so; what a format leaves out by its
//! nature is counted always ([`Counts`]).
//!
//! | format | files |
//! | --- | --- |
//! | `json` | objects, one per line or in an array: the fields of a task and its gold answer ([`Format::Json`]) |
//! | `tacred` | TACRED and T-REx-rc: words, entities as word indices, `relation` |
//! | `semeval` | SemEval-2010 task 8: blocks of a numbered sentence, its relation and a comment |
//! | `fewrel` | FewRel: an object of relations, each a list of `tokens`, `h` and `t` |
//! | `openentity` | OpenEntity and FIGER: `sent`, `start`, `end`, `labels` |
//! | `cosmosqa` | CosmosQA: CSV, or objects with `context`, `question`, `answer0` … and `label` |
//! | `squad` | SQuAD: articles, paragraphs and questions; or objects with `question`, `context` and `answers` |
//! | `conllu` | Universal Dependencies: words, heads and relations |
//! | `lin-adapter` | what the paper's linguistic adapter was trained on: `sent`, `tokens`, `pairs` |
//! | `trex-table` | T-REx pairs, tab-separated, `[MASK]` in place of the object |
//! | `wordnet-table` | WordNet glosses with a relation, tab-separated, head and tail looked up in the gloss |
//! | `wordnet-defined` | the same, with the head put before its gloss |
//! | `lama` | LAMA: sentences with `[MASK]` |

mod counts;
mod csv;
mod detect;
mod error;
mod format;
mod input;
mod json;
mod lines;
mod object;
mod read;
mod record;
mod records;
mod sentence;
mod source;
mod split;
mod text;

#[cfg(test)]
mod tests;

pub use counts::{Counts, Reason};
pub use error::Error;
pub use format::Format;
pub use record::{Gold, Labelled, Place, SpanGold};
pub use records::Records;
pub use sentence::{SeenSentences, normalise};
pub use source::{Labels, Options, Source};
pub use split::{Share, Slice, Split, Subset, fold};

pub(crate) use input::open as open_bytes;
