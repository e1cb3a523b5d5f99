//! Passwords of secret keys: from the environment, or asked for at the terminal.

use kadapter_host::signing::Error;

/// The variable that holds a password where nobody can be asked.
const VARIABLE: &str = "KADAPTER_KEY_PASSWORD";

/// The password of a key file.
pub(super) fn of(file: &str) -> Result<String, Error> {
    given().map_or_else(|| ask(&format!("Password of {file}: ")), Ok)
}

/// A password for a new key, typed twice.
pub(super) fn new() -> Result<String, Error> {
    let password = match given() {
        Some(password) => password,
        None => {
            let password = ask("Password for the new key: ")?;
            if ask("Once more: ")? != password {
                return Err(Error::Differ);
            }
            password
        }
    };
    if password.is_empty() { Err(Error::Empty) } else { Ok(password) }
}

fn given() -> Option<String> {
    std::env::var(VARIABLE).ok()
}

fn ask(prompt: &str) -> Result<String, Error> {
    rpassword::prompt_password(prompt).map_err(|source| Error::NoTerminal { source })
}
