//! Keys and signatures at the edges, where libraries for ed25519 differ.

use protocols::entry::{Enroll, Role};
use protocols::{Body, Entry, Labels, NodeId, Signature, SignedEntry};

use super::{Attempts, Random, agree, id, key, python};

/// The order of the group, little endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// Encodings of points of small order, and of numbers that no point has or that are not reduced.
fn edges() -> Vec<[u8; 32]> {
    let hex = |text: &str| -> [u8; 32] { data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap() };
    let mut all: Vec<[u8; 32]> = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ]
    .map(hex)
    .to_vec();
    // Small numbers are points or not, about half of them, as are those just below the prime written above it.
    all.extend((2..20u8).map(|n| std::array::from_fn(|i| if i == 0 { n } else { 0 })));
    all.extend((0xed..=0xff_u8).map(|n| {
        std::array::from_fn(|i| match i {
            0 => n,
            31 => 0x7f,
            _ => 0xff,
        })
    }));
    let signs: Vec<[u8; 32]> =
        all.iter().map(|bytes| std::array::from_fn(|i| bytes[i] | if i == 31 { 0x80 } else { 0 })).collect();
    all.extend(signs);
    all
}

#[test]
fn both_agree_on_weak_keys_and_other_spellings_of_signatures() {
    let Some(python) = python("the verifier on weak keys") else { return };
    let mut run = Attempts::found(&mut Random(7));
    let entry = |run: &Attempts, author: NodeId, of: NodeId, name: String| {
        let (head, name) = (run.state.head(), name.parse().unwrap());
        let body = Body::Enroll(Enroll { key: of, name, role: Role::Agent, labels: Labels::new(), replaces: None });
        let (fleet, seq, prev, at) = (Some(run.state.fleet()), head.seq + 1, Some(head.hash), run.state.time());
        Entry { fleet, seq, prev, at, not_after: None, author, body }
    };
    let mut points = 0;
    for (n, bytes) in edges().into_iter().enumerate() {
        let next = entry(&run, id(1), NodeId::from_bytes(bytes), format!("n-{n}"));
        points += usize::from(run.attempt(next.sign(&key(1)).unwrap()));
    }
    assert!(points > 10, "{points} of the keys are points of large order");

    // The same signature with another number of the same rest, and with a point of small order in its place.
    let signed = entry(&run, id(1), id(30), "x".into()).sign(&key(1)).unwrap();
    let good = *signed.signature.as_bytes();
    let mut carry = 0u16;
    let mut more = good;
    for (at, add) in ORDER.into_iter().enumerate() {
        carry += u16::from(more[32 + at]) + u16::from(add);
        more[32 + at] = carry.to_le_bytes()[0];
        carry >>= 8;
    }
    let with = |bytes: [u8; 64]| SignedEntry { signature: Signature::from_bytes(bytes), ..signed.clone() };
    assert!(!run.attempt(with(more)));
    for bytes in edges() {
        let mut other = good;
        other[..32].copy_from_slice(&bytes);
        assert!(!run.attempt(with(other)));
    }
    // Under a key of small order some signatures hold for whatever is signed, if nobody looks.
    for weak in edges() {
        let bytes = serde_json::to_vec(&entry(&run, NodeId::from_bytes(weak), id(30), "x".into())).unwrap();
        for r in edges().into_iter().take(5) {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&r);
            assert!(
                !run.attempt(SignedEntry { bytes: bytes.clone().into(), signature: Signature::from_bytes(signature) })
            );
        }
    }
    assert!(run.attempt(signed), "and as it was signed it holds");
    agree(&python, &[run]);
}
