//! What recovery keys are asked to approve, as texts that travel to machines without a network and back.

use std::fmt;
use std::str::FromStr;

use protocols::entry::body::{RECOVER_DOMAIN, SET_RECOVERY_DOMAIN};
use protocols::entry::{Approval, Recover, Recovery, SetRecovery};
use protocols::key::Signature;
use protocols::{Body, Digest, FleetId, FleetState, Name, NodeId, SecretKey};
use serde::{Deserialize, Serialize};

use crate::armor::{self, BadText};

/// How requests begin.
pub const REQUEST_PREFIX: &str = "fltrec1";
/// How approvals begin.
pub const APPROVAL_PREFIX: &str = "fltapp1";

/// What is to be approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryRequest {
    /// The fleet.
    pub fleet: FleetId,
    /// What it was called by whoever asks; nothing proves it.
    pub fleet_name: Name,
    /// The entry that set the recovery keys.
    pub set_by: u64,
    /// How many of them must agree, as far as whoever asks knows.
    pub threshold: u8,
    /// What is asked.
    pub what: Wanted,
}

/// What recovery keys can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// Make an admin.
    Recover {
        /// The key that gets every right.
        to: NodeId,
        /// What its holder is called.
        name: Name,
        /// Admins who lose theirs.
        revoke: Vec<Revoked>,
        /// The first entry of theirs that does not count any more.
        compromised_since: Option<u64>,
    },
    /// Put other recovery keys in the place of these, or none.
    Replace {
        /// The keys from then on.
        recovery: Option<Recovery>,
    },
}

/// An admin who loses every right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The key.
    pub key: NodeId,
    /// What its holder is called, if whoever asks knows.
    pub name: Option<Name>,
}

/// A recovery key's approval of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approved {
    /// BLAKE3 of the request's text.
    request: Digest,
    approval: Approval,
}

/// Why an approval is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadApproval {
    /// It is for something else.
    #[error("the approval of {0} is for another request")]
    OtherRequest(NodeId),
    /// Its signature does not hold.
    #[error("the approval is not signed by {0}")]
    Signature(NodeId),
}

impl RecoveryRequest {
    /// Asks the recovery keys of a fleet. Nothing if it has none.
    pub fn of(state: &FleetState, what: Wanted) -> Option<Self> {
        let set = state.recovery()?;
        Some(Self {
            fleet: state.fleet(),
            fleet_name: state.name().clone(),
            set_by: set.since,
            threshold: set.recovery.threshold,
            what,
        })
    }

    /// The domain and the message that a recovery key signs.
    pub fn signed(&self) -> (&'static [u8], Vec<u8>) {
        match &self.what {
            Wanted::Recover { to, .. } => (
                RECOVER_DOMAIN,
                self.recover(Vec::new()).map_or_else(Vec::new, |r| r.message(self.fleet, self.set_by, *to)),
            ),
            Wanted::Replace { recovery } => {
                let set = SetRecovery { recovery: recovery.clone(), approvals: Vec::new() };
                (SET_RECOVERY_DOMAIN, set.message(self.fleet, self.set_by))
            }
        }
    }

    /// Approves with a recovery key.
    pub fn approve(&self, key: &SecretKey) -> Approved {
        let (domain, message) = self.signed();
        self.approved(key.id(), key.sign(domain, &message))
    }

    /// The approval that a signature made elsewhere is.
    pub fn approved(&self, key: NodeId, signature: Signature) -> Approved {
        Approved { request: self.digest(), approval: Approval { key, signature } }
    }

    /// Takes an approval of this very request.
    ///
    /// # Errors
    /// [`BadApproval`].
    pub fn check(&self, approved: &Approved) -> Result<Approval, BadApproval> {
        let Approval { key, signature } = &approved.approval;
        if approved.request != self.digest() {
            return Err(BadApproval::OtherRequest(*key));
        }
        let (domain, message) = self.signed();
        if !key.verifies(domain, &message, signature) {
            return Err(BadApproval::Signature(*key));
        }
        Ok(approved.approval.clone())
    }

    /// What is entered into the ledger.
    pub fn body(&self, approvals: Vec<Approval>) -> Body {
        match (&self.what, self.recover(approvals.clone())) {
            (Wanted::Replace { recovery }, _) => {
                Body::SetRecovery(SetRecovery { recovery: recovery.clone(), approvals })
            }
            (Wanted::Recover { name, .. }, recover) => Body::Recover(recover.unwrap_or_else(|| Recover {
                name: name.clone(),
                revoke: Vec::new(),
                compromised_since: None,
                approvals,
            })),
        }
    }

    fn recover(&self, approvals: Vec<Approval>) -> Option<Recover> {
        let Wanted::Recover { name, revoke, compromised_since, .. } = &self.what else { return None };
        let revoke = revoke.iter().map(|r| r.key).collect();
        Some(Recover { name: name.clone(), revoke, compromised_since: *compromised_since, approvals })
    }

    fn digest(&self) -> Digest {
        Digest::from_bytes(*blake3::hash(self.to_string().as_bytes()).as_bytes())
    }

