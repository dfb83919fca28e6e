//! What a stolen key did is void: from a place in the ledger on, whatever it signed no longer counts.

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::{Entry, Role};
use crate::ids::NodeId;
use crate::state::{Act, FleetState, Isolation, Refusal};

impl FleetState {
    /// Undoes what `keys` signed from `since` on, as far as it still shows: declarations end, rights given on end and
    /// with them what came of those, invites end, nodes let in are members no more, nodes changed are set apart.
    ///
    /// What cannot be undone without the entries from before stays: a node that was removed, a declaration that was
    /// withdrawn or replaced. Whoever revokes declares those anew.
    ///
    /// # Errors
    /// If nobody could grant any more, or no coordinator is left.
    pub(super) fn void(&mut self, entry: &Entry, keys: &[NodeId], since: u64) -> Result<(), Refusal> {
        // From which entry on each key's word is void.
        let mut void: BTreeMap<NodeId, u64> = keys.iter().map(|key| (*key, since)).collect();
        loop {
            let fallen = self.void_rights(&void);
            if fallen.is_empty() {
                break;
            }
            for (key, from) in fallen {
                self.admins.remove(&key);
                self.revoked.insert(key, entry.seq);
                void.insert(key, from);
            }
        }
        // An old key's word is that of the key it was rotated to.
        for (old, new) in &self.rotated {
            let mut last = *new;
            while let Some(next) = self.rotated.get(&last) {
                last = *next;
            }
            if let Some(from) = void.get(&last).copied() {
                void.insert(*old, from);
            }
        }
        let is_void = |by: NodeId, seq: u64| void.get(&by).is_some_and(|from| seq >= *from);
        self.declarations.retain(|_, d| !is_void(d.author, d.generation));
        let invites: BTreeSet<NodeId> =
            self.invites.iter().filter(|(_, i)| is_void(i.by, i.since)).map(|(key, _)| *key).collect();
        let members: BTreeSet<NodeId> =
            self.members.iter().filter(|(_, m)| is_void(m.voucher.by, m.voucher.seq)).map(|(key, _)| *key).collect();
        self.invites.retain(|key, _| !invites.contains(key));
        self.members.retain(|key, _| !members.contains(key));
        self.revoked.extend(invites.into_iter().chain(members).map(|key| (key, entry.seq)));
        let act = Act { seq: entry.seq, by: entry.author };
        for member in self.members.values_mut().filter(|m| m.role == Role::Agent) {
            if let Some(changed) = member.changed.filter(|c| is_void(c.by, c.seq)) {
                let reason = format!("changed by a compromised key in entry {}", changed.seq);
                member.quarantine = Some(Isolation { act, reason });
            }
        }
        if self.recovery.as_ref().is_some_and(|set| is_void(set.by, set.since) && set.since > 0) {
            self.recovery = None;
        }
        if !self.admins.values().any(crate::state::Admin::is_root) {
            return Err(Refusal::LastAdmin);
        }
        if !self.is_coordinator(self.orderer) {
            return Err(Refusal::invalid(
                "compromised_since",
                "would take the coordinator that orders the ledger: appoint another one first",
            ));
        }
        Ok(())
    }

    /// Ends the rights that came through void words. The admins who have none left, and when they got their first.
    fn void_rights(&mut self, void: &BTreeMap<NodeId, u64>) -> Vec<(NodeId, u64)> {
        let mut fallen = Vec::new();
        for (key, admin) in &mut self.admins {
            let before = admin.capabilities.len();
            admin.capabilities.retain(|capability| {
                let mut hands = capability.through.iter().zip(&capability.scopes);
                !hands.any(|(giver, scope)| void.get(giver).is_some_and(|from| scope.since >= *from))
            });
            if admin.capabilities.is_empty() && before > 0 {
                fallen.push((*key, admin.since));
            }
        }
        fallen
    }
}
