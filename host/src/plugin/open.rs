//! Opening checked bytes: the one place where foreign code enters the process.
#![expect(unsafe_code, reason = "foreign code enters here and nowhere else in the host")]

use super::PluginError;
use super::image::Image;
use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::check_layout_compatibility;
use abi_stable::library::AbiHeaderRef;
use kadapter_plugin_api::abi::{ABI_VERSION, ENTRY_SYMBOL, PluginRef};
use std::path::Path;

/// Opens a library from bytes whose digest, format, machine, entry symbol and note were checked.
pub(super) fn open(path: &Path, bytes: &[u8]) -> Result<PluginRef, PluginError> {
    let refuse = |reason: String| PluginError::Open { path: path.to_owned(), reason };
    let image = Image::new(bytes).map_err(|source| PluginError::Seal { source })?;
    let header = entry(&image).map_err(|error| refuse(error.to_string()))?;
    drop(image);
    let header = header.upgrade().map_err(|error| {
        tracing::debug!("{}: {error}", path.display());
        PluginError::Layout { path: path.to_owned(), host: ABI_VERSION }
    })?;

    // One side may have more fields than the other, in either direction: an old plugin in a new host and the reverse.
    let layout = || PluginError::Layout { path: path.to_owned(), host: ABI_VERSION };
    let (ours, theirs) = (<PluginRef as StableAbi>::LAYOUT, header.layout().ok_or_else(layout)?);
    if let Err(forward) = check_layout_compatibility(ours, theirs) {
        check_layout_compatibility(theirs, ours).map_err(|backward| {
            tracing::debug!("{}: {forward}\n{backward}", path.display());
            layout()
        })?;
    }
    // SAFETY: one layout contains the other, checked above; fields beyond the common prefix read as absent.
    unsafe { header.init_root_module_with_unchecked_layout::<PluginRef>() }.map_err(|error| {
        tracing::debug!("{}: {error}", path.display());
        refuse("its root could not be made".into())
    })
}

#[cfg(unix)]
fn entry(image: &Image) -> Result<AbiHeaderRef, libloading::Error> {
    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
    // SAFETY: the caller checked digest, format, entry symbol and note; constructors of the library run here, which is why a
    // plugin needs the operator's trust.
    let library = unsafe { Library::open(Some(image.path()), RTLD_NOW | RTLD_LOCAL) }?;
    // SAFETY: `export_adapter!` makes this symbol an `AbiHeader`, and only files with its note come here; the header's own
    // magic is checked by `upgrade`.
    let header = unsafe { *library.get::<AbiHeaderRef>(ENTRY_SYMBOL.as_bytes())? };
    // Its code may run until the process ends.
    std::mem::forget(library);
    Ok(header)
}

#[cfg(not(unix))]
fn entry(image: &Image) -> Result<AbiHeaderRef, libloading::Error> {
    // SAFETY: as above.
    let library = unsafe { libloading::Library::new(image.path()) }?;
    // SAFETY: as above.
    let header = unsafe { *library.get::<AbiHeaderRef>(ENTRY_SYMBOL.as_bytes())? };
    std::mem::forget(library);
    Ok(header)
}
