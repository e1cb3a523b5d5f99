//! Labelled data in every format, compressed or not: no bytes panic, streams end, and what is counted was given out.
#![no_main]

#[path = "../../host/src"]
#[allow(dead_code, unused_imports, unreachable_pub, reason = "a module of the host, compiled in without the rest of it")]
mod host {
    pub(crate) mod data;
}

/// What the readers know of tasks.
mod task {
    /// The host's own limit.
    pub(crate) const MAX_RECORD_BYTES: usize = 1 << 20;
}

use host::data;
use host::data::{Format, Options, Source};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [choice, bytes @ ..] = bytes else { return };
    let format = Format::ALL[usize::from(*choice) % Format::ALL.len()];
    let options = Options { skip_bad: choice & 0x80 == 0, ..Options::default() };
    let source = Source { path: "data".into(), format, options };
    let mut records = source.records_from(std::io::Cursor::new(bytes.to_vec()));
    let mut read = 0;
    for record in records.by_ref() {
        match record {
            Ok(record) => {
                read += 1;
                let _ = (record.flat(), record.sentence(), record.at.to_string());
            }
            Err(error) => {
                let _ = (error.to_string(), error.hint());
            }
        }
    }
    assert_eq!(records.counts().read, read);
});
