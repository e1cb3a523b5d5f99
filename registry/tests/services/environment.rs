//! What the script that starts the servers says about them.

/// A variable of the script. Servers that are not there are no reason to pass.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("`{name}` is not set: run `cargo xtask test --services`"))
}
