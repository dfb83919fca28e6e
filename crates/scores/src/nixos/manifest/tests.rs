use proptest::prelude::*;
use protocols::{BlobHash, SecretKey};

use super::*;

fn path(n: usize) -> StorePath {
    format!("/nix/store/{n:032}-p{n}").parse().unwrap()
}

fn info(n: usize, references: &[usize]) -> PathInfo {
    PathInfo {
        path: path(n),
        nar_hash: NarHash::from_bytes([n as u8; 32]),
        nar_size: 100 + n as u64,
        references: references.iter().map(|n| path(*n)).collect(),
        deriver: None,
        ca: None,
        signatures: Vec::new(),
        nar_zst: BlobRef { hash: BlobHash::from_bytes([n as u8; 32]), size: 50 },
    }
}

fn parse(value: &serde_json::Value) -> Result<Manifest, BadManifest> {
    Manifest::parse(value.to_string().as_bytes(), &path(1))
}

/// 1 refers to itself, 2 and 3; 2 to 3.
fn sound() -> serde_json::Value {
    let manifest = Manifest::new(path(1), vec![info(3, &[]), info(1, &[1, 2, 3]), info(2, &[3])]).unwrap();
    serde_json::from_slice(&manifest.to_bytes()).unwrap()
}

#[test]
fn a_closure_is_accepted_and_round_trips() {
    let manifest = parse(&sound()).unwrap();
    assert_eq!(manifest.paths().len(), 3);
    assert_eq!(manifest.nar_bytes(), 306);
    assert_eq!(Manifest::parse(&manifest.to_bytes(), &path(1)).unwrap(), manifest);
}

#[test]
fn a_manifest_that_names_other_paths_is_refused() {
    let extra = Manifest::new(path(1), vec![info(1, &[2]), info(2, &[]), info(7, &[2])]);
    assert_eq!(extra.unwrap_err(), BadManifest::Foreign(path(7)));
    let other = Manifest::parse(sound().to_string().as_bytes(), &path(2));
    assert_eq!(other.unwrap_err(), BadManifest::OtherToplevel { wanted: path(2), found: path(1) });
}

#[test]
fn holes_doubles_and_disorder_are_refused() {
    let hole = Manifest::new(path(1), vec![info(1, &[2])]).unwrap_err();
    assert_eq!(hole, BadManifest::Incomplete { path: path(1), missing: path(2) });
    assert!(matches!(Manifest::new(path(9), vec![info(1, &[])]), Err(BadManifest::Incomplete { .. })));
    assert_eq!(Manifest::new(path(1), Vec::new()).unwrap_err(), BadManifest::PathCount(0));
    assert!(matches!(Manifest::new(path(1), vec![info(1, &[]), info(1, &[])]), Err(BadManifest::Order(_))));
    let mut swapped = sound();
    swapped["paths"].as_array_mut().unwrap().swap(0, 1);
    assert!(matches!(parse(&swapped), Err(BadManifest::Order(_))));
    let unsorted = Manifest::new(path(1), vec![info(1, &[3, 2]), info(2, &[]), info(3, &[])]);
    assert!(matches!(unsorted, Err(BadManifest::Field { .. })));
}

#[test]
fn fields_are_bounded() {
    type Change = (&'static str, fn(&mut PathInfo));
    let changes: [Change; 7] = [
        ("no bytes", |info| info.nar_size = 0),
        ("too many bytes", |info| info.nar_size = NAR_BYTES_MAX + 1),
        ("an empty blob", |info| info.nar_zst.size = 0),
        ("a blob larger than its archive", |info| info.nar_zst.size = 1 << 30),
        ("a signature with a line break", |info| info.signatures = vec!["a:AAAA\nCA: x".into()]),
        ("many signatures", |info| info.signatures = vec!["a:AAAA".into(); SIGNATURES_MAX + 1]),
        ("a content address with a line break", |info| info.ca = Some("x\ny".into())),
    ];
    for (what, change) in changes {
        let mut bad = info(1, &[]);
        change(&mut bad);
        assert!(matches!(Manifest::new(path(1), vec![bad]), Err(BadManifest::Field { .. })), "{what}");
    }
    let huge = |n| PathInfo { nar_size: NAR_BYTES_MAX, ..info(n, if n == 1 { &[2] } else { &[] }) };
    assert_eq!(Manifest::new(path(1), vec![huge(1), huge(2)]).unwrap_err(), BadManifest::TotalSize);
}

#[test]
fn unknown_fields_and_schemas_are_refused() {
    let mut value = sound();
    value["paths"][0]["surprise"] = 1.into();
    assert!(matches!(parse(&value), Err(BadManifest::Syntax(_))));
    let mut value = sound();
    value["schema"] = "flt.nixos-manifest/2".into();
    assert!(matches!(parse(&value), Err(BadManifest::Schema(_))));
    let mut value = sound();
    value["paths"][0]["path"] = "/etc/passwd".into();
    assert!(matches!(parse(&value), Err(BadManifest::Syntax(_))));
}

#[test]
fn a_signature_holds_for_its_path_only() {
    let secret = SecretKey::from_seed(&[1; 32]);
    let keys = [TrustedKey::of_node(secret.id())];
    let mut one = info(1, &[1]);
    assert!(!one.is_signed_by(&keys));
    one.signatures.push(signature::sign(&secret, &one.fingerprint()));
    assert!(one.is_signed_by(&keys));
    assert!(!one.is_signed_by(&[]));
    let other = PathInfo { path: path(2), ..one.clone() };
    assert!(!other.is_signed_by(&keys));
    let stripped = PathInfo { references: Vec::new(), ..one };
    assert!(!stripped.is_signed_by(&keys));
}

proptest! {
    #[test]
    fn any_graph_is_a_closure_or_refused(edges in prop::collection::vec((1usize..8, 1usize..8), 0..20)) {
        let infos: Vec<PathInfo> = (1..8).map(|n| {
            let mut to: Vec<usize> = edges.iter().filter(|(a, _)| *a == n).map(|(_, b)| *b).collect();
            to.sort_unstable();
            to.dedup();
            info(n, &to)
        }).collect();
        let mut reached = vec![1usize];
        while let Some(next) = edges.iter().find(|(a, b)| reached.contains(a) && !reached.contains(b)) {
            reached.push(next.1);
        }
        let whole = Manifest::new(path(1), infos.clone());
        prop_assert_eq!(whole.is_ok(), reached.len() == 7);
        let exact: Vec<PathInfo> = infos.into_iter().enumerate().filter(|(n, _)| reached.contains(&(n + 1))).map(|(_, i)| i).collect();
        let exact = Manifest::new(path(1), exact).unwrap();
        prop_assert_eq!(Manifest::parse(&exact.to_bytes(), &path(1)).unwrap(), exact);
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Manifest::parse(&bytes, &path(1)).is_err());
    }
}
