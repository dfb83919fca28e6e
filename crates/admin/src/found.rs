//! Founding a fleet: the genesis entry.

use protocols::entry::{Founder, Genesis, Recovery, VerifyError};
use protocols::export::{self, ExportError};
use protocols::{Body, Digest, Entry, FleetId, FleetState, Millis, Name, Refusal, SecretKey, SignedEntry};

/// A fleet that was founded.
#[derive(Debug, Clone)]
pub struct Founded {
    /// The fleet's id.
    pub fleet: FleetId,
    /// The genesis entry.
    pub genesis: SignedEntry,
    /// The state after it.
    pub state: FleetState,
}

/// Why no fleet was founded.
#[derive(Debug, thiserror::Error)]
pub enum FoundError {
    /// The names or keys cannot be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The entry cannot be written.
    #[error("cannot write the genesis entry")]
    Unwritable(#[from] VerifyError),
}

/// Founds a fleet whose admin holds `key`. `nonce` is randomness.
///
/// # Errors
/// [`FoundError::Refused`] if the founders' keys or names are not distinct, or there is no coordinator.
pub fn found(
    name: Name,
    admin: Name,
    key: &SecretKey,
    coordinators: Vec<Founder>,
    nonce: Digest,
    now: Millis,
) -> Result<Founded, FoundError> {
    found_recoverable(name, admin, key, coordinators, None, nonce, now)
}

/// The same, with keys that can make an admin when all else is lost.
///
/// # Errors
/// As [`found`], also if a recovery key is of no use or somebody else's.
pub fn found_recoverable(
    name: Name,
    admin: Name,
    key: &SecretKey,
    coordinators: Vec<Founder>,
    recovery: Option<Recovery>,
    nonce: Digest,
    now: Millis,
) -> Result<Founded, FoundError> {
    let admins = vec![Founder { key: key.id(), name: admin }];
    let body = Body::Genesis(Genesis { name, nonce, admins, coordinators, recovery });
    let entry = Entry { fleet: None, seq: 0, prev: None, at: now, not_after: None, author: key.id(), body };
    let genesis = entry.sign(key)?;
    let state = FleetState::found(&genesis.clone().verify()?)?;
    Ok(Founded { fleet: state.fleet(), genesis, state })
}

/// A genesis entry as a file that a coordinator reads: an exported ledger of one line.
pub fn genesis_to_text(genesis: &SignedEntry) -> String {
    let mut text = Vec::new();
    // Writing into memory does not fail; text that is cut would be refused when it is read.
    drop(export::write_line(&mut text, genesis));
    String::from_utf8(text).unwrap_or_default()
}

/// Why a text is not a genesis entry.
#[derive(Debug, thiserror::Error)]
pub enum BadGenesis {
    /// Not what [`genesis_to_text`] writes.
    #[error("it is no genesis file")]
    Malformed(#[source] ExportError),
    /// The entry's signature does not hold.
    #[error("the genesis entry does not verify")]
    Unverified(#[from] VerifyError),
    /// The entry is not sound.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Reads what [`genesis_to_text`] wrote, and checks it.
///
/// # Errors
/// [`BadGenesis`].
pub fn genesis_from_text(text: &str) -> Result<Founded, BadGenesis> {
    let first = export::read(text.as_bytes()).next().unwrap_or(Err(ExportError::Empty));
    let genesis = first.map_err(BadGenesis::Malformed)?;
    let state = FleetState::found(&genesis.clone().verify()?)?;
    Ok(Founded { fleet: state.fleet(), genesis, state })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn founder(key: &SecretKey, name: &str) -> Founder {
        Founder { key: key.id(), name: name.parse().unwrap() }
    }

    #[test]
    fn the_fleet_id_is_the_hash_of_the_genesis_entry() {
        let (key, coordinator) = (SecretKey::generate(), SecretKey::generate());
        let found = |nonce| {
            let coordinators = vec![founder(&coordinator, "coordinator-1")];
            found("acme".parse().unwrap(), "anna".parse().unwrap(), &key, coordinators, nonce, Millis(7)).unwrap()
        };
        let one = found(Digest::from_bytes([1; 32]));
        assert_eq!(one.fleet.as_bytes(), one.genesis.hash().as_bytes());
        assert!(one.state.is_coordinator(coordinator.id()));
        assert!(one.state.admins().contains_key(&key.id()));
        assert_ne!(one.fleet, found(Digest::from_bytes([2; 32])).fleet);
        let text = genesis_to_text(&one.genesis);
        assert_eq!(genesis_from_text(&text).unwrap().fleet, one.fleet);
        for bad in ["", "{}", &text.replace("\"entry\":\"e", "\"entry\":\"f"), &text[..text.len() / 2]] {
            assert!(genesis_from_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_of_two_roles_is_refused() {
        let key = SecretKey::generate();
        let coordinators = vec![founder(&key, "coordinator-1")];
        let nonce = Digest::from_bytes([1; 32]);
        let error =
            found("acme".parse().unwrap(), "anna".parse().unwrap(), &key, coordinators, nonce, Millis(7)).unwrap_err();
        let text = "the genesis entry names one key twice; admin, coordinator and recovery need keys of their own";
        assert_eq!(error.to_string(), text);
    }
}
