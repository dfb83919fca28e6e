//! Rotation of an admin's own key: the old key's last entry, after which it is nobody's.

use protocols::control::{Receipt, Submit, SubmitError};
use protocols::entry::Rotate;
use protocols::{Body, Millis, SecretKey};

use crate::author::{AuthorError, Intent};
use crate::session::{ANSWER_WITHIN, Session, SessionError};

/// How often the entry is signed anew because another one came first.
const RACES_MAX: usize = 10;

/// What is known after the entry was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// The coordinator says that it is entered. Only the new key can see whether it is.
    Sent,
    /// No answer: the old key may be nobody's already. Only the new key can tell.
    Unknown,
    /// The ledger has it.
    Entered,
}

/// Why the key was not rotated.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The rules say no.
    #[error(transparent)]
    Author(#[from] AuthorError),
    /// The coordinator says no.
    #[error("the coordinator does not take the entry")]
    Rejected(#[source] SubmitError),
    /// Others were faster every time.
    #[error("other entries came first {RACES_MAX} times in a row")]
    Crowded,
    /// The session failed before anything was sent.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// Enters the rotation of the session's key to `new`. Afterwards the session is good for nothing: its key may be gone.
///
/// # Errors
/// [`RotateError`]: the key was not rotated.
pub async fn rotate(
    session: &mut Session,
    new: &SecretKey,
    clock: impl Fn() -> Millis,
) -> Result<Rotation, RotateError> {
    let old = session.author().id();
    for _ in 0..RACES_MAX {
        let state = session.state()?.clone();
        if state.successor(old) == Some(new.id()) {
            return Ok(Rotation::Entered);
        }
        let intent = Intent::Enter(Body::Rotate(Rotate::new(state.fleet(), old, new)));
        let (entry, _) = session.author().sign(&state, &intent, clock())?;
        let call = session.client().rpc(Submit(entry.signed().clone()));
        match tokio::time::timeout(ANSWER_WITHIN, call).await {
            Ok(Ok(Ok(Receipt { head }))) if head.hash == entry.hash() => return Ok(Rotation::Sent),
            Ok(Ok(Ok(_) | Err(SubmitError::StaleHead { .. }))) => match session.sync().await {
                Ok(_) if session.state()?.head() != state.head() => {}
                // Stale, and nothing newer to be had: an earlier try may have cut us off.
                _ => return Ok(Rotation::Unknown),
            },
            Ok(Ok(Err(rejected))) => return Err(RotateError::Rejected(rejected)),
            Ok(Err(_)) | Err(_) => return Ok(Rotation::Unknown),
        }
    }
    Err(RotateError::Crowded)
}
