//! The file as bytes: nothing is opened.

use super::finding::{Finding, Verdict};
use super::{Bench, Check, judge};
use crate::plugin::{PluginError, Promise};
use kadapter_plugin_api::abi::ABI_VERSION;
use kadapter_registry::Digest;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "library-format",
        description: "The file is a whole native library for this machine",
        needs: &[],
        run: format,
        judge: judge::plain,
    },
    Check {
        id: "entry-and-note",
        description: "The library has the entry symbol and the metadata note of a plugin",
        needs: &["library-format"],
        run: entry_and_note,
        judge: judge::plain,
    },
    Check {
        id: "abi-version",
        description: "The plugin speaks an ABI that this host understands",
        needs: &["entry-and-note"],
        run: abi,
        judge: judge::plain,
    },
    Check {
        id: "package-agrees",
        description: "The plugin is the library of its package, and package and note say the same",
        needs: &["abi-version"],
        run: package,
        judge: judge::plain,
    },
];

fn format(bench: &Bench<'_>) -> Verdict {
    bench.bytes()?;
    match bench.inspect() {
        // What comes after the format has checks of its own.
        Ok(_) | Err(PluginError::NotAPlugin { .. } | PluginError::Abi { .. }) => Ok(Finding::success()),
        Err(error) => Err(error.into()),
    }
}

fn entry_and_note(bench: &Bench<'_>) -> Verdict {
    match bench.inspect() {
        Ok(inspected) => {
            let note = inspected.note;
            Ok(Finding::told(format!("{} {}, built by {}", note.name, note.version, note.rustc)))
        }
        Err(PluginError::Abi { .. }) => Ok(Finding::success()),
        Err(error) => Err(error.into()),
    }
}

fn abi(bench: &Bench<'_>) -> Verdict {
    let found = bench.inspect()?.note.abi;
    let minor = |version: &str| version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    Ok(if minor(&found) > minor(ABI_VERSION) {
        Finding::warning(format!(
            "it speaks ABI {found} and this host {ABI_VERSION}: it cannot count on what came between"
        ))
    } else {
        Finding::told(found)
    })
}

fn package(bench: &Bench<'_>) -> Verdict {
    let Some(promised) = &bench.subject.promised else {
        return Ok(Finding::skipped("no package of a plugin was given; give one with `--package DIR`"));
    };
    let Some(library) = &promised.library else {
        return Err(Finding::failed("the package has no library for this machine"));
    };
    let found = Digest::of(&crate::plugin::read(library)?);
    if found != bench.subject.digest {
        return Err(Finding::failed(format!(
            "the package's library `{}` has digest {found}, expected {} as the file has",
            library.display(),
            bench.subject.digest
        )));
    }
    let (version, abi) = (promised.version.clone(), promised.abi.clone());
    let promise = Promise { digest: found, size: 0, version, abi };
    bench.inspect()?.compare(&bench.subject.file, &promise)?;
    Ok(Finding::success())
}
