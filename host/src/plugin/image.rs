//! A path that holds exactly the bytes that were checked, for as long as it takes to open them.

#[cfg(target_os = "linux")]
#[path = "image/sealed.rs"]
mod platform;
#[cfg(not(target_os = "linux"))]
#[path = "image/private_file.rs"]
mod platform;

pub(super) use platform::Image;
