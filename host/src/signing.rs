//! Secret keys in minisign's format: made, read, and used to sign releases.
//!
//! They lie in the user's folder, `keys/NAME.key` beside `keys/NAME.pub`, or wherever `minisign -G` has put them.

mod error;
mod ring;

use ct_codecs::{Base64, Decoder, Encoder};
use kadapter_registry::trust::{PublicKey, Signature, TrustError};
use kadapter_registry::{KeyId, Signer};
use std::fmt;

pub use error::Error;
pub use ring::{Entry, Part, Ring, read};

/// The first line of a signature, which is not signed and therefore always this.
const FIRST_LINE: &str = "signature from minisign secret key";
/// Algorithms, salt, limits, id, key and checksum, in bytes.
const LENGTH: usize = 158;
/// The algorithms at the start of a secret key whose key is not encrypted.
const PLAIN: &[u8; 4] = b"Ed\0\0";
/// The algorithms at the start of a secret key whose key is encrypted.
const ENCRYPTED: &[u8; 4] = b"EdSc";
/// Where the checksum is.
const CHECKSUM: std::ops::Range<usize> = 126..158;

/// A secret key that is ready to sign.
pub struct SecretKey {
    secret: minisign::SecretKey,
    public: PublicKey,
}

/// The text of a secret key's file and its public key.
#[derive(Clone)]
pub struct NewKey {
    /// What belongs in the `.key` file.
    pub secret: String,
    /// The public key.
    pub public: PublicKey,
}

