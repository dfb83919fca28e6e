//! What a score is: data that can be checked, and nothing else.

use std::fmt::Debug;

use protocols::{BlobRef, Kind, SealedText, Subject};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A declaration of what something on a node shall be.
///
/// It knows no topology and does no I/O, so it is serialised, hashed, signed and compared as itself.
pub trait Score: Serialize + DeserializeOwned + Clone + Debug + PartialEq + Send + Sync + 'static {
    /// Name and schema version of its language, under the signature: `files/1`.
    const KIND: Kind;

    /// What it governs on a node. Two declarations with one subject cannot both hold.
    fn subject(&self) -> Subject;

    /// Checks what the types cannot say. Asked by admin, coordinator and agent alike.
    ///
    /// # Errors
    /// Names the field and what is wrong with it.
    fn check(&self) -> Result<(), Invalid>;

    /// The blobs that a node needs in order to play it.
    fn artifacts(&self) -> Vec<BlobRef> {
        Vec::new()
    }

    /// The secrets that it holds, sealed.
    fn secrets(&self) -> Vec<&SealedText> {
        Vec::new()
    }
}

/// The longest payload of a score, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

/// Why a payload is not a valid score: where, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", if path.is_empty() { String::new() } else { format!("`{path}`: ") })]
pub struct Invalid {
    /// The field, as `entries."app.conf".mode`; empty when the whole is meant.
    pub path: String,
    /// What is wrong with it.
    pub why: String,
}

impl Invalid {
    /// Says what is wrong with the field at `path`.
    pub fn at(path: impl Into<String>, why: impl Into<String>) -> Self {
        Self { path: path.into(), why: why.into() }
    }

    /// The same, of a part that is the field `outer` of the whole.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        let path = if self.path.is_empty() { outer.to_owned() } else { format!("{outer}.{}", self.path) };
        Self { path, ..self }
    }
}

/// Reads a score from its payload and checks it.
///
/// # Errors
/// When the payload is too long, not JSON, not of this shape, or fails [`Score::check`].
pub fn parse<S: Score>(payload: &str) -> Result<S, Invalid> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        let why = format!("the payload has {} bytes and may have at most {PAYLOAD_BYTES_MAX}", payload.len());
        return Err(Invalid::at("", why));
    }
    let mut json = serde_json::Deserializer::from_str(payload);
    let score: S = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        Invalid::at(if path == "." { String::new() } else { path }, error.into_inner().to_string())
    })?;
    json.end().map_err(|error| Invalid::at("", error.to_string()))?;
    score.check()?;
    Ok(score)
}

/// Writes a score as the payload that is signed.
///
/// # Errors
/// When the score fails [`Score::check`] or is too long.
pub fn payload<S: Score>(score: &S) -> Result<String, Invalid> {
    score.check()?;
    let text = serde_json::to_string(score).map_err(|error| Invalid::at("", error.to_string()))?;
    if text.len() > PAYLOAD_BYTES_MAX {
        let why = format!("the payload has {} bytes and may have at most {PAYLOAD_BYTES_MAX}", text.len());
        return Err(Invalid::at("", why));
    }
    Ok(text)
}
