//! `flt key` with keys that the real ssh-keygen made.

use std::path::{Path, PathBuf};

use testkit::Program;

fn ssh_keygen(dir: &Path, name: &str, kind: &str, passphrase: &str) -> PathBuf {
    let path = dir.join(name);
    let file = path.to_str().unwrap();
    let args = ["-q", "-t", kind, "-N", passphrase, "-C", "ada@example", "-f", file];
    Program::new("ssh-keygen").args(args).ok();
    path
}

fn flt(args: &[&str]) -> testkit::Output {
    Program::flt().args(args).run()
}

fn show(what: &str) -> serde_json::Value {
    serde_json::from_str(&Program::flt().args(["key", "show", what, "--json"]).ok()).unwrap()
}

/// Type and key of an OpenSSH public key, without the comment.
fn without_comment(line: &str) -> String {
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_key_of_ssh_keygen_is_known_by_every_form() {
    let dir = tempfile::tempdir().unwrap();
    let key = ssh_keygen(dir.path(), "id", "ed25519", "");
    let public = std::fs::read_to_string(dir.path().join("id.pub")).unwrap();
    let shown = show(key.to_str().unwrap());
    assert_eq!(shown["openssh"], without_comment(&public));
    let id = shown["id"].as_str().unwrap();
    assert_eq!(id.len(), 64);
    let nix = shown["nix"].as_str().unwrap();
    assert!(nix.starts_with(&format!("flt-{}:", &id[..16])), "{nix}");
    for form in [dir.path().join("id.pub").to_str().unwrap(), public.trim(), id] {
        assert_eq!(show(form), shown, "{form}");
    }
    let text = Program::flt().args(["key", "show", id]).ok();
    assert!(text.starts_with(&format!("id       {id}\nopenssh  ssh-ed25519 ")), "{text}");
}

#[test]
fn encrypted_keys_open_with_a_passphrase_file() {
    let dir = tempfile::tempdir().unwrap();
    let key = ssh_keygen(dir.path(), "id", "ed25519", "correct horse");
    let key = key.to_str().unwrap();
    let closed = flt(&["key", "show", key]);
    assert_eq!(closed.code, Some(1));
    assert!(closed.stderr.contains("the key is encrypted and needs its passphrase"), "{}", closed.stderr);
    assert!(closed.stderr.contains("hint: ") && closed.stderr.contains("--passphrase-file FILE"), "{}", closed.stderr);

    let passphrase = dir.path().join("pass");
    std::fs::write(&passphrase, "correct horse\n").unwrap();
    let opened = flt(&["key", "show", key, "--passphrase-file", passphrase.to_str().unwrap(), "--json"]);
    assert_eq!(opened.code, Some(0), "{}", opened.stderr);
    let public = std::fs::read_to_string(dir.path().join("id.pub")).unwrap();
    assert!(opened.stdout.contains(&without_comment(&public)), "{}", opened.stdout);

    std::fs::write(&passphrase, "wrong").unwrap();
    let wrong = flt(&["key", "show", key, "--passphrase-file", passphrase.to_str().unwrap()]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("the passphrase does not open the key"), "{}", wrong.stderr);
}

#[test]
fn keys_that_cannot_serve_are_refused_by_name() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    for (kind, algorithm) in [("rsa", "ssh-rsa"), ("ecdsa", "ecdsa-sha2")] {
        let key = ssh_keygen(dir.path(), kind, kind, "");
        for file in [key.clone(), key.with_extension("pub")] {
            let refused = flt(&["key", "show", file.to_str().unwrap()]);
            assert_eq!(refused.code, Some(1), "{}", file.display());
            assert!(refused.stderr.contains(algorithm), "{}: {}", file.display(), refused.stderr);
            assert!(refused.stderr.contains("only ssh-ed25519 keys"), "{}: {}", file.display(), refused.stderr);
        }
    }
    let key = ssh_keygen(dir.path(), "open", "ed25519", "");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = flt(&["key", "show", key.to_str().unwrap()]);
    assert_eq!(exposed.code, Some(1));
    assert!(
        exposed.stderr.contains(&format!("hint: keep it to its owner: chmod 600 {}", key.display())),
        "{}",
        exposed.stderr
    );

    let missing = flt(&["key", "show", "/nonexistent/key"]);
    assert!(
        missing.stderr.contains("there is no file /nonexistent/key, and it is no public key"),
        "{}",
        missing.stderr
    );
    let zeros = flt(&["key", "show", &"0".repeat(64)]);
    assert!(zeros.stderr.contains("is no ed25519 public key"), "{}", zeros.stderr);
    let garbage = dir.path().join("garbage");
    std::fs::write(&garbage, "hello\n").unwrap();
    std::fs::set_permissions(&garbage, std::fs::Permissions::from_mode(0o600)).unwrap();
    let refused = flt(&["key", "show", garbage.to_str().unwrap()]);
    assert!(refused.stderr.contains("not a key: expected an OpenSSH private key"), "{}", refused.stderr);
}

#[test]
fn new_keys_are_private_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    for format in ["openssh", "raw"] {
        let path = dir.path().join(format);
        let file = path.to_str().unwrap();
        let made = flt(&["key", "new", "--format", format, "--out", file, "--json"]);
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let before = std::fs::read(&path).unwrap();
        let made: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
        assert_eq!(made["id"], show(file)["id"]);
        let again = flt(&["key", "new", "--format", format, "--out", file]);
        assert_eq!(again.code, Some(1));
        assert!(again.stderr.contains("a key is never overwritten"), "{}", again.stderr);
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
    let nowhere = flt(&["key", "new", "--out", dir.path().join("no/where").to_str().unwrap()]);
    assert!(nowhere.stderr.contains("hint: make it first: mkdir -p "), "{}", nowhere.stderr);
}

#[test]
fn conversion_keeps_the_key_and_never_prints_it() {
    let dir = tempfile::tempdir().unwrap();
    let key = ssh_keygen(dir.path(), "id", "ed25519", "");
    let (raw, back) = (dir.path().join("raw"), dir.path().join("back"));
    let convert = |from: &Path, format: &str, to: &Path| {
        flt(&["key", "convert", from.to_str().unwrap(), "--format", format, "--out", to.to_str().unwrap()])
    };
    let there = convert(&key, "raw", &raw);
    assert_eq!(there.code, Some(0), "{}", there.stderr);
    let secret = std::fs::read_to_string(&raw).unwrap();
    assert_eq!(secret.trim().len(), 64);
    assert_eq!(convert(&raw, "openssh", &back).code, Some(0));
    // The judge is OpenSSH itself.
    let public = Program::new("ssh-keygen").args(["-y", "-f", back.to_str().unwrap()]).ok();
    let original = std::fs::read_to_string(dir.path().join("id.pub")).unwrap();
    assert_eq!(without_comment(&public), without_comment(&original));
    let shown = flt(&["key", "show", raw.to_str().unwrap(), "-vv"]);
    for output in [&there, &shown] {
        assert!(!output.stdout.contains(secret.trim()) && !output.stderr.contains(secret.trim()));
    }
    let onto = convert(&key, "raw", &back);
    assert_eq!(onto.code, Some(1), "an existing file is kept");
}
