//! Evidence proves what is so, and never what is not.

use proptest::prelude::*;

use super::*;
use crate::entry::{Body, Founder, Genesis, Withdraw};
use crate::ids::{Digest, Millis};
use crate::key::SecretKey;

fn admin() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn coordinator() -> SecretKey {
    SecretKey::from_seed(&[2; 32])
}

fn genesis() -> SignedEntry {
    let founder = |key: &SecretKey, name: &str| Founder { key: key.id(), name: name.parse().unwrap() };
    let body = Body::Genesis(Genesis {
        name: "test".parse().unwrap(),
        nonce: Digest::from_bytes([9; 32]),
        admins: vec![founder(&admin(), "anna")],
        coordinators: vec![founder(&coordinator(), "c")],
        recovery: None,
    });
    let author = admin().id();
    Entry { fleet: None, seq: 0, prev: None, at: Millis(1), not_after: None, author, body }.sign(&admin()).unwrap()
}

fn fleet() -> FleetId {
    genesis().verify().unwrap().founds().unwrap()
}

/// `trunk` entries, then `left` of one branch and `right` of another.
fn branches(trunk: u64, left: u64, right: u64) -> (Vec<SignedEntry>, Vec<SignedEntry>) {
    let mut ours = vec![genesis()];
    grow(&mut ours, trunk, 0);
    let mut theirs = ours.clone();
    grow(&mut ours, left, 1);
    grow(&mut theirs, right, 2);
    (ours, theirs)
}

fn grow(chain: &mut Vec<SignedEntry>, count: u64, salt: u64) {
    for _ in 0..count {
        let body = Body::Withdraw(Withdraw { name: "a/b".parse().unwrap() });
        let prev = chain.last().map(SignedEntry::hash);
        let (seq, at) = (chain.len() as u64, Millis(salt));
        let entry = Entry { fleet: Some(fleet()), seq, prev, at, not_after: None, author: admin().id(), body };
        chain.push(entry.sign(&admin()).unwrap());
    }
}

fn claim(chain: &[SignedEntry], at: usize) -> HeadClaim {
    HeadClaim::sign(&coordinator(), fleet(), Head { seq: at as u64, hash: chain[at].hash() })
}

fn upto(chain: &[SignedEntry], from: usize, claim: HeadClaim) -> Vec<SignedEntry> {
    chain[from.min(claim.head.seq as usize + 1)..=claim.head.seq as usize].to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_fork_can_be_proven(trunk in 0..5_u64, left in 1..6_u64, right in 1..6_u64, a in 0..6_u64, b in 0..6_u64) {
        let (ours, theirs) = branches(trunk, left, right);
        let fork = trunk as usize + 1;
        let one = claim(&ours, fork + (a % left) as usize);
        let other = claim(&theirs, fork + (b % right) as usize);
        let (evidence, proof) =
            ForkEvidence::new([one, other], [upto(&ours, fork, one), upto(&theirs, fork, other)]).unwrap();
        prop_assert_eq!(proof.liar(), Some(coordinator().id()));
        prop_assert_eq!(proof.by_place, one.head.seq.min(other.head.seq));
        let back = ForkEvidence::from_json(evidence.to_json().unwrap().as_bytes()).unwrap();
        prop_assert_eq!(&back, &evidence);
        prop_assert_eq!(back.verify(fleet()).unwrap(), proof);
        // The order of the two does not matter.
        let [first, second] = evidence.branches.clone();
        prop_assert!(ForkEvidence::new([other, one], [second, first]).is_ok());
        let elsewhere = matches!(evidence.verify(FleetId::from_bytes([7; 32])), Err(ForkError::OtherFleet { .. }));
        prop_assert!(elsewhere);
    }

    #[test]
    fn claims_on_one_history_are_never_evidence(
        length in 1..9_u64, a in 0..9_usize, b in 0..9_usize, from in 0..9_usize, with in any::<[bool; 2]>(),
    ) {
        let (chain, other) = branches(0, length, length);
        let (a, b) = (a % chain.len(), b % chain.len());
        let claims = [claim(&chain, a), claim(&chain, b)];
        let branch = |claim: HeadClaim, with: bool| if with { upto(&chain, from, claim) } else { Vec::new() };
        prop_assert!(ForkEvidence::new(claims, [branch(claims[0], with[0]), branch(claims[1], with[1])]).is_err());
        // Nor does it help to show entries of a history that nobody claimed.
        let foreign = [upto(&other, from, claims[0]), upto(&other, from, claims[1])];
        prop_assert!(ForkEvidence::new(claims, foreign).is_err());
    }

    #[test]
    fn what_was_tampered_with_proves_nothing(which in 0..7_usize, left in 2..6_u64, right in 2..6_u64) {
        let (ours, theirs) = branches(1, left, right);
        let (one, other) = (claim(&ours, 2), claim(&theirs, theirs.len() - 1));
        let (mut evidence, _) = ForkEvidence::new([one, other], [upto(&ours, 2, one), upto(&theirs, 2, other)]).unwrap();
        match which {
            0 => evidence.claims[0].head.seq += 1,
            1 => evidence.claims[1].by = admin().id(),
            2 => evidence.claims[0].signature = other.signature,
            3 => evidence.branches[1].clear(),
            4 => drop(evidence.branches[1].pop()),
            5 => evidence.branches[1].swap(0, 1),
            _ => evidence.branches[0].push(ours[0].clone()),
        }
        prop_assert!(evidence.verify(fleet()).is_err());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(ForkEvidence::from_json(&bytes));
    }
}

#[test]
fn two_entries_of_one_place_need_no_entries() {
    let (ours, theirs) = branches(2, 1, 1);
    let claims = [claim(&ours, 3), claim(&theirs, 3)];
    let (_, proof) = ForkEvidence::new(claims, [Vec::new(), Vec::new()]).unwrap();
    assert_eq!(proof.by_place, 3);
    assert!(proof.to_string().starts_with("the coordinator "), "{proof}");
    // Two coordinators that differ: a split history, and nobody's proven lie.
    let by_other = HeadClaim::sign(&SecretKey::from_seed(&[5; 32]), fleet(), claims[1].head);
    let (_, proof) = ForkEvidence::new([claims[0], by_other], [Vec::new(), Vec::new()]).unwrap();
    assert_eq!(proof.liar(), None);
}

#[test]
fn evidence_is_bounded() {
    let (ours, theirs) = branches(0, 1, 1);
    let claims = [claim(&ours, 1), claim(&theirs, 1)];
    let long = vec![ours[1].clone(); BRANCH_ENTRIES_MAX + 1];
    assert!(matches!(ForkEvidence::new(claims, [long, Vec::new()]), Err(ForkError::TooLarge)));
    assert!(matches!(ForkEvidence::from_json(&vec![b' '; FORK_BYTES_MAX + 1]), Err(ForkError::TooLarge)));
}
