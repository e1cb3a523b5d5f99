//! The metadata note: what a plugin file says about itself to a reader that has not opened it.
//!
//! ```text
//! ELF: section .note.kadapter    namesz = 9 | descsz = 512 | type = 1 | "kadapter\0" + 3 zeros | text, zero-padded to 512
//! elsewhere: the same bytes in a data section of that name
//! text: name=…\nversion=…\nabi=…\nrustc=…\ntarget=…\nprofile=release|debug\n
//! ```

/// The section that holds the note in an ELF file; `__kadapter` in Mach-O, `.kadapt` in PE.
pub const SECTION: &str = ".note.kadapter";
/// Bytes of the text, padding included.
pub const TEXT_SIZE: usize = 512;
/// Bytes of the whole note.
pub const SIZE: usize = 12 + 12 + TEXT_SIZE;

const DEBUG: &str = "debug";
const OWNER: [u8; 12] = *b"kadapter\0\0\0\0";

/// What a note says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The plugin's crate name.
    pub name: String,
    /// The plugin's version.
    pub version: String,
    /// The version of the ABI it was built against.
    pub abi: String,
    /// The compiler that built it.
    pub rustc: String,
    /// The target triple it was built for.
    pub target: String,
    /// Whether it was built with debug assertions, so not for release; notes that do not say so are of release builds.
    pub debug: bool,
}

/// Encodes a note at compile time; a text that would be too long stops the compilation.
#[must_use]
pub const fn encode(name: &str, version: &str) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    #[expect(clippy::cast_possible_truncation, reason = "both sizes are small constants")]
    let words = [9_u32.to_ne_bytes(), (TEXT_SIZE as u32).to_ne_bytes(), 1_u32.to_ne_bytes()];
    let mut word = 0;
    while word < 3 {
        let mut index = 0;
        while index < 4 {
            bytes[word * 4 + index] = words[word][index];
            index += 1;
        }
        word += 1;
    }
    let mut index = 0;
    while index < OWNER.len() {
        bytes[12 + index] = OWNER[index];
        index += 1;
    }
    let mut at = 24;
    at = append(&mut bytes, at, "name=", name);
    at = append(&mut bytes, at, "version=", version);
    at = append(&mut bytes, at, "abi=", crate::abi::ABI_VERSION);
    at = append(&mut bytes, at, "rustc=", env!("KADAPTER_RUSTC"));
    at = append(&mut bytes, at, "target=", env!("KADAPTER_TARGET"));
    append(&mut bytes, at, "profile=", if cfg!(debug_assertions) { DEBUG } else { "release" });
    bytes
}

const fn append(bytes: &mut [u8; SIZE], mut at: usize, key: &str, value: &str) -> usize {
    let parts = [key.as_bytes(), value.as_bytes(), b"\n"];
    let mut part = 0;
    while part < parts.len() {
        let mut index = 0;
        while index < parts[part].len() {
            assert!(at < SIZE, "the plugin's name and version are too long for its metadata note");
            bytes[at] = parts[part][index];
            at += 1;
            index += 1;
        }
        part += 1;
    }
    at
}

/// Reads a note from the bytes of its section; `None` where they are not one.
#[must_use]
pub fn parse(section: &[u8]) -> Option<Note> {
    let word = |at: usize| section.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_ne_bytes);
    let fits = word(0)? == 9 && word(4)? as usize == TEXT_SIZE && word(8)? == 1 && section.get(12..24)? == OWNER;
    let text = section.get(24..24 + TEXT_SIZE).filter(|_| fits)?;
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    let text = std::str::from_utf8(&text[..end]).ok()?;
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned);
    Some(Note {
        name: value("name")?,
        version: value("version")?,
        abi: value("abi")?,
        rustc: value("rustc")?,
        target: value("target")?,
        debug: value("profile").is_some_and(|profile| profile == DEBUG),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back() {
        let note = parse(&encode("acme-chemistry", "1.2.3")).unwrap();
        assert_eq!((note.name.as_str(), note.version.as_str()), ("acme-chemistry", "1.2.3"));
        assert_eq!(note.abi, crate::abi::ABI_VERSION);
        assert!(note.rustc.starts_with("rustc "), "{note:?}");
        assert_eq!(note.debug, cfg!(debug_assertions));
    }

    #[test]
    fn every_cut_or_changed_header_is_no_note() {
        let bytes = encode("a", "1.0.0");
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), None, "cut at {end}");
        }
        for index in 0..24 {
            let mut bytes = bytes;
            bytes[index] ^= 1;
            assert_eq!(parse(&bytes), None, "flipped at {index}");
        }
    }
}
