//! When the alarm ends, and how long messages are.

use protocols::entry::{Founder, Genesis, Revoke};
use protocols::{Body, Digest, Entry, Millis, SecretKey};

use super::*;

fn next(state: &FleetState, key: &SecretKey, body: Body) -> SignedEntry {
    let head = state.head();
    let (fleet, seq, prev) = (Some(state.fleet()), head.seq + 1, Some(head.hash));
    Entry { fleet, seq, prev, at: Millis(2), not_after: None, author: key.id(), body }.sign(key).unwrap()
}

#[test]
fn only_the_end_of_the_accused_ends_the_alarm() {
    let (admin, good, bad) =
        (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]), SecretKey::from_seed(&[3; 32]));
    let founder = |key: &SecretKey, name: &str| Founder { key: key.id(), name: name.parse().unwrap() };
    let genesis = Genesis {
        name: "test".parse().unwrap(),
        nonce: Digest::from_bytes([9; 32]),
        admins: vec![founder(&admin, "anna")],
        coordinators: vec![founder(&good, "good"), founder(&bad, "bad")],
        recovery: None,
    };
    let (author, body) = (admin.id(), Body::Genesis(genesis));
    let genesis = Entry { fleet: None, seq: 0, prev: None, at: Millis(1), not_after: None, author, body };
    let state = FleetState::found(&genesis.sign(&admin).unwrap().verify().unwrap()).unwrap();
    let revoke = |key: &SecretKey| {
        Body::Revoke(Revoke { key: key.id(), reason: "it told two stories".into(), compromised_since: None })
    };
    let end = next(&state, &admin, revoke(&bad));
    assert!(ends_the_alarm(&state, std::slice::from_ref(&end), &[bad.id()]));
    assert!(!ends_the_alarm(&state, &[], &[bad.id()]), "nothing was decided");
    assert!(!ends_the_alarm(&state, std::slice::from_ref(&end), &[]), "nobody is accused");
    assert!(!ends_the_alarm(&state, &[end], &[bad.id(), good.id()]), "one of two");
    assert!(!ends_the_alarm(&state, &[next(&state, &bad, revoke(&bad))], &[bad.id()]), "nobody may say so");
    let other = next(&state, &admin, revoke(&good));
    assert!(!ends_the_alarm(&state, &[other], &[bad.id()]), "somebody else's end");
}

#[test]
fn what_is_said_fits_into_a_message() {
    let key = SecretKey::from_seed(&[1; 32]);
    let head = Head { seq: u64::MAX, hash: protocols::EntryHash::from_bytes([255; 32]) };
    let claim = HeadClaim::sign(&key, FleetId::from_bytes([255; 32]), head);
    for said in [Said::Claim(claim), Said::Alarm([claim; 2])] {
        let bytes = postcard::to_stdvec(&said).unwrap();
        assert!(bytes.len() <= 700, "{} bytes", bytes.len());
        assert_eq!(postcard::from_bytes::<Said>(&bytes).unwrap(), said);
    }
}
