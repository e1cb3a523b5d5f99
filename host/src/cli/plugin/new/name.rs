//! Names of plugin crates: what cargo, rustc and registries of packages all take.

use crate::cli::report::Failure;
use kadapter_registry::PackageName;
use kadapter_registry::name::MAX_NAME;

/// Words of the language, and crates that every program has: none can be the name of a crate.
const TAKEN: [&str; 56] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// Says no to what is no name of a plugin crate, with one that is.
pub(super) fn check(name: &str) -> Result<(), Failure> {
    problem(name).map_or(Ok(()), |problem| {
        let mut shown = String::new();
        for character in name.chars().take(MAX_NAME) {
            if character.is_control() { shown.extend(character.escape_default()) } else { shown.push(character) }
        }
        Err(Failure::new(
            format!("Could not accept plugin name `{shown}`: {problem}"),
            format!("kadapter plugin new {}", suggestion(name)),
        ))
    })
}

fn problem(name: &str) -> Option<&'static str> {
    let module = name.replace('-', "_");
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > MAX_NAME {
        Some("it is longer than 64 characters")
    } else if !name.starts_with(|character: char| character.is_ascii_lowercase()) {
        Some("it must start with a letter from a to z")
    } else if !name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'))
    {
        Some("only a-z, 0-9, `-` and `_` may stand in it")
    } else if TAKEN.contains(&module.as_str()) {
        Some("Rust has it for itself")
    } else if module == "kadapter_plugin_api" {
        Some("the SDK is called so")
    } else if format!("me/{name}").parse::<PackageName>().is_err() {
        // What is left that cargo would take and a registry would not.
        Some("Windows reserves it for a device")
    } else {
        None
    }
}

/// The nearest good name.
fn suggestion(name: &str) -> String {
    let plain = |character: char| {
        let lower = character.to_ascii_lowercase();
        if lower.is_ascii_lowercase() || lower.is_ascii_digit() || lower == '_' { lower } else { '-' }
    };
    let cleaned: String = name.chars().map(plain).take(MAX_NAME).collect();
    let trimmed = cleaned.trim_start_matches(|character: char| !character.is_ascii_lowercase()).trim_end_matches('-');
    let named = if trimmed.is_empty() { "chemistry".to_owned() } else { trimmed.to_owned() };
    if problem(&named).is_none() { named } else { format!("{named}-adapter") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_suggested_is_accepted() {
        for name in [
            "",
            "Chemistry",
            "fn",
            "proc-macro",
            "3d",
            "a/b",
            "../up",
            "été",
            "-",
            "kadapter-plugin-api",
            "con",
            "a b!",
        ] {
            assert!(problem(name).is_some(), "{name}");
            let suggestion = suggestion(name);
            assert_eq!(problem(&suggestion), None, "{name} -> {suggestion}");
        }
        assert_eq!(problem("acme_chemistry-2"), None);
    }
}
