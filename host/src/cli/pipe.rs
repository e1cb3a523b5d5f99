//! A reader that went away: `kadapter tree | head`.

/// How a shell tells of a program that SIGPIPE ended.
const ENDED_BY_SIGPIPE: i32 = 128 + 13;

/// Ends the command without a word when nobody reads what it prints, as other commands end; every other panic is reported as before.
///
/// The standard library ignores SIGPIPE and lets `println!` panic, and to change that would take unsafe code.
pub(crate) fn end_when_nobody_reads() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let said = info.payload_as_str().unwrap_or_default();
        if said.starts_with("failed printing to stdout") && said.contains("Broken pipe") {
            std::process::exit(ENDED_BY_SIGPIPE);
        }
        report(info);
    }));
}
