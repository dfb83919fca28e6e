use nix_narinfo::TrustedPublicKey;
use proptest::prelude::*;
use protocols::{BlobHash, BlobRef, SecretKey};
use scores::nixos::sign;

use super::*;

fn info(name: &str, nar_size: u64, references: &[&str], key: Option<&SecretKey>) -> PathInfo {
    let path = |name: &str| format!("/nix/store/1jr8srwdhjx8z37j22sc7xx59bzclwq8-{name}").parse().unwrap();
    let mut info = PathInfo {
        path: path(name),
        nar_hash: NarHash::from_bytes([nar_size as u8; 32]),
        nar_size,
        references: references.iter().map(|name| path(name)).collect(),
        deriver: None,
        ca: None,
        signatures: Vec::new(),
        nar_zst: BlobRef { hash: BlobHash::from_bytes([1; 32]), size: 10 },
    };
    info.signatures.extend(key.map(|key| sign(key, &info.fingerprint())));
    info
}

fn manifest(info: PathInfo) -> Manifest {
    Manifest::new(info.path.clone(), vec![info]).unwrap()
}

/// Another implementation of Nix's formats reads the same from what is written here, and finds the signature good.
#[test]
fn another_reader_agrees_on_narinfo_and_signature() {
    let key = SecretKey::from_seed(&[8; 32]);
    let info = info("a", 77, &["a", "b.c", "b0", "b_", "zz"], Some(&key));
    let read: NarInfo = info.narinfo("nar/x.nar.zst").parse().unwrap();
    assert_eq!(read.fingerprint(read.store_dir()), info.fingerprint());
    let trusted = TrustedPublicKey::parse(&TrustedKey::of_node(key.id()).to_string()).unwrap();
    assert!(read.has_valid_signature(read.store_dir(), std::slice::from_ref(&trusted)));
    let other: NarInfo = PathInfo { nar_size: 78, ..info }.narinfo("nar/x.nar.zst").parse().unwrap();
    assert!(!other.has_valid_signature(other.store_dir(), &[trusted]));
}

#[test]
fn only_the_fleets_signatures_count() {
    let (key, other) = (SecretKey::from_seed(&[8; 32]), SecretKey::from_seed(&[9; 32]));
    let keys = [TrustedKey::of_node(key.id())];
    assert!(check_signatures(&manifest(info("a", 7, &[], Some(&key))), &keys).is_ok());
    for bad in [None, Some(&other)] {
        let refused = check_signatures(&manifest(info("a", 7, &[], bad)), &keys).unwrap_err();
        assert!(matches!(refused, StageError::Unsigned { .. }), "{refused}");
        assert!(!DeviceError::from(refused).is_transient());
    }
    assert!(check_signatures(&manifest(info("a", 7, &[], Some(&key))), &[]).is_err());
}

/// `nix-store --add` of Nix 2.8 made this one.
#[test]
fn a_content_address_must_make_the_path() {
    let text = |path: &str| {
        format!(
            r#"{{"path":"{path}","nar_hash":"sha256:08jhv9xdgvvyml9sfx1yjdmq3hpwzxa4nf841fvv2r6wikkqyvsy","nar_size":400,"references":[],"ca":"fixed:r:sha256:08jhv9xdgvvyml9sfx1yjdmq3hpwzxa4nf841fvv2r6wikkqyvsy","nar_zst":{{"hash":"{}","size":10}}}}"#,
            BlobHash::from_bytes([1; 32])
        )
    };
    let good: PathInfo = serde_json::from_str(&text("/nix/store/6697418b8yw3xw30jzsk6db6hc5dbvxf-t.nix")).unwrap();
    assert!(check_signatures(&manifest(good), &[]).is_ok());
    let bad: PathInfo = serde_json::from_str(&text("/nix/store/6697418b8yw3xw30jzsk6db6hc5dbvxf-u.nix")).unwrap();
    let refused = check_signatures(&manifest(bad), &[]).unwrap_err();
    assert!(matches!(refused, StageError::NotContentAddressed { .. }), "{refused}");
}

proptest! {
    #[test]
    fn another_reader_agrees_whatever_is_written(size in 1u64..1 << 40, names in prop::collection::btree_set("[a-zA-Z0-9+_?=-][a-zA-Z0-9+._?=-]{0,20}", 0..6)) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let info = info("top", size, &names, None);
        let read: NarInfo = info.narinfo("nar/x.nar.zst").parse().unwrap();
        prop_assert_eq!(read.fingerprint(read.store_dir()), info.fingerprint());
    }
}
