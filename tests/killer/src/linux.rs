//! The calls of the C library that are stood in for.
#![expect(unsafe_code, reason = "standing in for the C library is done in its own terms")]

use libc::{RTLD_NEXT, c_char, c_int, c_uint, c_void, mode_t, size_t, ssize_t};
use std::ffi::CStr;
use std::mem::transmute_copy;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The steps so far.
static STEPS: AtomicU64 = AtomicU64::new(0);

fn variable(name: &CStr) -> Option<&'static CStr> {
    // SAFETY: the name ends in NUL; what is returned stays until somebody changes the environment, which nobody here does.
    unsafe {
        let value = libc::getenv(name.as_ptr());
        (!value.is_null()).then(|| CStr::from_ptr(value))
    }
}

fn number(name: &CStr) -> u64 {
    variable(name).and_then(|text| text.to_str().ok()?.parse().ok()).unwrap_or(u64::MAX)
}

fn kill_at() -> u64 {
    static AT: OnceLock<u64> = OnceLock::new();
    *AT.get_or_init(|| number(c"KADAPTER_KILL_AT"))
}

fn full_at() -> u64 {
    static AT: OnceLock<u64> = OnceLock::new();
    *AT.get_or_init(|| number(c"KADAPTER_FULL_AT"))
}

/// Counts a step and tells whether it is the last.
fn is_last() -> bool {
    STEPS.fetch_add(1, Ordering::SeqCst) + 1 == kill_at()
}

fn die() -> ! {
    // SAFETY: both calls take no pointers.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    loop {
        std::hint::spin_loop();
    }
}

fn step() {
    if is_last() {
        die();
    }
}

/// The next function of this name: the C library's own.
///
/// # Safety
/// `F` must be the function pointer type of the symbol.
unsafe fn real<F>(name: &CStr) -> F {
    // SAFETY: the name ends in NUL; a function pointer has the size of the address, and the caller vouches for its type.
    unsafe {
        let address = libc::dlsym(RTLD_NEXT, name.as_ptr());
        assert!(!address.is_null(), "the C library has no such function");
        transmute_copy(&address)
    }
}

/// Defines stand-ins that count a step and then do what the C library does.
macro_rules! steps {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {$(
        #[doc = concat!("Stands in for `", stringify!($name), "`.")]
        ///
        /// # Safety
        /// As the C library says.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name($($argument: $type),*) -> $result {
            step();
            let name = const {
                match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                    Ok(name) => name,
                    Err(_) => panic!("a name ends in one NUL"),
                }
            };
            // SAFETY: the type is the symbol's; the arguments are the caller's.
            unsafe { real::<unsafe extern "C" fn($($type),*) -> $result>(name)($($argument),*) }
        }
    )*};
}

steps! {
    fsync(fd: c_int) -> c_int;
    fdatasync(fd: c_int) -> c_int;
    flock(fd: c_int, operation: c_int) -> c_int;
    ftruncate64(fd: c_int, length: i64) -> c_int;
    futimens(fd: c_int, times: *const libc::timespec) -> c_int;
    fchmod(fd: c_int, mode: mode_t) -> c_int;
    mkdir(path: *const c_char, mode: mode_t) -> c_int;
    rmdir(path: *const c_char) -> c_int;
    unlink(path: *const c_char) -> c_int;
    unlinkat(folder: c_int, path: *const c_char, flags: c_int) -> c_int;
    rename(from: *const c_char, to: *const c_char) -> c_int;
    link(from: *const c_char, to: *const c_char) -> c_int;
    linkat(from_folder: c_int, from: *const c_char, to_folder: c_int, to: *const c_char, flags: c_int) -> c_int;
    symlink(from: *const c_char, to: *const c_char) -> c_int;
    renameat(from_folder: c_int, from: *const c_char, to_folder: c_int, to: *const c_char) -> c_int;
    renameat2(from_folder: c_int, from: *const c_char, to_folder: c_int, to: *const c_char, flags: c_uint) -> c_int;
    copy_file_range(from: c_int, at: *mut i64, to: c_int, to_at: *mut i64, length: size_t, flags: c_uint) -> ssize_t;
    sendfile64(to: c_int, from: c_int, at: *mut i64, length: size_t) -> ssize_t;
}

/// Stands in for `open64`, which is variadic in C; a mode that was not given is not read by the kernel.
///
/// # Safety
/// As the C library says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    if flags & (libc::O_CREAT | libc::O_WRONLY | libc::O_RDWR) != 0 {
        step();
    }
    // SAFETY: the type is the symbol's; the arguments are the caller's.
    unsafe { real::<unsafe extern "C" fn(*const c_char, c_int, ...) -> c_int>(c"open64")(path, flags, mode) }
}

/// Stands in for `write`: the last one is half done; where the disk is full, one is cut short and no other is done.
///
/// # Safety
/// As the C library says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, length: size_t) -> ssize_t {
    // SAFETY: the type is the symbol's.
    let write = unsafe { real::<unsafe extern "C" fn(c_int, *const c_void, size_t) -> ssize_t>(c"write") };
    // What goes to the terminal changes no file.
    if fd > 2 {
        if is_last() {
            // SAFETY: the arguments are the caller's, less of its bytes.
            unsafe { write(fd, bytes, length / 2) };
            die();
        }
        let steps = STEPS.load(Ordering::SeqCst);
        if steps == full_at() && length > 1 {
            // SAFETY: as before.
            return unsafe { write(fd, bytes, length / 2) };
        }
        if steps > full_at() {
            // SAFETY: the place is the thread's own.
            unsafe { *libc::__errno_location() = libc::ENOSPC };
            return -1;
        }
    }
    // SAFETY: the arguments are the caller's.
    unsafe { write(fd, bytes, length) }
}

fn refuse_network() {
    static OFFLINE: OnceLock<bool> = OnceLock::new();
    if *OFFLINE.get_or_init(|| variable(c"KADAPTER_KILL_OFFLINE").is_some()) {
        die();
    }
}

/// Stands in for `socket`.
///
/// # Safety
/// As the C library says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    refuse_network();
    // SAFETY: the type is the symbol's; the arguments are the caller's.
    unsafe { real::<unsafe extern "C" fn(c_int, c_int, c_int) -> c_int>(c"socket")(domain, kind, protocol) }
}

/// Stands in for `getaddrinfo`.
///
/// # Safety
/// As the C library says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const libc::addrinfo,
    found: *mut *mut libc::addrinfo,
) -> c_int {
    type Real =
        unsafe extern "C" fn(*const c_char, *const c_char, *const libc::addrinfo, *mut *mut libc::addrinfo) -> c_int;
    refuse_network();
    // SAFETY: the type is the symbol's; the arguments are the caller's.
    unsafe { real::<Real>(c"getaddrinfo")(node, service, hints, found) }
}
