//! Strangers get nothing, old algorithms are used only as declared, and secrets go nowhere.

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use protocols::SecretValue;
use scores::switch::Switch;
use switches::{Device, HostKey};
use switchsim::{Algorithms, Auth, Profile};

use crate::bed::{Bed, declaration, file};

fn told(error: &(dyn std::error::Error + 'static)) -> String {
    scores::chain(error)
}

#[tokio::test]
async fn a_stranger_is_refused_before_anything_is_sent() {
    let bed = Bed::new(Profile::fastiron_8030()).await;
    let mut wrong = declaration(&bed.sim, &bed.dir);
    wrong.host_key = HostKey::Fingerprint(format!("SHA256:{}", "A".repeat(43)));
    let device = Device::new(wrong, bed.dir.path().join("s")).unwrap();
    let error = device.read().await.unwrap_err();
    assert!(!error.is_transient());
    let text = told(&error);
    assert!(text.contains(bed.sim.fingerprint()) && text.contains("nothing was sent"), "{text}");
    assert_eq!(bed.sim.logins(), 0);
}

#[tokio::test]
async fn known_hosts_are_believed_only_for_the_key_they_hold() {
    let bed = Bed::new(Profile::fastiron_8030()).await;
    let (host, port) = (bed.sim.addr().ip(), bed.sim.addr().port());
    let with = async |text: String| {
        let mut declared = declaration(&bed.sim, &bed.dir);
        declared.host_key = HostKey::KnownHosts(file(&bed.dir, "known_hosts", &text));
        let device = Device::new(declared, bed.dir.path().join("s")).unwrap();
        device.read().await.map(drop).map_err(|error| told(&error))
    };
    let ours = host_key(&bed).await;
    with(format!("[{host}]:{port} {ours}\n")).await.unwrap();
    let logins = bed.sim.logins();
    let none =
        with("[10.0.0.1]:22 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n".into());
    assert!(none.await.unwrap_err().contains("has none for it"));
    let key = russh::keys::PrivateKey::random(&mut UnwrapErr(SysRng), russh::keys::Algorithm::Ed25519).unwrap();
    let other = key.public_key().to_openssh().unwrap();
    let changed = with(format!("[{host}]:{port} {other}\n")).await.unwrap_err();
    assert!(changed.contains("line 1 of"), "{changed}");
    // Known by a key of another type alone: a stranger may not pass by offering a type that nobody wrote down.
    let curve = russh::keys::Algorithm::Ecdsa { curve: russh::keys::EcdsaCurve::NistP256 };
    let ecdsa = russh::keys::PrivateKey::random(&mut UnwrapErr(SysRng), curve).unwrap();
    let text = format!("[{host}]:{port} {}\n", ecdsa.public_key().to_openssh().unwrap());
    let other_type = with(text).await.unwrap_err();
    assert!(other_type.contains("knows it only by ecdsa-sha2-nistp256"), "{other_type}");
    let missing = async {
        let mut declared = declaration(&bed.sim, &bed.dir);
        declared.host_key = HostKey::KnownHosts(bed.dir.path().join("nowhere"));
        Device::new(declared, bed.dir.path().join("s")).unwrap().read().await.unwrap_err()
    };
    assert!(!missing.await.is_transient());
    assert_eq!(bed.sim.logins(), logins, "none of them was told a password");
}

#[tokio::test]
async fn wrong_passwords_are_said_once_and_never_told() {
    for auth in [Auth::Password, Auth::KeyboardInteractive] {
        let bed = Bed::new(Profile::fastiron_8030().auth(auth)).await;
        bed.device.read().await.unwrap();
        let mut wrong = declaration(&bed.sim, &bed.dir);
        wrong.password_file = Some(file(&bed.dir, "wrong", "hunter22\n"));
        let device = Device::new(wrong.clone(), bed.dir.path().join("s")).unwrap();
        let error = device.read().await.unwrap_err();
        assert!(!error.is_transient());
        let text = format!("{} {error:?} {device:?} {wrong:?}", told(&error));
        assert!(text.contains("log in as \"admin\"") && !text.contains("hunter22"), "{text}");
    }
    let bed = Bed::new(Profile::fastiron_8030()).await;
    let mut wrong = declaration(&bed.sim, &bed.dir);
    wrong.enable_password_file = Some(file(&bed.dir, "wrong", "hunter22\n"));
    let error = Device::new(wrong, bed.dir.path().join("s")).unwrap().read().await.unwrap_err();
    let text = format!("{} {error:?}", told(&error));
    assert!(text.contains("Incorrect username or password") && !text.contains("hunter22"), "{text}");
}

#[tokio::test]
async fn a_key_lets_in_and_another_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut keys = Vec::new();
    for name in ["right", "wrong"] {
        let key = russh::keys::PrivateKey::random(&mut UnwrapErr(SysRng), russh::keys::Algorithm::Ed25519).unwrap();
        let text = key.to_openssh(russh::keys::ssh_key::LineEnding::LF).unwrap();
        keys.push((file(&dir, name, &text), key.public_key().to_openssh().unwrap()));
    }
    let bed = Bed::new(Profile::fastiron_8030().auth(Auth::PublicKey(keys[0].1.clone()))).await;
    for (at, good) in [(0, true), (1, false)] {
        let mut declared = declaration(&bed.sim, &bed.dir);
        declared.password_file = None;
        declared.key_file = Some(keys[at].0.clone());
        let device = Device::new(declared, bed.dir.path().join("s")).unwrap();
        assert_eq!(device.read().await.is_ok(), good);
    }
}

