//! Which standbys may hold what a primary acknowledged, and whether a group of nodes holds all of it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;

/// A primary acknowledges a write when it holds it itself, and `num` of `names` do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SyncSet {
    /// The primary that acknowledges by this set. It held every earlier acknowledged write when it was granted the lease.
    pub primary: NodeId,
    /// The standbys that count.
    pub names: BTreeSet<NodeId>,
    /// How many of them must hold a write.
    pub num: u8,
}

impl SyncSet {
    /// Whether every set of nodes that could have acknowledged a write has one of `nodes` in it (R + W > N).
    fn met_by(&self, nodes: &BTreeSet<NodeId>) -> bool {
        self.names.intersection(nodes).count() + usize::from(self.num) > self.names.len()
    }
}

/// Whether these nodes together hold every write that was acknowledged under any of these sets, oldest set first.
///
/// The primary of a set holds everything that was acknowledged under it and before it, so only later sets are asked.
pub(super) fn covered(sets: &[SyncSet], nodes: &BTreeSet<NodeId>) -> bool {
    let known = sets.iter().rposition(|set| nodes.contains(&set.primary)).map_or(0, |last| last + 1);
    sets.iter().skip(known).all(|set| set.met_by(nodes))
}

/// The sets with `set` as the newest; an equal older one is dropped, so their number is bounded.
pub(super) fn widened(sets: &[SyncSet], set: SyncSet) -> Vec<SyncSet> {
    let mut wider: Vec<_> = sets.iter().filter(|known| **known != set).cloned().collect();
    wider.push(set);
    wider
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u8) -> NodeId {
        NodeId::from_bytes([id; 32])
    }

    fn nodes(ids: &[u8]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(node).collect()
    }

    fn set(primary: u8, names: &[u8], num: u8) -> SyncSet {
        SyncSet { primary: node(primary), names: nodes(names), num }
    }

    #[test]
    fn any_one_of_two_needs_both_without_the_primary() {
        let sets = [set(1, &[2, 3], 1)];
        assert!(!covered(&sets, &nodes(&[2])));
        assert!(covered(&sets, &nodes(&[2, 3])));
        assert!(covered(&sets, &nodes(&[1])));
        assert!(covered(&[set(1, &[2, 3], 2)], &nodes(&[3])));
    }

    #[test]
    fn no_standby_holds_what_a_primary_acknowledged_alone() {
        assert!(!covered(&[set(1, &[], 0)], &nodes(&[2, 3])));
        assert!(covered(&[set(1, &[], 0)], &nodes(&[1])));
    }

    #[test]
    fn a_later_primary_answers_for_the_sets_before_it() {
        let sets = [set(1, &[2, 3], 1), set(2, &[1, 3], 1)];
        assert!(covered(&sets, &nodes(&[2])));
        // 3 may lack what 2 acknowledged with 1, and 1 has it; but nobody of 3 alone knows.
        assert!(!covered(&sets, &nodes(&[3])));
        assert!(covered(&sets, &nodes(&[1, 3])));
    }

    /// The rule against every set of nodes that could have acknowledged, for all small cases.
    #[test]
    fn the_rule_is_the_same_as_looking_at_every_possible_acknowledgement() {
        for names in 0..16_u8 {
            for num in 0..=4_u8 {
                for asked in 0..16_u8 {
                    let of = |bits: u8| (0..4).filter(|bit| bits & (1 << bit) != 0).collect::<Vec<u8>>();
                    let standbys = of(names);
                    if usize::from(num) > standbys.len() {
                        continue;
                    }
                    let exhaustive = (0..16_u8)
                        .filter(|ack| ack & !names == 0 && ack.count_ones() >= u32::from(num))
                        .all(|ack| ack & asked != 0);
                    let ruled = covered(&[set(9, &standbys, num)], &nodes(&of(asked)));
                    assert_eq!(ruled, exhaustive, "names {names:04b}, num {num}, asked {asked:04b}");
                }
            }
        }
    }
}
