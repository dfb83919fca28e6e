//! The hints that belong to errors of other crates, whoever met them.

use std::error::Error as StdError;

use admin::author::AuthorError;
use admin::rotate::RotateError;
use admin::session::SubmitFailure;
use protocols::control::{Denied, SubmitError};
use protocols::enroll::EnrollError;
use protocols::key::KeyError;
use protocols::state::Refusal;
use protocols::store::StoreError;
use protocols::ticket::BadTicket;

use super::Advised;

/// Looks for an error of one type in the chain, also beneath advice.
pub(crate) fn find<E: StdError + 'static>(error: &anyhow::Error) -> Option<&E> {
    parts(error).find_map(|part| part.downcast_ref::<E>())
}

/// Every error of the chain, and what advice is wrapped around.
pub(super) fn parts(error: &anyhow::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let mut found = Vec::new();
    collect(error, &mut found);
    found.into_iter()
}

fn collect<'a>(error: &'a anyhow::Error, found: &mut Vec<&'a (dyn StdError + 'static)>) {
    for part in error.chain() {
        found.push(part);
        if let Some(advised) = part.downcast_ref::<Advised>() {
            // Its chain is the rest of this one, with the wrapped error itself in front.
            collect(&advised.inner, found);
            return;
        }
    }
}

/// The hints of the errors that are known to have one.
pub(super) fn known(error: &anyhow::Error) -> Vec<String> {
    parts(error).filter_map(of).collect()
}

fn of(error: &(dyn StdError + 'static)) -> Option<String> {
    let is = |refusal: &Refusal| Some(refusal.hint().to_owned());
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        return is(refusal);
    }
    if let Some(error) = error.downcast_ref::<AuthorError>() {
        return of_author(error);
    }
    if let Some(SubmitFailure::Author(error)) = error.downcast_ref::<SubmitFailure>() {
        return of_author(error);
    }
    if let Some(RotateError::Author(error)) = error.downcast_ref::<RotateError>() {
        return of_author(error);
    }
    if let Some(error) = error.downcast_ref::<SubmitError>() {
        return match error {
            SubmitError::Refused(refusal) => is(refusal),
            SubmitError::Denied(denied) => of_denied(denied),
            SubmitError::StaleHead { .. } => Some("run the command again: it then starts from the newest entry".into()),
            SubmitError::ClockOff { .. } => Some("set this machine's clock, then run the command again".into()),
            SubmitError::Incapable { .. } => Some("see what nodes offer: flt admin node list".into()),
            SubmitError::NoOrderer { .. } | SubmitError::NoMajority { .. } | SubmitError::Withheld { .. } => {
                error.hint().map(Into::into)
            }
            SubmitError::Unverified(_) | SubmitError::MissingBlob(_) | SubmitError::Storage(_) => None,
        };
    }
    if let Some(EnrollError::Refused(refusal)) = error.downcast_ref::<EnrollError>() {
        return is(refusal);
    }
    if let Some(denied) = error.downcast_ref::<Denied>() {
        return of_denied(denied);
    }
    if let Some(error) = error.downcast_ref::<KeyError>() {
        return of_key(error);
    }
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return of_store(error);
    }
    if error.downcast_ref::<BadTicket>().is_some() {
        return Some("an admin prints a new one: flt admin invite".into());
    }
    None
}

/// What wraps a refusal without a word of its own hides it from the chain.
fn of_author(error: &AuthorError) -> Option<String> {
    match error {
        AuthorError::Refused(refusal) => Some(refusal.hint().to_owned()),
        AuthorError::Agent(_) => Some("see what the ssh-agent holds: ssh-add -L".into()),
        AuthorError::Unwritable(_) => None,
    }
}

fn of_denied(denied: &Denied) -> Option<String> {
    match denied {
        Denied::NotAMember(_) => {
            Some("an admin lets a node in: flt admin invite; and a person: flt admin grant".into())
        }
        Denied::NotAllowed(_) => Some("an admin of the fleet can give this key rights: flt admin grant".into()),
        Denied::Bounds(_) | Denied::Unavailable(_) => None,
    }
}

fn of_key(error: &KeyError) -> Option<String> {
    match error {
        KeyError::Exposed { path, .. } => Some(format!("keep it to its owner: chmod 600 {}", shown(path))),
        KeyError::NeedsPassphrase => {
            Some("run it on a terminal, or put the passphrase into a file: --passphrase-file FILE".into())
        }
        KeyError::NotEd25519(_) | KeyError::Unrecognised => Some("make one: flt key new --out FILE".into()),
        KeyError::File { path, source } => match source.kind() {
            std::io::ErrorKind::NotFound => Some(format!("make one: flt key new --out {}", shown(path))),
            std::io::ErrorKind::AlreadyExists => {
                Some(format!("see whose it is: flt key show {}; a key is never overwritten", shown(path)))
            }
            _ => None,
        },
        KeyError::TooLarge(_)
        | KeyError::Public
        | KeyError::OpenSsh(_)
        | KeyError::WrongPassphrase
        | KeyError::EmptyPassphrase => None,
    }
}

fn of_store(error: &StoreError) -> Option<String> {
    match error {
        StoreError::InUse { .. } => Some("stop that process, or give this one a folder of its own: --data DIR".into()),
        StoreError::Damaged { dir, .. } => {
            let dir = shown(dir);
            Some(format!(
                "move {dir} aside and start again with its `key` and `ticket` put back: what is signed comes back from \
                 the fleet; a coordinator's folder is restored from a copy"
            ))
        }
        StoreError::Folder { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Some("run it as the folder's owner, or choose another folder: --data DIR".into())
        }
        StoreError::Folder { .. } | StoreError::Full { .. } | StoreError::Database { .. } => None,
    }
}

/// A path as it can be pasted into a shell.
fn shown(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+' | ':' | '@' | ',');
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
