//! What flt seals, the `age` tool opens.

use std::collections::BTreeSet;
use std::fs;

use protocols::key::KeyFormat;
use protocols::secret::Place;
use protocols::{Kind, SealedText, SecretKey, Subject};
use testkit::{Program, require};

#[test]
fn the_age_tool_opens_what_is_sealed_to_a_host_key() {
    if !require("the_age_tool_opens_what_is_sealed_to_a_host_key", &["age"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let keys = [SecretKey::generate(), SecretKey::generate(), SecretKey::generate()];
    let recipients: BTreeSet<_> = keys[..2].iter().map(SecretKey::id).collect();
    let (kind, subject): (Kind, Subject) = ("files/1".parse().unwrap(), "files/etc".parse().unwrap());
    let place = Place { kind: &kind, subject: &subject };
    for (n, value) in
        [Vec::new(), b"correct horse battery staple\n".to_vec(), vec![b'x'; 65_536]].into_iter().enumerate()
    {
        let sealed = SealedText::seal("db".parse().unwrap(), place, &value.clone().into(), &recipients).unwrap();
        let file = dir.path().join(format!("{n}.age"));
        fs::write(&file, sealed.file()).unwrap();
        for (k, key) in keys.iter().enumerate() {
            let host_key = dir.path().join(format!("{n}-{k}"));
            key.write_new(&host_key, KeyFormat::OpenSsh, "host").unwrap();
            let age = Program::new("age").args(["--decrypt", "--identity"]).arg(&host_key).arg(&file).run();
            if k < 2 {
                assert_eq!(age.expect(0).stdout.as_bytes(), value, "secret {n} with key {k}");
            } else {
                assert!(age.expect(1).stderr.contains("no identity matched"), "secret {n} with a stranger's key");
            }
        }
    }
    // What is altered, it refuses as we do.
    let sealed = SealedText::seal("db".parse().unwrap(), place, &b"x".to_vec().into(), &recipients).unwrap();
    let mut altered = sealed.file().to_vec();
    altered[50] ^= 1;
    let file = dir.path().join("altered.age");
    fs::write(&file, altered).unwrap();
    let age = Program::new("age").args(["--decrypt", "--identity"]).arg(dir.path().join("0-0")).arg(&file).run();
    assert!(age.expect(1).stderr.contains("bad header MAC"));
}
