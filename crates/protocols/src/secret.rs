//! A secret as a field of a score: sealed to the keys of the nodes that shall have it, readable by nobody else.
//!
//! What is signed and kept in the ledger is a real age file (<https://age-encryption.org/v1>) whose recipients are the
//! nodes' own ed25519 keys, as `ssh-ed25519` recipients: `age --decrypt --identity KEY` opens it, where `KEY` is a node's
//! key as an OpenSSH file. Nothing in it depends on the secret but its ciphertext and its length; in particular there is no
//! hash of it, which could be tried against a dictionary. Whether a secret changed is seen by opening both.
//!
//! A sealed secret is bound to its [`Place`] by a stanza of its own, which the file's authentication covers: taken out of
//! one declaration and put into one of another kind or subject, it does not open.

mod age;
mod tags;

use std::collections::BTreeSet;
use std::fmt;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use tags::{Tag, Tags};

use crate::ids::{Digest, Kind, Name, NodeId, Subject};
use crate::key::SecretKey;

/// The longest secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;
/// The most keys that one secret is sealed to. Each takes 110 bytes, in a score 147; so that many fit into a payload.
pub const RECIPIENTS_MAX: usize = 2500;
/// The largest sealed secret, in bytes.
pub const SEALED_BYTES_MAX: usize = RECIPIENTS_MAX * age::STANZA_BYTES + SECRET_BYTES_MAX + 1024;

/// The bytes of a secret. They never print, and are wiped when dropped.
#[derive(Clone)]
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    /// Takes the bytes of a secret.
    pub const fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The bytes. Handle with care.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether two secrets are the same.
    pub fn is(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl From<Vec<u8>> for SecretValue {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// Where a secret belongs: the score's language, and what the score governs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The score's language.
    pub kind: &'a Kind,
    /// What it governs.
    pub subject: &'a Subject,
}

/// A secret that only its recipients can read. In JSON `{"name": "…", "age": "…"}`, the age file in base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct SealedText {
    name: Name,
    file: Vec<u8>,
}

/// Why a secret could not be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealTextError {
    /// There is nobody to seal it to.
    #[error("the secret `{0}` has no recipients")]
    NoRecipients(Name),
    /// There are too many.
    #[error("the secret `{name}` would be sealed to {count} keys, and may be to {RECIPIENTS_MAX}")]
    TooManyRecipients {
        /// The secret.
        name: Name,
        /// To how many.
        count: usize,
    },
    /// A recipient's id is not a point on the curve, or one that everybody could open with.
    #[error("{0} is not a key that a secret can be sealed to")]
    BadRecipient(NodeId),
    /// The secret is too long.
    #[error("the secret `{name}` has {bytes} bytes and may have {SECRET_BYTES_MAX}")]
    TooLong {
        /// The secret.
        name: Name,
        /// Its length.
        bytes: usize,
    },
    /// The cipher failed, which no input brings about.
    #[error("the secret `{0}` cannot be encrypted")]
    Cipher(Name),
}

/// Why a sealed secret could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenTextError {
    /// It is sealed to other keys.
    #[error("this key is not among the recipients of the secret `{0}`")]
    NotARecipient(Name),
    /// It was sealed for another kind of score, another subject or under another name.
    #[error("the secret `{0}` was not sealed for this place")]
    OtherPlace(Name),
    /// It was altered.
    #[error("the sealed secret `{0}` was altered")]
    Altered(Name),
}

/// Why something is not a sealed secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a sealed secret: {0}")]
pub struct BadSealedText(pub(crate) &'static str);

impl SealedText {
    /// Seals a secret under a name, for one place, to all of these keys.
    ///
    /// # Errors
    /// [`SealTextError`] for too many, too few or unusable recipients and for a secret that is too long.
    pub fn seal(
        name: Name,
        place: Place<'_>,
        value: &SecretValue,
        recipients: &BTreeSet<NodeId>,
    ) -> Result<Self, SealTextError> {
        if recipients.is_empty() {
            return Err(SealTextError::NoRecipients(name));
        }
        if recipients.len() > RECIPIENTS_MAX {
            return Err(SealTextError::TooManyRecipients { name, count: recipients.len() });
        }
        let bytes = value.expose().len();
        if bytes > SECRET_BYTES_MAX {
            return Err(SealTextError::TooLong { name, bytes });
        }
        match age::seal(&binding(&name, place), value.expose(), recipients) {
            Ok(file) => Ok(Self { name, file }),
            Err(age::SealFailure::BadRecipient(id)) => Err(SealTextError::BadRecipient(id)),
            Err(age::SealFailure::Cipher) => Err(SealTextError::Cipher(name)),
        }
    }

    /// Opens it with a recipient's key, at the place that it was sealed for.
    ///
    /// # Errors
    /// [`OpenTextError`].
    pub fn open(&self, place: Place<'_>, key: &SecretKey) -> Result<SecretValue, OpenTextError> {
        if !self.is_for(place) {
            return Err(OpenTextError::OtherPlace(self.name.clone()));
        }
        match age::open(&self.file, key) {
            Ok(bytes) => Ok(SecretValue(bytes)),
            Err(age::OpenFailure::NotARecipient) => Err(OpenTextError::NotARecipient(self.name.clone())),
            Err(age::OpenFailure::Altered) => Err(OpenTextError::Altered(self.name.clone())),
        }
    }

    /// What people call the secret.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Whether it says that it was sealed for this place. That it really was is known only once it is opened.
    pub fn is_for(&self, place: Place<'_>) -> bool {
        age::parse(&self.file).is_ok_and(|parts| parts.binding == binding(&self.name, place))
    }

    /// To which keys it is sealed, as far as the file tells.
    pub fn recipients(&self) -> Tags {
        age::parse(&self.file).map(|parts| parts.tags()).unwrap_or_default()
    }

    /// The age file.
    pub fn file(&self) -> &[u8] {
        &self.file
    }

    /// BLAKE3 of the age file: another one for every sealing, also of the same secret.
    pub fn digest(&self) -> Digest {
        Digest::from_bytes(*blake3::hash(&self.file).as_bytes())
    }
}

impl fmt::Debug for SealedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedText({}, {} bytes, {})", self.name, self.file.len(), self.digest().short())
    }
}

/// A sealed secret as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Name,
    age: String,
}

impl TryFrom<Written> for SealedText {
    type Error = BadSealedText;

    fn try_from(written: Written) -> Result<Self, BadSealedText> {
        if written.age.len() > SEALED_BYTES_MAX.div_ceil(3) * 4 {
            return Err(BadSealedText("it is longer than any can be"));
        }
        let file = BASE64.decode(written.age.as_bytes()).map_err(|_| BadSealedText("its base64 does not decode"))?;
        age::parse(&file)?;
        Ok(Self { name: written.name, file })
    }
}

impl From<SealedText> for Written {
    fn from(sealed: SealedText) -> Self {
        Self { age: BASE64.encode(&sealed.file), name: sealed.name }
    }
}

/// What ties a sealed secret to its name and place.
fn binding(name: &Name, place: Place<'_>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("flotilla 2026 place of a secret 1");
    for part in [name.as_str(), place.kind.as_str(), place.subject.as_str()] {
        hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests;