    /// What is asked, in plain words and with every key in full: what a person reads before they sign.
    pub fn words(&self) -> Vec<String> {
        let mut words = vec![format!("fleet      {} ({})", self.fleet_name, self.fleet)];
        match &self.what {
            Wanted::Recover { to, name, revoke, compromised_since } => {
                words.push(format!("new admin  {name} ({to})"));
                words.push("           gets every right, on every node, for ever".into());
                for Revoked { key, name } in revoke {
                    let name = name.as_ref().map_or("an admin", Name::as_str);
                    words.push(format!("revoked    {name} ({key})"));
                }
                if revoke.is_empty() {
                    words.push("revoked    nobody".into());
                }
                if let Some(since) = compromised_since {
                    words.push(format!("void       all that the revoked keys signed from entry {since} on"));
                }
            }
            Wanted::Replace { recovery: None } => {
                words.push("recovery   the fleet's recovery keys end; nothing can be recovered afterwards".into());
            }
            Wanted::Replace { recovery: Some(recovery) } => {
                words.push(format!(
                    "recovery   from then on {} of these {} keys must agree:",
                    recovery.threshold,
                    recovery.keys.len()
                ));
                words.extend(recovery.keys.iter().map(|k| format!("           {} ({})", k.name, k.key)));
            }
        }
        words.push(format!(
            "bound to   the recovery keys of entry {}, of which {} must agree",
            self.set_by, self.threshold
        ));
        words
    }
}

impl Approved {
    /// Whose it is.
    pub const fn by(&self) -> NodeId {
        self.approval.key
    }
}

impl fmt::Display for RecoveryRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&armor::wrap(REQUEST_PREFIX, self).ok_or(fmt::Error)?)
    }
}

impl FromStr for RecoveryRequest {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        armor::unwrap(REQUEST_PREFIX, "recovery request", text)
    }
}

impl fmt::Display for Approved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&armor::wrap(APPROVAL_PREFIX, self).ok_or(fmt::Error)?)
    }
}

impl FromStr for Approved {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        armor::unwrap(APPROVAL_PREFIX, "approval", text)
    }
}

#[cfg(test)]
mod tests {
    use protocols::entry::Founder;

    use super::*;

    fn request(what: Wanted) -> RecoveryRequest {
        let (fleet_name, fleet) = ("acme".parse().unwrap(), FleetId::from_bytes([9; 32]));
        RecoveryRequest { fleet, fleet_name, set_by: 4, threshold: 2, what }
    }

    fn recover() -> RecoveryRequest {
        let revoke = vec![Revoked { key: SecretKey::from_seed(&[2; 32]).id(), name: Some("anna".parse().unwrap()) }];
        let (to, name) = (SecretKey::from_seed(&[1; 32]).id(), "rescuer".parse().unwrap());
        request(Wanted::Recover { to, name, revoke, compromised_since: Some(7) })
    }

    #[test]
    fn approvals_are_for_one_request() {
        let safe = SecretKey::from_seed(&[5; 32]);
        let asked = recover();
        let text = asked.to_string();
        let read: RecoveryRequest = text.parse().unwrap();
        assert_eq!(read, asked);
        let approved: Approved = read.approve(&safe).to_string().parse().unwrap();
        let approval = asked.check(&approved).unwrap();
        let Body::Recover(body) = asked.body(vec![approval.clone()]) else { panic!("another body") };
        let Wanted::Recover { to, .. } = &asked.what else { panic!("another request") };
        let message = body.message(asked.fleet, 4, *to);
        assert!(approval.key.verifies(RECOVER_DOMAIN, &message, &approval.signature), "as the ledger checks it");
        let other = RecoveryRequest { set_by: 5, ..asked.clone() };
        assert_eq!(other.check(&approved), Err(BadApproval::OtherRequest(safe.id())));
        let forged = asked.approved(SecretKey::from_seed(&[6; 32]).id(), approval.signature);
        assert!(matches!(asked.check(&forged), Err(BadApproval::Signature(_))));
        assert!(matches!(text.parse::<Approved>(), Err(BadText::Other { .. })));
        assert!(text[..text.len() - 3].parse::<RecoveryRequest>().is_err());
    }

    #[test]
    fn what_is_signed_is_said() {
        insta::assert_snapshot!(recover().words().join("\n"), @r"
    fleet      acme (0909090909090909090909090909090909090909090909090909090909090909)
    new admin  rescuer (8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c)
               gets every right, on every node, for ever
    revoked    anna (8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394)
    void       all that the revoked keys signed from entry 7 on
    bound to   the recovery keys of entry 4, of which 2 must agree
    ");
        let keys = vec![Founder { key: SecretKey::from_seed(&[5; 32]).id(), name: "safe".parse().unwrap() }];
        let recovery = Some(Recovery { keys, threshold: 1 });
        insta::assert_snapshot!(request(Wanted::Replace { recovery }).words().join("\n"), @r"
    fleet      acme (0909090909090909090909090909090909090909090909090909090909090909)
    recovery   from then on 1 of these 1 keys must agree:
               safe (6e7a1cdd29b0b78fd13af4c5598feff4ef2a97166e3ca6f2e4fbfccd80505bf1)
    bound to   the recovery keys of entry 4, of which 2 must agree
    ");
        insta::assert_snapshot!(request(Wanted::Replace { recovery: None }).words()[1], @r"recovery   the fleet's recovery keys end; nothing can be recovered afterwards");
    }
}
