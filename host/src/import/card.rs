//! The card of an imported package: what it is, whose it is, and what it was made from.

use super::{Identity, Report};

/// Writes the card as Markdown. `summary` is one sentence, `usage` a paragraph on what the package is for.
pub(super) fn render(identity: &Identity, summary: &str, usage: &str, report: &Report) -> String {
    let mut card = format!("# {}\n\n{summary}.\n\n{usage}\n", identity.name);
    let mut line = |text: String| {
        card.push_str(&text);
        card.push('\n');
    };
    line("\n| | |\n| --- | --- |".to_owned());
    line(format!("| Version | {} |", identity.version));
    line(format!("| Licence | {} |", identity.license));
    for (name, value) in &report.facts {
        line(format!("| {} | {} |", cell(name), cell(value)));
    }
    if let Some(attribution) = &identity.attribution {
        line(format!("\n## Attribution\n\n{}", attribution.trim()));
    }
    line("\n## Made from\n\n| File | Bytes | SHA-256 |\n| --- | --- | --- |".to_owned());
    for source in &report.sources {
        let name = source.path.file_name().unwrap_or(source.path.as_os_str());
        line(format!("| {} | {} | `{}` |", cell(&name.to_string_lossy()), source.size, source.digest.hex()));
    }
    if !report.dropped.is_empty() {
        line(format!("\n{} entries of these files are not part of the package:\n", report.dropped.len()));
        for name in &report.dropped {
            line(format!("- `{name}`"));
        }
    }
    card
}

/// Text that stays in its cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}
