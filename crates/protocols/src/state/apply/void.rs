//! What a stolen key did is void: from a place in the ledger on, whatever it signed no longer counts.

use std::collections::BTreeMap;

use crate::entry::{Entry, Role, Verb};
use crate::ids::{DeclarationName, NodeId};
use crate::state::{Act, Capability, FleetState, Isolation, Member, Refusal};

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
        // From which entry on each key's word is void; and who had a right that is void, beside others that are not.
        let mut void: BTreeMap<NodeId, u64> = keys.iter().map(|key| (*key, since)).collect();
        let mut doubtful: BTreeMap<NodeId, u64> = BTreeMap::new();
        loop {
            let fallen = self.void_rights(&void, &mut doubtful);
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
        for old in self.rotated.keys() {
            let last = self.successor(*old).unwrap_or(*old);
            if let Some(from) = void.get(&last).copied() {
                void.insert(*old, from);
            }
        }
        let is_void = |act: Act| void.get(&act.by).is_some_and(|from| act.seq >= *from);
        // What somebody did who had a void right stays if another right of theirs was enough for it.
        let is_unfounded = |act: Act, enough: &dyn Fn(&Capability) -> bool| {
            let by = self.successor(act.by).unwrap_or(act.by);
            let Some(admin) = self.admins.get(&by).filter(|_| doubtful.get(&by).is_some_and(|from| act.seq >= *from))
            else {
                return false;
            };
            !admin.capabilities.iter().any(|c| c.since() < act.seq && enough(c))
        };
        let may_enroll = |m: &Member| {
            let (name, labels) = (m.name.clone(), m.labels.clone());
            move |c: &Capability| c.verbs.contains(&Verb::Enroll) && c.covers_node(name.as_str(), &labels)
        };
        let leads = |c: &Capability| c.verbs.contains(&Verb::Grant) && c.is_unlimited();
        let declarations: Vec<DeclarationName> = self
            .declarations
            .values()
            .filter(|d| {
                let act = Act { seq: d.generation, by: d.author };
                let enough = |c: &Capability| {
                    let covers = c.covers_kind(&d.kind) && c.covers_selection(Some(&d.on), &d.within);
                    c.verbs.contains(&Verb::Publish) && covers
                };
                is_void(act) || is_unfounded(act, &enough)
            })
            .map(|d| d.name.clone())
            .collect();
        let invites: Vec<NodeId> = self
            .invites
            .iter()
            .filter(|(_, i)| {
                let act = Act { seq: i.since, by: i.by };
                let enough = |c: &Capability| c.verbs.contains(&Verb::Enroll) && c.covers_selection(None, &i.within);
                is_void(act) || is_unfounded(act, &enough)
            })
            .map(|(key, _)| *key)
            .collect();
        let members: Vec<NodeId> = self
            .members
            .iter()
            .filter(|(_, m)| is_void(m.voucher) || (m.role == Role::Coordinator && is_unfounded(m.voucher, &leads)))
            .map(|(key, _)| *key)
            .collect();
        let apart: Vec<(NodeId, String)> = self
            .with_role(Role::Agent)
            .filter_map(|(key, m)| {
                let enough = may_enroll(m);
                let changed = m.changed.filter(|c| is_void(*c) || is_unfounded(*c, &enough));
                let let_in = Some(m.voucher).filter(|v| is_unfounded(*v, &enough));
                let reason = match (changed, let_in) {
                    (Some(act), _) => format!("changed by a compromised key in entry {}", act.seq),
                    (None, Some(act)) => format!("let in by a compromised right in entry {}", act.seq),
                    (None, None) => return None,
                };
                Some((key, reason))
            })
            .collect();
        let recovery_is_void = self.recovery.as_ref().is_some_and(|set| {
            let act = Act { seq: set.since, by: set.by };
            set.since > 0 && (is_void(act) || is_unfounded(act, &Capability::is_root))
        });
        self.declarations.retain(|name, _| !declarations.contains(name));
        self.invites.retain(|key, _| !invites.contains(key));
        self.members.retain(|key, _| !members.contains(key));
        self.revoked.extend(invites.into_iter().chain(members).map(|key| (key, entry.seq)));
        let act = Act { seq: entry.seq, by: entry.author };
        for (key, reason) in apart {
            if let Some(member) = self.members.get_mut(&key) {
                member.quarantine = Some(Isolation { act, reason });
            }
        }
        if recovery_is_void {
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

    /// Ends the rights that came through void words. The admins who have none left, and when they got their first; the
    /// others who lost one go into `doubtful`, with the entry that gave it.
    fn void_rights(
        &mut self,
        void: &BTreeMap<NodeId, u64>,
        doubtful: &mut BTreeMap<NodeId, u64>,
    ) -> Vec<(NodeId, u64)> {
        let mut fallen = Vec::new();
        for (key, admin) in &mut self.admins {
            let before = admin.capabilities.len();
            admin.capabilities.retain(|capability| {
                let mut hands = capability.through.iter().zip(&capability.scopes);
                let is_void = hands.any(|(giver, scope)| void.get(giver).is_some_and(|from| scope.since >= *from));
                if is_void {
                    let since = doubtful.entry(*key).or_insert(u64::MAX);
                    *since = capability.since().min(*since);
                }
                !is_void
            });
            if admin.capabilities.is_empty() && before > 0 {
                fallen.push((*key, admin.since));
            }
        }
        fallen
    }
}
