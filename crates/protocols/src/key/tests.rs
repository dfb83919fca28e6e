use super::*;

const AGENT: &str = include_str!("../../tests/fixtures/agent.ed25519");
const AGENT_ID: &str = "e20dd5c6622be2fc320b72882a84218152477fe705ed686e64eed25b8579225a";
const ENCRYPTED: &str = include_str!("../../tests/fixtures/encrypted.ed25519");
const ENCRYPTED_ID: &str = "b4899e495bc41f8da7c79e872188729e79a44c2c37ecdb7d667d3951c1ab8f51";

#[test]
fn parses_openssh_key() {
    // The mapping of numtide/nix-fleet: the endpoint id is the OpenSSH key's ed25519 public key.
    let key = SecretKey::parse(AGENT.as_bytes(), None).unwrap();
    assert_eq!(key.id().to_string(), AGENT_ID);
    let public = include_str!("../../tests/fixtures/agent.ed25519.pub");
    assert_eq!(parse_public(public).unwrap(), key.id());
    assert_eq!(parse_public(AGENT_ID).unwrap(), key.id());
}

#[test]
fn parses_encrypted_openssh_key_with_its_passphrase() {
    let parse = |passphrase| SecretKey::parse(ENCRYPTED.as_bytes(), passphrase);
    assert!(matches!(parse(None), Err(KeyError::NeedsPassphrase)));
    assert!(matches!(parse(Some("wrong")), Err(KeyError::WrongPassphrase)));
    assert_eq!(parse(Some("correct horse")).unwrap().id().to_string(), ENCRYPTED_ID);
}

#[test]
fn refuses_what_is_not_a_private_ed25519_key() {
    let ecdsa = include_bytes!("../../tests/fixtures/ecdsa");
    assert!(matches!(SecretKey::parse(ecdsa, None), Err(KeyError::NotEd25519(_))));
    let public = include_bytes!("../../tests/fixtures/agent.ed25519.pub");
    assert!(matches!(SecretKey::parse(public, None), Err(KeyError::Public)));
    assert!(matches!(SecretKey::parse(b"hello", None), Err(KeyError::Unrecognised)));
    assert!(matches!(
        SecretKey::parse(&AGENT.as_bytes()[..200], None),
        Err(KeyError::Unrecognised | KeyError::OpenSsh(_))
    ));
}

#[test]
fn formats_round_trip() {
    let key = SecretKey::generate();
    for format in [KeyFormat::Raw, KeyFormat::OpenSsh] {
        let text = key.to_text(format, "a comment").unwrap();
        assert_eq!(SecretKey::parse(text.as_bytes(), None).unwrap().id(), key.id());
    }
    assert_eq!(SecretKey::parse(&*key.seed(), None).unwrap().id(), key.id());
    assert_eq!(parse_public(&openssh_public(key.id(), "x")).unwrap(), key.id());
}

#[test]
fn key_files_are_private_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let key = SecretKey::generate();
    key.write_new(&path, KeyFormat::OpenSsh, "x").unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(key.write_new(&path, KeyFormat::Raw, "x"), Err(KeyError::File { .. })));
    assert_eq!(SecretKey::read(&path, || None).unwrap().id(), key.id());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(SecretKey::read(&path, || None), Err(KeyError::Exposed { mode: 0o644, .. })));
}

#[test]
fn a_signature_holds_for_one_domain_and_one_message() {
    let key = SecretKey::generate();
    let signature = key.sign(b"a\0", b"message");
    assert!(key.id().verifies(b"a\0", b"message", &signature));
    assert!(!key.id().verifies(b"b\0", b"message", &signature));
    assert!(!key.id().verifies(b"a\0", b"massage", &signature));
    assert!(!SecretKey::generate().id().verifies(b"a\0", b"message", &signature));
    assert!(!NodeId::from_bytes([0; 32]).is_key());
    let json = serde_json::to_string(&signature).unwrap();
    assert_eq!(serde_json::from_str::<Signature>(&json).unwrap(), signature);
    let packed = postcard::to_stdvec(&signature).unwrap();
    assert_eq!(packed.len(), 64);
    assert_eq!(postcard::from_bytes::<Signature>(&packed).unwrap(), signature);
}

proptest::proptest! {
    #[test]
    fn any_bytes_parse_or_are_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        drop(SecretKey::parse(&bytes, None));
    }
}

#[test]
fn an_encrypted_key_opens_with_its_passphrase_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let key = SecretKey::generate();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    key.write_new_encrypted(&path, "correct horse", "ada").unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(SecretKey::read(&path, || Some("correct horse".into())).unwrap().id(), key.id());
    assert!(matches!(SecretKey::read(&path, || Some("wrong".into())), Err(KeyError::WrongPassphrase)));
    assert!(matches!(SecretKey::read(&path, || None), Err(KeyError::NeedsPassphrase)));
    assert!(matches!(key.write_new_encrypted(&path, "x", ""), Err(KeyError::File { .. })), "never overwritten");
    assert!(matches!(key.to_encrypted_text("", ""), Err(KeyError::EmptyPassphrase)));
    assert_ne!(*key.to_encrypted_text("x", "").unwrap(), *key.to_encrypted_text("x", "").unwrap(), "salted");
}
