//! Pickles that call functions, claim sizes, nest, repeat, lie about offsets, or stop early.

use std::path::Path;

use proptest::prelude::*;

use super::super::pickle::unpickle;
use super::{Error, StateDict, data};

/// A legacy torch file whose state dict is the given pickle, with no storages.
fn legacy(state: &[u8]) -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec();
    file.extend(b"\x80\x02}(X\x0d\0\0\0little_endian\x88u.");
    file.extend(state);
    file.extend(b"\x80\x02].");
    file
}

fn open(bytes: &[u8]) -> Result<StateDict, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pytorch_model.bin");
    std::fs::write(&path, bytes).unwrap();
    StateDict::open(&path)
}

fn refusal(state: &[u8]) -> String {
    open(&legacy(state)).unwrap_err().to_string()
}

#[test]
fn calls_are_refused_by_name() {
    let asks = "; a state dict needs only tensors and ordered dicts";
    for (pickle, name) in [
        (&b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R."[..], "os.system"),
        (b"\x80\x02cposix\nsystem\nX\x02\0\0\0id\x85R.", "posix.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.", "os.system"),
        (b"\x80\x02cbuiltins\neval\nX\x031\0\0\0\x85R.", "builtins.eval"),
        (b"\x80\x02c__builtin__\ngetattr\n)R.", "__builtin__.getattr"),
        (b"\x80\x02(ios\nsystem\n.", "os.system"),
        (b"\x80\x02ctorch\nload\n)R.", "torch.load"),
        (b"\x80\x02ctorch.storage\n_load_from_bytes\n)R.", "torch.storage._load_from_bytes"),
        (b"\x80\x02ccollections\nOrderedDict.update\n)R.", "collections.OrderedDict.update"),
        (b"\x80\x04\x8c\x0bcollections\x8c\x08Callable\x93.", "collections.Callable"),
        (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R.", "numpy.core.multiarray._reconstruct"),
    ] {
        assert_eq!(refusal(pickle), format!("The file asks to call `{name}`{asks}"));
    }
}

#[test]
fn instructions_that_reach_for_objects_are_refused() {
    for (pickle, expected) in [
        (&b"\x80\x02(o."[..], "`OBJ`"),
        (b"\x80\x02\x82\x01.", "`EXT`"),
        (b"\x80\x02P1\n.", "`PERSID`"),
        (b"\x80\x04\x8f.", "`EMPTY_SET`"),
        (b"\x80\x05\x97.", "`NEXT_BUFFER`"),
        (b"\x80\x02\xff.", "`0xff`"),
        (b"\x80\x00N.", "pickle protocol 0"),
        (b"\x80\x02NN\x85R.", "None is called"),
        (b"\x80\x02]}b.", "attributes are set on a list"),
        (b"\x80\x02]Q.", "not a storage"),
    ] {
        let message = refusal(pickle);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn claimed_sizes_are_not_believed() {
    for (pickle, expected) in [
        (&b"\x80\x02\x8b\xff\xff\xff\x7f."[..], "an integer of 2147483647 bytes"),
        (b"\x80\x02X\xff\xff\xff\xff.", "a string of 4294967295 bytes"),
        (b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.", "a string of 9223372036854775807 bytes"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", "a string of 18446744073709551615 bytes"),
        (b"\x80\x02}r\xff\xff\xff\xffj\xff\xff\xff\xffj\xff\xff\xff\xfeR.", "memo 4278190079 was never written"),
    ] {
        let message = refusal(pickle);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn work_is_bounded() {
    let mut nested = b"\x80\x02".to_vec();
    nested.extend(vec![b'('; 100_000]);
    assert!(refusal(&nested).contains("more than 64 levels of nesting"));

    // A tuple in a tuple in a tuple: no recursion when it is built, looked at or dropped.
    let mut deep = b"\x80\x02)".to_vec();
    deep.extend(vec![0x85; 900_000]);
    deep.push(b'.');
    assert!(refusal(&deep).contains("found a tuple"));

    let mut long = b"\x80\x02".to_vec();
    long.extend(vec![b'N'; 2_000_000]);
    assert!(refusal(&long).contains("more than 1048576 instructions"));

    // "Billion laughs": each list holds the one before ten times.
    let mut laughs = b"\x80\x02]q\x00".to_vec();
    for level in 0..200_u8 {
        laughs.push(b'(');
        for _ in 0..10 {
            laughs.extend([b'h', level]);
        }
        laughs.extend([b'l', b'q', level + 1]);
    }
    laughs.push(b'.');
    assert!(refusal(&laughs).contains("found a list"));

    // One long list of pairs, turned into a dict again and again.
    let mut copies = b"\x80\x02]q\x00(".to_vec();
    for _ in 0..50_000 {
        copies.extend(b"NN\x86");
    }
    copies.extend(b"e0ccollections\nOrderedDict\nq\x01");
    for _ in 0..1_000 {
        copies.extend(b"h\x01h\x00\x85R0");
    }
    assert!(refusal(&copies).contains("more than 1048576 instructions"));

    // A list that holds itself.
    assert!(refusal(b"\x80\x02]q\x00h\x00a.").contains("found a list"));
}

/// `OrderedDict(x=_rebuild_tensor_v2(FloatStorage "0" of 4, …))` with the four arguments as pickles.
fn tensor(length: &[u8], offset: &[u8], shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let mut state = b"\x80\x02}X\x01\0\0\0xctorch._utils\n_rebuild_tensor_v2\n(".to_vec();
    state.extend(b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0");
    state.extend(b"0X\x03\0\0\0cpu");
    state.extend(length);
    state.extend(b"NtQ");
    state.extend([offset, shape, strides, b"\x89}tRs."].concat());
    let mut file = legacy(&state);
    file.truncate(file.len() - 4);
    file.extend(b"\x80\x02](X\x01\0\0\0");
    file.extend(b"0e.");
    file.extend(4_u64.to_le_bytes());
    file.extend([0; 16]);
    file
}

#[test]
fn tensors_stay_in_their_storage() {
    let good = tensor(b"K\x04", b"K\x00", b"K\x02K\x02\x86", b"K\x02K\x01\x86");
    assert_eq!(open(&good).unwrap().tensors()[0].shape, [2, 2]);
    for (length, offset, shape, strides, expected) in [
        (
            &b"K\x04"[..],
            &b"K\x01"[..],
            &b"K\x02K\x02\x86"[..],
            &b"K\x02K\x01\x86"[..],
            "reaches to byte 20, the storage has 16",
        ),
        (b"K\x04", b"K\x00", b"K\x02K\x02\x86", b"K\x09K\x01\x86", "reaches to byte 44"),
        (b"K\x04", b"K\x00", b"K\x09\x85", b"K\x00\x85", "has 9 values of 4 bytes, the storage 16"),
        (b"K\x04", b"K\x00", b"J\xff\xff\xff\xff\x85", b"K\x01\x85", "a tensor's shape is -1"),
        (b"K\x04", b"K\x00", b"K\x02\x85", b"J\xff\xff\xff\xff\x85", "a tensor's strides is -1"),
        (
            b"K\x04",
            b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
            b"K\x01\x85",
            b"K\x01\x85",
            "not a number that any file has",
        ),
        (
            b"K\x04",
            b"K\x00",
            b"K\x02\x85",
            b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85",
            "not a number that any file has",
        ),
        (b"K\x04", b"K\x00", b"J\xff\xff\xff\x7f1J\xff\xff\xff\x7f\x86", b"K\x01K\x01\x86", "malformed"),
        (b"K\x04", b"K\x00", b"K\x01K\x01\x86", b"K\x01\x85", "2 dimensions and 1 strides"),
        (b"K\x05", b"K\x00", b"K\x04\x85", b"K\x01\x85", "storage `0` needs 20 bytes"),
        (b"K\x03", b"K\x00", b"K\x03\x85", b"K\x01\x85", "has 4 values, expected 3"),
    ] {
        let message = open(&tensor(length, offset, shape, strides)).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    // Overflow by shape alone.
    let huge = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
    let shape = [&huge[..], huge, huge, b"\x87"].concat();
    let message = open(&tensor(b"K\x04", b"K\x00", &shape, b"K\x01K\x01K\x01\x87")).unwrap_err().to_string();
    assert!(message.contains("not a number that any file has"), "{message}");
}

#[test]
fn big_endian_files_are_refused() {
    let mut file = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec();
    file.extend(b"\x80\x02}(X\x0d\0\0\0little_endian\x89u.");
    assert!(matches!(open(&file), Err(Error::BigEndian)));
    let zip = std::fs::read(data("torch/unsigned.pt")).unwrap();
    let at = zip.windows(6).position(|window| window == b"little").unwrap();
    // Same length as `little`, so that only the word is different.
    let mut other = zip.clone();
    other[at..at + 6].copy_from_slice(b"middle");
    assert!(open(&other).unwrap_err().to_string().contains("byteorder"));
}

#[test]
fn zip_entries_that_torch_never_writes_are_refused() {
    let zip = std::fs::read(data("torch/unsigned.pt")).unwrap();
    let central = zip.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    for (offset, value, expected) in [
        (8, 1, "is encrypted"),
        (10, 8, "is compressed (method 8)"),
        (20, 9, "has two lengths"),
        (28, 255, "zip container"),
    ] {
        let mut broken = zip.clone();
        broken[central + offset] = value;
        let message = open(&broken).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

/// Cut at every byte, each small file is refused: nothing is read as less than it was.
#[test]
fn files_cut_anywhere_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut");
    for name in ["torch/variants.legacy.pt", "torch/variants.zip.pt", "torch/unsigned.pt"] {
        let whole = std::fs::read(data(name)).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(StateDict::open(&path).is_err(), "{name} cut to {length} bytes");
        }
    }
}

fn read_everything(path: &Path) {
    if let Ok(mut state) = StateDict::open(path) {
        let names: Vec<_> = state.tensors().iter().map(|tensor| tensor.name.clone()).collect();
        let mut bytes = Vec::new();
        for name in names {
            let _ = state.read(&name, &mut bytes);
        }
    }
}

proptest! {
    #[test]
    fn random_pickles_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = unpickle(&bytes);
    }

    /// Random programs of real instructions get further than random bytes.
    #[test]
    fn random_programs_never_panic(
        program in prop::collection::vec(prop::sample::select(vec![
            &b"("[..], b"0", b"1", b"2", b"N", b"\x88", b"K\x02", b"M\x01\x01", b"X\x01\0\0\0a", b"X\x07\0\0\0storage", b")",
            b"\x85", b"\x86", b"\x87", b"t", b"]", b"l", b"a", b"e", b"}", b"d", b"s", b"u", b"q\x00", b"h\x00", b"\x94",
            b"Q", b"R", b"b", b"ccollections\nOrderedDict\n", b"ctorch\nFloatStorage\n",
            b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nSize\n", b"\x8a\x01\xff", b".",
        ]), 0..60)
    ) {
        let _ = unpickle(&program.concat());
    }

    #[test]
    fn flipped_bytes_never_panic(
        file in prop::sample::select(vec!["torch/variants.legacy.pt", "torch/variants.zip.pt", "torch/unsigned.pt"]),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = std::fs::read(data(file)).unwrap();
        for (index, value) in flips {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flipped");
        std::fs::write(&path, &bytes).unwrap();
        read_everything(&path);
    }
}