impl NewKey {
    /// Makes a key pair. The secret key's file is encrypted with a password, or open to whoever can read it.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate(password: Option<String>) -> Result<Self, Error> {
        let generate = |problem: minisign::PError| Error::Generate { problem: problem.to_string() };
        let (pair, comment) = match password {
            Some(password) => {
                let pair = minisign::KeyPair::generate_encrypted_keypair(Some(password));
                (pair.map_err(generate)?, "minisign encrypted secret key")
            }
            None => {
                let pair = minisign::KeyPair::generate_unencrypted_keypair();
                (pair.map_err(generate)?, "minisign secret key, not encrypted")
            }
        };
        let secret = pair.sk.to_box(Some(comment)).map_err(generate)?.into_string();
        let text = Base64::encode_to_string(pair.pk.to_bytes()).unwrap_or_default();
        let public = text.parse().map_err(|_| Error::Generate { problem: "the key cannot be written".to_owned() })?;
        Ok(Self { secret, public })
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NewKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl SecretKey {
    /// Makes a key that is nowhere kept.
    ///
    /// # Errors
    /// As [`NewKey::generate`].
    pub fn generate() -> Result<Self, Error> {
        let NewKey { secret, .. } = NewKey::generate(None)?;
        Self::from_file("a new key", &secret, || Err(Error::Generate { problem: "it is encrypted".to_owned() }))
    }

    /// Reads the text of a secret key's file. `file` names it in errors; the password is asked for only when there is one.
    ///
    /// # Errors
    /// It is no secret key of minisign's, it is damaged, or the password is another.
    pub fn from_file(file: &str, text: &str, password: impl FnOnce() -> Result<String, Error>) -> Result<Self, Error> {
        let refuse = |problem| Error::Malformed { file: file.to_owned(), problem };
        let mut lines = text.lines();
        let (Some(comment), Some(line)) = (lines.next(), lines.next()) else {
            return Err(refuse("it must have two lines, a comment and the key"));
        };
        if !comment.starts_with("untrusted comment:") {
            return Err(refuse("its first line must begin with `untrusted comment:`"));
        }
        let bytes = Base64::decode_to_vec(line.trim(), None).map_err(|_| refuse("its second line is not base64"))?;
        if bytes.len() != LENGTH {
            return Err(refuse("its second line is no secret key"));
        }
        let boxed =
            || minisign::SecretKeyBox::from_string(text).map_err(|_| refuse("its second line is no secret key"));
        let secret = if bytes.starts_with(ENCRYPTED) {
            // minisign leaves the checksum to tell a wrong password.
            boxed()?.into_secret_key(Some(password()?)).map_err(|_| Error::Password { file: file.to_owned() })?
        } else if !bytes.starts_with(PLAIN) {
            return Err(refuse("it is of an unknown algorithm"));
        } else if bytes.get(CHECKSUM).is_some_and(|sum| sum.iter().all(|byte| *byte == 0)) {
            // `minisign -G -W` writes no checksum. What is wrong with such a key, its first signature shows.
            minisign::SecretKey::from_bytes(&bytes).map_err(|_| refuse("its second line is no secret key"))?
        } else {
            boxed()?.into_unencrypted_secret_key().map_err(|_| refuse("its checksum does not fit"))?
        };
        let public = minisign::PublicKey::from_secret_key(&secret).map_err(|_| refuse("it has no public key"))?;
        let public = Base64::encode_to_string(public.to_bytes()).unwrap_or_default();
        let public = public.parse().map_err(|_| refuse("it has no public key"))?;
        Ok(Self { secret, public })
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

impl Signer for SecretKey {
    fn key(&self) -> &KeyId {
        self.public.id()
    }

    fn sign(&self, bytes: &[u8]) -> Result<String, kadapter_registry::Error> {
        let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.sign_with_comment(bytes, &format!("timestamp:{seconds}\thashed"))
    }

    fn sign_with_comment(&self, bytes: &[u8], comment: &str) -> Result<String, kadapter_registry::Error> {
        let refuse = |problem| TrustError::CannotSign { key: self.key().clone(), problem };
        let signature = minisign::sign(None, &self.secret, bytes, Some(comment), Some(FIRST_LINE))
            .map_err(|error| refuse(error.to_string()))?
            .into_string();
        // A damaged secret key signs, too; nobody should be handed what does not verify.
        let decoded = Signature::decode(signature.as_bytes()).map_err(|problem| refuse(problem.to_owned()))?;
        if !self.public.has_signed(bytes, &decoded) {
            return Err(refuse("what it signs does not verify, so the file is damaged".to_owned()).into());
        }
        Ok(signature)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SecretKey").field("public", &self.public).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_password() -> Result<String, Error> {
        panic!("nobody may ask for a password")
    }

    /// Made by `minisign -G -W`, which leaves the checksum out.
    const BY_MINISIGN: &str = "untrusted comment: minisign encrypted secret key\n\
        RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAMoFk+mVoogqnOjA4kmoTWnPGHY8yKoSrLo0dwNB/qAJkk38TI3ZD2zBYDBaeK/mxb5uE2RC8BxvumIhc1x1E/HFhBnYQtBR+AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";

    #[test]
    fn keys_are_read_back_with_their_password_only() {
        let new = NewKey::generate(Some("secret".to_owned())).unwrap();
        let key = SecretKey::from_file("x", &new.secret, || Ok("secret".to_owned())).unwrap();
        assert_eq!(*key.public(), new.public);
        let wrong = SecretKey::from_file("x", &new.secret, || Ok("Secret".to_owned()));
        assert!(matches!(wrong, Err(Error::Password { .. })));
        let plain = NewKey::generate(None).unwrap();
        assert_eq!(*SecretKey::from_file("x", &plain.secret, no_password).unwrap().public(), plain.public);
        assert!(!format!("{key:?}{new:?}").contains(&new.secret[60..100]));
    }

    #[test]
    fn keys_of_the_command_are_read_and_damage_is_found() {
        let key = SecretKey::from_file("x", BY_MINISIGN, no_password).unwrap();
        assert_eq!(key.public().to_string(), "RWQygWT6ZWiiCjBYDBaeK/mxb5uE2RC8BxvumIhc1x1E/HFhBnYQtBR+");
        let signature = key.sign(b"text").unwrap();
        assert!(key.public().has_signed(b"text", &Signature::decode(signature.as_bytes()).unwrap()));
        let damaged = SecretKey::from_file("x", &BY_MINISIGN.replace("ogqn", "ogqm"), no_password).unwrap();
        assert!(damaged.sign(b"text").is_err());
        for text in
            ["", "x", "untrusted comment: x\n", "untrusted comment: x\nRWQ=\n", &BY_MINISIGN.replace("RWQA", "RWRA")]
        {
            assert!(SecretKey::from_file("x", text, no_password).is_err(), "{text}");
        }
    }
}
