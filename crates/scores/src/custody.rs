//! Who alone may change something that several agents manage: asked for before the first command, kept while the change
//! goes on, given back afterwards.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{BoxFuture, DeviceError};

/// Sees to it that one agent at a time changes a thing.
pub trait Custodian: Send + Sync + 'static {
    /// Takes custody of a thing, by the name that all agents know it by. Waits for another agent for a while. With
    /// `exclusive`, nobody being there to ask is no reason not to have it: it is said that no other agent changes it.
    fn take<'a>(&'a self, thing: &'a str, exclusive: bool) -> BoxFuture<'a, Result<Box<dyn Custody>, DeviceError>>;
}

/// Custody of a thing, until it is dropped.
pub trait Custody: fmt::Debug + Send + Sync + 'static {
    /// By which grant; nothing if nobody was asked.
    fn grant(&self) -> Option<Grant>;

    /// Whether it is certain now that no other agent has it.
    ///
    /// # Errors
    /// Why not.
    fn ensure(&self) -> Result<(), DeviceError>;

    /// Waits until it is not certain any more.
    fn lost(&self) -> BoxFuture<'_, DeviceError>;
}

/// A grant of custody: the fencing token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its number. Each grant has a higher one than those before it.
    pub epoch: u64,
    /// Nobody else has had custody since this grant.
    pub since: u64,
}

impl Grant {
    /// Whether another agent may have changed the thing after a change that was begun by an earlier grant.
    pub const fn overtakes(self, earlier: u64) -> bool {
        // A lower number is another counting: nothing is known of what was before.
        self.since > earlier || self.epoch < earlier
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_counts_as_overtaken() {
        assert!(!Grant { epoch: 9, since: 4 }.overtakes(4));
        assert!(!Grant { epoch: 4, since: 4 }.overtakes(4));
        assert!(Grant { epoch: 9, since: 9 }.overtakes(4));
        assert!(Grant { epoch: 3, since: 1 }.overtakes(4), "the counting began anew");
    }
}
