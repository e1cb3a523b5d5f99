//! Arbitrary bytes: no panic, an end, and counts that add up.

use super::{read, records};
use crate::data::{Format, Gold, Labelled, Options};
use proptest::prelude::*;

/// Pieces of every format.
const PIECES: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\n",
    "\t",
    "\r\n",
    " ",
    "\u{feff}",
    "0",
    "1",
    "null",
    "true",
    "\"text\"",
    "\"label\"",
    "\"labels\"",
    "\"sent\"",
    "\"start\"",
    "\"end\"",
    "\"token\"",
    "\"subj_start\"",
    "\"h\"",
    "\"t\"",
    "\"data\"",
    "\"paragraphs\"",
    "\"qas\"",
    "\"context\"",
    "\"answers\"",
    "<e1>a</e1>",
    "<e2>b</e2>",
    "Other",
    "[MASK]",
    "1\tAda\t_\t_\t_\t_\t0\troot\t_\t_",
    "context,question,answer0,label\n",
    "\"tokens\"",
    "\"pairs\"",
];

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(&PIECES[..]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
        1 => any::<String>().prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// One record of a format, whole or with a part changed.
fn nearly_right() -> impl Strategy<Value = (Format, Vec<u8>)> {
    let format = prop::sample::select(&Format::ALL[..]);
    (format, any::<prop::sample::Index>(), any::<u8>(), 0..4_u8).prop_map(|(format, index, byte, change)| {
        let example = format.example().replace("<TAB>", "\t").replace(", then `", "\n").replace('`', "");
        let mut bytes = example.into_bytes();
        let place = index.index(bytes.len());
        match change {
            0 => bytes[place] = byte,
            1 => drop(bytes.remove(place)),
            2 => bytes.truncate(place),
            _ => {}
        }
        (format, bytes)
    })
}

fn check(record: &Labelled) {
    let _ = (record.flat(), record.sentence(), record.at.to_string());
    if let Gold::Heads { heads, .. } = &record.gold {
        let words = record.fields["words"].as_array().unwrap().len();
        assert!(heads.len() == words && heads.iter().all(|&head| head <= words));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(bytes in bytes()) {
        for format in Format::ALL {
            let (found, counts) = read(format, Options { skip_bad: true, ..Options::default() }, &bytes);
            prop_assert_eq!(found.iter().filter(|record| record.is_ok()).count() as u64, counts.read);
            found.iter().flatten().for_each(check);
            // The first error ends a strict stream.
            let (strict, _) = read(format, Options::default(), &bytes);
            prop_assert!(strict.iter().rev().skip(1).all(Result::is_ok));
        }
    }

    #[test]
    fn no_changed_record_panics((format, bytes) in nearly_right()) {
        let (found, _) = read(format, Options::default(), &bytes);
        found.iter().flatten().for_each(check);
    }
}

/// What a hint shows is read.
#[test]
fn every_example_is_a_record() {
    for format in Format::ALL {
        let example = format.example().replace("<TAB>", "\t").replace(", then `", "\n").replace('`', "");
        let found = read(format, Options::default(), example.as_bytes());
        match format {
            // Its head stands before the gloss only in the other format.
            Format::WordnetTable => assert_eq!(found.1.total_left_out(), 1),
            // A header comes first.
            _ => assert!(matches!(found.0.as_slice(), [Ok(_)]), "{format}: {:?}", found.0),
        }
    }
}

/// Nesting takes no stack, and a deep value is an error of its record.
#[test]
fn deep_nesting_is_an_error_of_its_record() {
    let deep = format!("[{}{}, {{\"text\": \"a\", \"label\": \"l\"}}]", "[".repeat(200_000), "]".repeat(200_000));
    let (found, counts) = read(Format::Json, Options { skip_bad: true, ..Options::default() }, deep.as_bytes());
    assert_eq!((found.len(), counts.bad), (1, 1));
    assert_eq!(records(Format::Json, "{\"text\": \"a\", \"label\": \"l\"}").len(), 1);
}

/// A damaged file, wherever the damage is: an error or other records, no panic.
#[test]
fn damaged_compression_never_panics() {
    for name in ["semeval.txt.xz", "semeval.txt.gz"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/labelled").join(name);
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(read(Format::Semeval, Options::default(), &bytes).1.read, 12);
        for place in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[place] ^= 1 << (place % 8);
            let _ = read(Format::Semeval, Options { skip_bad: true, ..Options::default() }, &bytes);
        }
    }
}

/// One record, compressed by `xz --lzma2=dict=1GiB`.
const GREEDY: [u8; 84] = [
    0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46, 0x02, 0x00, 0x21, 0x01, 0x24, 0x00, 0x00,
    0x00, 0x5e, 0x1f, 0xc7, 0xf9, 0x01, 0x00, 0x1b, 0x7b, 0x22, 0x74, 0x65, 0x78, 0x74, 0x22, 0x3a, 0x20, 0x22, 0x61,
    0x22, 0x2c, 0x20, 0x22, 0x6c, 0x61, 0x62, 0x65, 0x6c, 0x22, 0x3a, 0x20, 0x22, 0x6c, 0x22, 0x7d, 0x0a, 0x00, 0x96,
    0x2d, 0x48, 0xfe, 0xd5, 0xec, 0xc6, 0x03, 0x00, 0x01, 0x34, 0x1c, 0x93, 0x1a, 0xad, 0x8f, 0x1f, 0xb6, 0xf3, 0x7d,
    0x01, 0x00, 0x00, 0x00, 0x00, 0x04, 0x59, 0x5a,
];

#[test]
fn a_dictionary_that_would_fill_the_memory_is_refused() {
    let (found, _) = read(Format::Json, Options::default(), &GREEDY);
    assert!(
        matches!(found.as_slice(), [Err(crate::data::Error::Read { source, .. })] if source.to_string().contains("memory"))
    );
}
