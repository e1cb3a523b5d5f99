//! Linux: filters of system calls (seccomp). A forbidden call ends the process with SIGSYS; everything else goes on as before.
//!
//! The calls that are forbidden are those by which the effect begins: writing to what is open already, such as the report, stays
//! allowed. `io_uring` carries out other calls past every filter, so each filter forbids it.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

/// Forbidden calls, each with the conditions on its arguments of which one must hold; without any it always is.
type Rules = Vec<(libc::c_long, Vec<SeccompRule>)>;

/// A filter of system calls.
pub(crate) struct Filter {
    forbidden: Result<Rules, String>,
    /// Whether `clone3` is said not to exist: its flags lie in memory, which no filter reads, and every C library then falls back to
    /// `clone`, whose flags can be looked at.
    hides_clone3: bool,
}

impl Filter {
    /// Forbids to open files for writing, and to make, move, remove or change them by name.
    pub(crate) fn files() -> Self {
        let named = [
            libc::SYS_mkdirat,
            libc::SYS_mknodat,
            libc::SYS_unlinkat,
            libc::SYS_renameat2,
            libc::SYS_linkat,
            libc::SYS_symlinkat,
            libc::SYS_truncate,
            libc::SYS_fchmodat,
            libc::SYS_fchownat,
            libc::SYS_utimensat,
            libc::SYS_setxattr,
            libc::SYS_lsetxattr,
            // Its flags lie in memory; no C library uses it to open files.
            libc::SYS_openat2,
        ];
        let mut rules = always(&named);
        rules.extend(always(older::FILES));
        let opening = || -> Result<Rules, String> {
            let mut rules = vec![(libc::SYS_openat, for_writing(2)?)];
            for &call in older::OPEN {
                rules.push((call, for_writing(1)?));
            }
            Ok(rules)
        };
        Self::new(opening().map(|opening| rules.into_iter().chain(opening).collect()))
    }

    /// Forbids `clone` with the flag of threads.
    pub(crate) fn threads() -> Self {
        let flag = libc::CLONE_THREAD as u64;
        let rules = masked(0, SeccompCmpArgLen::Qword, flag, flag).map(|rule| vec![(libc::SYS_clone, vec![rule])]);
        Self { hides_clone3: true, ..Self::new(rules) }
    }

    /// Forbids `clone` without the flag of threads, and to run programs.
    pub(crate) fn processes() -> Self {
        let mut rules = always(&[libc::SYS_execve, libc::SYS_execveat]);
        rules.extend(always(older::FORKS));
        let flag = libc::CLONE_THREAD as u64;
        let clone = masked(0, SeccompCmpArgLen::Qword, flag, 0).map(|rule| (libc::SYS_clone, vec![rule]));
        Self { hides_clone3: true, ..Self::new(clone.map(|clone| rules.into_iter().chain([clone]).collect())) }
    }

    /// Forbids sockets.
    pub(crate) fn network() -> Self {
        Self::new(Ok(always(&[
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_sendto,
            libc::SYS_sendmsg,
        ])))
    }

    fn new(forbidden: Result<Rules, String>) -> Self {
        let forbidden = forbidden.map(|rules| rules.into_iter().chain(always(&[libc::SYS_io_uring_setup])).collect());
        Self { forbidden, hides_clone3: false }
    }

    /// Puts this thread, and all that it starts, under the filter.
    pub(crate) fn install(self) -> Result<(), String> {
        if self.hides_clone3 {
            let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
            apply(always(&[libc::SYS_clone3]), missing)?;
        }
        apply(self.forbidden?, SeccompAction::KillProcess)
    }
}

/// Calls that only the older of our machines have, beside those that all have.
#[cfg(target_arch = "x86_64")]
mod older {
    pub(super) const FILES: &[libc::c_long] = &[
        libc::SYS_creat,
        libc::SYS_mkdir,
        libc::SYS_mknod,
        libc::SYS_unlink,
        libc::SYS_rmdir,
        libc::SYS_rename,
        libc::SYS_renameat,
        libc::SYS_link,
        libc::SYS_symlink,
        libc::SYS_chmod,
        libc::SYS_chown,
        libc::SYS_lchown,
        libc::SYS_utime,
        libc::SYS_utimes,
    ];
    pub(super) const OPEN: &[libc::c_long] = &[libc::SYS_open];
    pub(super) const FORKS: &[libc::c_long] = &[libc::SYS_fork, libc::SYS_vfork];
}

#[cfg(target_arch = "aarch64")]
mod older {
    pub(super) const FILES: &[libc::c_long] = &[libc::SYS_renameat];
    pub(super) const OPEN: &[libc::c_long] = &[];
    pub(super) const FORKS: &[libc::c_long] = &[];
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod older {
    pub(super) const FILES: &[libc::c_long] = &[];
    pub(super) const OPEN: &[libc::c_long] = &[];
    pub(super) const FORKS: &[libc::c_long] = &[];
}

fn always(calls: &[libc::c_long]) -> Rules {
    calls.iter().map(|&call| (call, Vec::new())).collect()
}

/// An argument holds the value at the bits of a mask.
fn masked(argument: u8, length: SeccompCmpArgLen, mask: u64, value: u64) -> Result<SeccompRule, String> {
    SeccompCondition::new(argument, length, SeccompCmpOp::MaskedEq(mask), value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(|error| error.to_string())
}

/// The flags of an opening call ask for writing, or make or empty the file.
fn for_writing(argument: u8) -> Result<Vec<SeccompRule>, String> {
    let bits = |flags: i32| u64::from(flags.unsigned_abs());
    let access = bits(libc::O_ACCMODE);
    let asks = [
        (access, bits(libc::O_WRONLY)),
        (access, bits(libc::O_RDWR)),
        (bits(libc::O_CREAT), bits(libc::O_CREAT)),
        (bits(libc::O_TRUNC), bits(libc::O_TRUNC)),
    ];
    asks.into_iter().map(|(mask, value)| masked(argument, SeccompCmpArgLen::Dword, mask, value)).collect()
}

fn apply(rules: Rules, action: SeccompAction) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("this system does not take a filter of system calls: {error}");
    let machine: TargetArch = std::env::consts::ARCH.try_into().map_err(|error| failed(&error))?;
    let rules: BTreeMap<i64, Vec<SeccompRule>> = rules.into_iter().collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, machine).map_err(|error| failed(&error))?;
    let program: BpfProgram = filter.try_into().map_err(|error| failed(&error))?;
    seccompiler::apply_filter(&program).map_err(|error| failed(&error))
}
