//! `kadapter gc`: content that nobody needs goes.

use super::report::Failure;
use kadapter_registry::gc::{Collected, GRACE, Options};
use kadapter_registry::{Cache, RegistryLocation, cache};
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `kadapter gc`.
#[derive(Debug, clap::Args)]
pub(crate) struct Gc {
    #[command(flatten)]
    place: Place,
    /// How old it must be, such as `30m`, `12h` or `7d` [default: `24h` in a registry, `30d` unused in the cache]
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<Duration>,
    /// Say what would be removed and remove nothing
    #[arg(long)]
    dry_run: bool,
}

/// Where to collect: one of the two.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// Remove from this registry what no release names
    #[arg(long, value_name = "REGISTRY")]
    registry: Option<RegistryLocation>,
    /// Remove from this user's cache what no project has used for long; it can be fetched again
    #[arg(long)]
    cache: bool,
}

impl Gc {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let options = |usual| Options { older_than: self.older_than.unwrap_or(usual), dry_run: self.dry_run };
        let collected = match &self.place.registry {
            Some(registry) => super::place::store(registry)?.collect(&options(GRACE))?,
            None => Cache::of_user()?.collect(&options(cache::UNUSED))?,
        };
        print(&collected, self.dry_run);
        Ok(ExitCode::SUCCESS)
    }
}

fn print(collected: &Collected, dry_run: bool) {
    for piece in &collected.removed {
        println!("{} ({} bytes)", piece.location, piece.size);
    }
    let would = if dry_run { "to remove" } else { "removed" };
    let (files, bytes, young) = (collected.removed.len(), collected.removed_bytes(), collected.young.len());
    println!("{files} files {would} ({bytes} bytes), {young} kept that are not old enough");
}

/// Reads an age: a number and `s`, `m`, `h` or `d`.
fn age(text: &str) -> Result<Duration, String> {
    let refuse = || "it must be a number and `s`, `m`, `h` or `d`, such as `12h`".to_owned();
    let unit = text.chars().last().ok_or_else(refuse)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(refuse()),
    };
    let digits = &text[..text.len() - unit.len_utf8()];
    let number: u64 = Some(digits)
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|d| d.parse().ok())
        .ok_or_else(refuse)?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_and_what_is_none_is_refused() {
        let seconds = |text| age(text).map(|age| age.as_secs()).ok();
        assert_eq!(["0s", "90s", "2m", "1h", "30d"].map(seconds), [0, 90, 120, 3600, 2_592_000].map(Some));
        for bad in
            ["", "5", "h", "-1h", "+1h", "1.5h", "1w", "1 h", "99999999999999999999s", "9999999999999999999d", "1µ"]
        {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
