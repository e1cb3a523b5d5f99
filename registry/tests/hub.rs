//! The Hugging Face Hub from outside: a fake one on loopback, kind and hostile.

mod packages;
mod stores;

#[path = "hub/doctor.rs"]
mod doctor;
#[path = "hub/hostile.rs"]
mod hostile;
#[path = "hub/models.rs"]
mod models;
#[path = "hub/releases.rs"]
mod releases;

use std::fmt::Write as _;

use kadapter_fakehub::{FakeHub, Part};
use kadapter_registry::Error;
use kadapter_registry::hub::{Hub, Settings, Token};

/// The token of all tests.
const TOKEN: &str = "hf_secret";

/// A client of a fake.
fn client(fake: &FakeHub) -> Hub {
    Hub::new(Settings::new(&fake.endpoint(), Token::new(TOKEN), false).unwrap())
}

/// A client without a token.
fn stranger(fake: &FakeHub) -> Hub {
    Hub::new(Settings::new(&fake.endpoint(), None, false).unwrap())
}

/// A client that must not use the network.
fn offline(fake: &FakeHub) -> Hub {
    Hub::new(Settings::new(&fake.endpoint(), Token::new(TOKEN), true).unwrap())
}

/// An error as a person sees it: the chain of causes, then the hint.
fn told(fake: &FakeHub, error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        write!(text, "\n  because: {error}").unwrap();
        cause = error.source();
    }
    if let Some(hint) = error.hint() {
        write!(text, "\nhint: {hint}").unwrap();
    }
    text.replace(&fake.endpoint(), "$HUB")
}

/// Checks that the token went to the Hub and nowhere else.
fn assert_token_stayed(fake: &FakeHub) {
    for seen in fake.seen() {
        match seen.part {
            Part::Hub => assert_eq!(seen.authorization, Some(format!("Bearer {TOKEN}")), "{seen:?}"),
            Part::Storage => assert_eq!(seen.authorization, None, "{seen:?}"),
        }
    }
}
