//! A plugin from a registry, for commands that build its adapters without a project: chosen, judged, met, opened.

use super::report::Failure;
use kadapter_host::Error;
use kadapter_host::plugin::contact::Exercise;
use kadapter_host::plugin::{MAX_PLUGIN_SIZE, Plugin, Promise};
use kadapter_registry::release::{Needs, ReleaseRecord};
use kadapter_registry::trust::Asked;
use kadapter_registry::{Digest, PackageId, PackageName, Registry, Target, Trust, query};
use semver::VersionReq;
use std::path::Path;

/// A plugin that was opened.
pub(super) struct Opened {
    /// The plugin.
    pub(super) plugin: Plugin,
    /// Its package and version.
    pub(super) id: PackageId,
    /// The digest of its library.
    pub(super) library: Digest,
}

/// Opens the highest version of a plugin that fits `wanted` and is not yanked, after the operator's trust was asked for it and a child
/// process has met it with `exercise`.
pub(super) fn open(
    registry: &Registry,
    name: &PackageName,
    wanted: &VersionReq,
    exercise: Exercise,
) -> Result<Opened, Failure> {
    let record = choose(registry, name, wanted)?;
    let release = &record.release;
    let Needs::Plugin { abi } = &release.needs else {
        return Err(Failure::new(
            format!("`{name}` is a {}, expected a plugin", release.kind()),
            format!("kadapter search --registry {}", registry.store().location()),
        ));
    };
    Trust::of_user()?.judge(Asked { record: &record, pinned: None, fresh: true }, registry)?;
    let target = Target::host();
    let library = release.library(&target).ok_or_else(|| {
        Failure::new(
            format!("`{name}` has no library for {target}"),
            format!("build it here: `cargo build --release --target {target}`"),
        )
    })?;
    let bytes = registry.read(&release.id(), library, MAX_PLUGIN_SIZE)?;
    let promise = Promise {
        digest: library.sha256,
        size: library.size,
        version: release.version.to_string(),
        abi: abi.to_string(),
    };
    super::contact::meet_bytes(&release.id().to_string(), &bytes, &promise, exercise)?;
    let plugin = Plugin::from_bytes(Path::new(&library.path.to_string()), &bytes, &promise).map_err(Error::from)?;
    Ok(Opened { plugin, id: release.id(), library: library.sha256 })
}

fn choose(registry: &Registry, name: &PackageName, wanted: &VersionReq) -> Result<ReleaseRecord, Failure> {
    if *wanted == VersionReq::STAR {
        return Ok(query::info(registry, name, None)?.latest);
    }
    let listed = query::versions(registry, name)?;
    let fits = |listed: &&query::Listed| {
        wanted.matches(listed.version.as_semver())
            && listed.standing.as_ref().is_ok_and(|standing| standing.yanked().is_none())
    };
    let Some(chosen) = listed.iter().find(fits) else {
        let versions: Vec<_> = listed.iter().map(|listed| listed.version.to_string()).collect();
        return Err(Failure::new(
            format!("no version of `{name}` fits {wanted}, found {}", versions.join(", ")),
            format!("kadapter versions {name} --registry {}", registry.store().location()),
        ));
    };
    Ok(query::info(registry, name, Some(&chosen.version))?.latest)
}