#[tokio::test]
async fn old_algorithms_are_used_only_as_declared() {
    let named = |kex: &str, key: &str, cipher: &str, mac: &str| Algorithms::Named {
        kex: vec![kex.to_owned()],
        key: vec![key.to_owned()],
        cipher: vec![cipher.to_owned()],
        mac: vec![mac.to_owned()],
    };
    let old = [
        named("diffie-hellman-group1-sha1", "ssh-rsa", "3des-cbc", "hmac-sha1"),
        named("diffie-hellman-group14-sha1", "ssh-rsa", "aes128-cbc", "hmac-sha1"),
        named("ecdh-sha2-nistp256", "rsa-sha2-256", "aes256-cbc", "hmac-sha2-256"),
    ];
    for algorithms in old {
        let bed = Bed::new(Profile::fastiron_8030().algorithms(algorithms.clone())).await;
        // Each refusal names what the device offers and the declaration may allow; allowing that leads to the next.
        let mut declared = declaration(&bed.sim, &bed.dir);
        let mut rungs = 0;
        loop {
            let device = Device::new(declared.clone(), bed.dir.path().join("s")).unwrap();
            let Err(error) = device.read().await else { break };
            let text = told(&error);
            assert_eq!(bed.sim.logins(), 0, "{text}");
            let (_, hint) =
                text.split_once("`legacy` in its declaration may allow ").unwrap_or_else(|| panic!("{text}"));
            declared.legacy.push(hint.split(" or ").next().unwrap().to_owned());
            rungs += 1;
            assert!(rungs <= 4, "{text}");
        }
        assert!(rungs >= 2, "{algorithms:?}");
        let probe = switches::probe(&declared).await.unwrap();
        assert!(declared.legacy.iter().all(|name| probe.algorithms.contains(name)), "{:?}", probe.algorithms);
    }
}

#[tokio::test]
async fn a_device_that_is_away_may_come_back() {
    let bed = Bed::new(Profile::fastiron_8030()).await;
    let mut away = declaration(&bed.sim, &bed.dir);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    away.port = closed.local_addr().unwrap().port();
    drop(closed);
    let error = Device::new(away, bed.dir.path().join("s")).unwrap().read().await.unwrap_err();
    assert!(error.is_transient(), "{}", told(&error));
}

#[test]
fn declarations_are_checked_and_hold_no_secrets() {
    let text = r#"
        name = "rack-3"
        host = "10.0.0.3"
        user = "flotilla"
        password_file = "/run/secrets/rack-3"
        legacy = ["diffie-hellman-group14-sha1", "ssh-rsa"]
        [host_key]
        fingerprint = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "#;
    let good: switches::Declaration = toml::from_str(text).unwrap();
    good.check().unwrap();
    assert_eq!(good.port, 22);
    let bad = |change: fn(&mut switches::Declaration)| {
        let mut declared = good.clone();
        change(&mut declared);
        declared.check().unwrap_err()
    };
    assert!(bad(|d| d.legacy = vec!["arcfour".into()]).contains("arcfour"));
    assert!(bad(|d| d.host = "a b".into()).contains("host"));
    assert!(bad(|d| d.password_file = None).contains("key_file"));
    assert!(bad(|d| d.host_key = HostKey::Fingerprint("MD5:aa".into())).contains("SHA256"));
    assert_eq!(format!("{:?}", SecretValue::from(b"x".to_vec())), "SecretValue(…)");
}

/// Writes down the host key of whoever answers, in the form of `known_hosts`.
struct Scribe(std::sync::Arc<std::sync::Mutex<String>>);

impl russh::client::Handler for Scribe {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &russh::keys::PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        if let russh::keys::PublicKeyOrCertificate::PublicKey { key, .. } = key {
            *self.0.lock().unwrap() = key.to_openssh().unwrap();
        }
        Ok(false)
    }
}

async fn host_key(bed: &Bed) -> String {
    let key = std::sync::Arc::default();
    let scribe = Scribe(std::sync::Arc::clone(&key));
    let refused = russh::client::connect(std::sync::Arc::default(), bed.sim.addr(), scribe).await;
    assert!(refused.is_err());
    key.lock().unwrap().clone()
}
