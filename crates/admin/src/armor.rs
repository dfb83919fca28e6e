//! Short texts that people copy from one machine to another: a prefix, base32, and a checksum that finds every typo.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest such text, in characters.
pub const TEXT_CHARS_MAX: usize = 16 * 1024;

/// Why a text is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    /// Something else altogether.
    #[error("this is no {what}: one begins with `{prefix}`")]
    Other {
        /// What it should be.
        what: &'static str,
        /// How those begin.
        prefix: &'static str,
    },
    /// Cut short or mistyped.
    #[error("the {0} is damaged or incomplete: copy it again, whole")]
    Damaged(&'static str),
    /// Too long to be one.
    #[error("the {0} is longer than {TEXT_CHARS_MAX} characters")]
    TooLong(&'static str),
    /// Its checksum holds, and yet it is not understood.
    #[error("the {0} was made by another version of flt: make it again with this one, or update flt")]
    OtherVersion(&'static str),
    /// Whoever made it does not hold the key that it names.
    #[error("the {0} is not signed by the key that it names")]
    Unproven(&'static str),
}

/// Writes a value as a text.
pub(crate) fn wrap<T: Serialize>(prefix: &str, value: &T) -> Option<String> {
    let mut bytes = postcard::to_stdvec(value).ok()?;
    let sum = blake3::hash(&bytes);
    bytes.extend_from_slice(&sum.as_bytes()[..4]);
    Some(format!("{prefix}{}", data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()))
}

/// Reads a text back.
pub(crate) fn unwrap<T: DeserializeOwned>(prefix: &'static str, what: &'static str, text: &str) -> Result<T, BadText> {
    // Terminals and mail break long lines.
    let text: String = text.chars().filter(|c| !c.is_whitespace()).take(TEXT_CHARS_MAX + 1).collect();
    if text.len() > TEXT_CHARS_MAX {
        return Err(BadText::TooLong(what));
    }
    let body = match text.split_at_checked(prefix.len()) {
        Some((start, body)) if start.eq_ignore_ascii_case(prefix) => body,
        _ => return Err(BadText::Other { what, prefix }),
    };
    let damaged = || BadText::Damaged(what);
    let bytes = data_encoding::BASE32_NOPAD.decode(body.to_ascii_uppercase().as_bytes()).map_err(|_| damaged())?;
    let (payload, sum) = bytes.split_at_checked(bytes.len().saturating_sub(4)).ok_or_else(damaged)?;
    if blake3::hash(payload).as_bytes()[..4] != *sum {
        return Err(damaged());
    }
    match postcard::take_from_bytes::<T>(payload) {
        Ok((value, [])) => Ok(value),
        _ => Err(BadText::OtherVersion(what)),
    }
}
