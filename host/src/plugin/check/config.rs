//! Configurations that must be refused: a misspelt key that is ignored costs somebody a training run.

use super::finding::{Finding, Verdict};
use super::{Bench, Check, judge};
use kadapter_plugin_api::{Error, ErrorKind};
use std::collections::BTreeSet;
use toml::Value;

/// A key that no adapter has.
const UNKNOWN: &str = "kadapter-check-unknown-key";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "unknown-key-refused",
        description: "A configuration key that the plugin does not know is refused, by its name",
        // The SDK drops an adapter that it refuses after it was built.
        needs: &["build", "drop"],
        run: unknown_key,
        judge: judge::plain,
    },
    Check {
        id: "wrong-type-refused",
        description: "A configuration value of another type is refused, by its key",
        // The SDK drops an adapter that it refuses after it was built.
        needs: &["build", "drop"],
        run: wrong_type,
        judge: judge::plain,
    },
];

/// What a plugin says to a configuration that has something wrong about `key`.
fn refusal(bench: &Bench<'_>, key: &str, value: Value) -> Result<Option<Error>, Finding> {
    let plugin = bench.open()?;
    let mut config = bench.subject.config();
    config.insert(key.to_owned(), value);
    Ok(match bench.build_with(&plugin, &config) {
        Ok((instance, _)) => {
            std::mem::forget(instance);
            None
        }
        Err(error) => Some(error),
    })
}

/// What is wrong with a refusal, if anything is.
fn objection(key: &str, error: &Error) -> Option<Finding> {
    match error.kind() {
        ErrorKind::Panic => Some(Finding::failed(error.message())),
        _ if !error.message().contains(key) => {
            Some(Finding::warning(format!("the refusal does not name the key `{key}`: `{}`", error.message())))
        }
        ErrorKind::Config => None,
        _ => Some(Finding::warning(format!("the refusal is no `Error::config`: `{}`", error.message()))),
    }
}

fn unknown_key(bench: &Bench<'_>) -> Verdict {
    match refusal(bench, UNKNOWN, Value::Integer(1))? {
        None => Err(Finding::failed(format!("an adapter was built with the unknown key `{UNKNOWN}`"))),
        Some(error) => Ok(objection(UNKNOWN, &error).unwrap_or_else(Finding::success)),
    }
}

/// The keys to try: those of the configuration, and those that the SDK names when it refuses an unknown one.
fn keys(bench: &Bench<'_>) -> Result<BTreeSet<String>, Finding> {
    let mut keys: BTreeSet<String> = bench.subject.config().keys().cloned().collect();
    if let Some(error) = refusal(bench, UNKNOWN, Value::Integer(1))?
        && let Some((_, known)) = error.message().split_once("expected only ")
    {
        // A key with a dot is of a table, and would have to be set inside it.
        keys.extend(known.split('`').skip(1).step_by(2).filter(|key| !key.contains('.')).map(str::to_owned));
    }
    Ok(keys)
}

fn wrong_type(bench: &Bench<'_>) -> Verdict {
    let keys = keys(bench)?;
    if keys.is_empty() {
        return Ok(Finding::skipped("the plugin takes no configuration"));
    }
    let mut worst = Finding::success();
    for key in &keys {
        // A typed key takes at most one of these.
        let candidates = [Value::Boolean(true), Value::Array(vec![Value::String("kadapter-check".into())])];
        let mut refused = None;
        for candidate in candidates {
            refused = refused.or(refusal(bench, key, candidate)?);
        }
        match refused {
            None => return Err(Finding::failed(format!("`{key}` may be a boolean and a list of texts alike"))),
            Some(error) => match objection(key, &error) {
                Some(finding) if finding.status.is_bad() => return Err(finding),
                Some(finding) => worst = finding,
                None => {}
            },
        }
    }
    Ok(worst)
}
