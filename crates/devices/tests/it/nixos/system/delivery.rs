//! How closures come: only what is missing, only what is signed, and through the store's own checks.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use devices::nixos::{Nix, PublishError, publish};
use protocols::{BlobRef, SecretKey, Verdict};
use scores::nixos::{Manifest, NarHash, NixosScore, PathInfo, StorePath, TrustedKey};
use testkit::closure::System;

use super::sandbox::{Sandbox, block_on, booting, on_each_nix, profile, running, sh, valid};

on_each_nix!(an_update_brings_only_what_is_missing, |sandbox| {
    sandbox.install(&System::new(1));
    let (score, made) = sandbox.publish(&System::new(2));
    assert_eq!(made.stats.paths, made.stats.packed);
    // All but the one that is made from its content.
    assert_eq!(made.stats.signed, made.stats.paths - 1);
    let again = sandbox.publish_path(&score.toplevel).1;
    assert_eq!((again.stats.packed, again.manifest), (0, made.manifest.clone()));
    // The next system shares most of its closure, and so most of its packed archives.
    let next = sandbox.publish(&System::new(3)).1;
    assert!(next.stats.packed < next.stats.paths, "{:?}", next.stats);

    let agent = sandbox.agent();
    let report = agent.play(&score, sandbox.next());
    assert_eq!(report.verdict, Verdict::Converged, "{}", report.message);
    let all = (running(), profile(), booting());
    assert_eq!(all, (score.toplevel.clone(), score.toplevel.clone(), score.toplevel.clone()));
    let asked = agent.blobs.asked.lock().unwrap().len();
    assert!(asked < made.nars.len() && asked >= 4, "{asked} of {}", made.nars.len());
    // The store keeps the signatures, so that it can prove to others what it has.
    let facts = block_on(Nix::default().facts(std::slice::from_ref(&score.toplevel))).unwrap();
    assert!(facts[0].signatures.iter().any(|signature| signature.starts_with("flt-")), "{facts:?}");

    let report = agent.play(&score, sandbox.next());
    assert_eq!((report.verdict, report.steps), (Verdict::Converged, Vec::new()));
});

on_each_nix!(unsigned_path_is_refused, |sandbox| {
    let old = sandbox.install(&System::new(1));
    let score = forge(sandbox, |infos| app(infos).signatures.clear());
    refused(sandbox, &score, &old, "is not signed by a key that may publish");
    // The store itself refuses it too, whatever it was told about signatures.
    let forged = manifest(sandbox, &score);
    let cache = lay_out(sandbox, &forged);
    let keys = [TrustedKey::of_node(sandbox.key.id())];
    let nix = Nix { home: Some(sandbox.dir.join("home")), ..Nix::default() };
    sh("mkdir -p /root/.config/nix && echo 'require-sigs = false' >/root/.config/nix/nix.conf");
    sh("mkdir -p /etc/nix && echo 'require-sigs = false' >>/etc/nix/nix.conf");
    let imported = block_on(nix.import(&cache, &score.toplevel, &keys, Duration::from_secs(60)));
    assert!(imported.is_err(), "Nix imported an unsigned path");
    assert!(!valid(&score.toplevel));
});

on_each_nix!(a_path_signed_by_another_key_is_refused, |sandbox| {
    let old = sandbox.install(&System::new(1));
    let (score, _) = sandbox.publish(&System::new(2));
    let mut agent = sandbox.agent();
    agent.trust(vec![TrustedKey::of_node(SecretKey::from_seed(&[9; 32]).id())]);
    let report = agent.play(&score, sandbox.next());
    assert_eq!(report.verdict, Verdict::Quarantined, "{}", report.message);
    assert!(report.message.contains("is not signed by"), "{}", report.message);
    assert_eq!(running(), old);
    assert!(!valid(&score.toplevel));
    // The same key under the admin's name.
    let name = TrustedKey::of_node(sandbox.key.id()).name().to_owned();
    let other = TrustedKey::of_node(SecretKey::from_seed(&[9; 32]).id()).to_string();
    let disguised = format!("{name}:{}", other.split_once(':').unwrap().1);
    agent.trust(vec![disguised.parse().unwrap()]);
    let report = agent.play(&score, sandbox.next());
    assert_eq!(report.verdict, Verdict::Quarantined, "{}", report.message);
    assert_eq!(running(), old);
});

on_each_nix!(tampered_metadata_is_refused, |sandbox| {
    let old = sandbox.install(&System::new(1));
    for change in [
        (|info: &mut PathInfo| info.nar_hash = NarHash::from_bytes([5; 32])) as fn(&mut PathInfo),
        |info| info.nar_size += 1,
        |info| info.references.retain(|path| path.name() != "lib-0"),
    ] {
        let score = forge(sandbox, |infos| {
            // Other libraries refer to the first one too, so the closure stays whole.
            change(app(infos));
        });
        let report = sandbox.agent().play(&score, sandbox.next());
        assert_eq!(report.verdict, Verdict::Quarantined, "{}", report.message);
        assert_eq!(running(), old);
        assert!(!valid(&score.toplevel));
    }
    // A path that claims to be made from its content needs no signature, so the claim must hold.
    let score = forge(sandbox, |infos| {
        app(infos).signatures.clear();
        app(infos).ca = Some("fixed:r:sha256:08jhv9xdgvvyml9sfx1yjdmq3hpwzxa4nf841fvv2r6wikkqyvsy".into());
    });
    refused(sandbox, &score, &old, "is not what its content address says");
});

on_each_nix!(a_tampered_archive_is_refused, |sandbox| {
    let old = sandbox.install(&System::new(1));
    for (what, change) in [
        ("its hash is", (|nar: &mut Vec<u8>| *nar.last_mut().unwrap() ^= 1) as fn(&mut Vec<u8>)),
        ("is larger than", |nar| nar.extend([0; 4096])),
        ("bytes smaller than", |nar| nar.truncate(nar.len() - 8)),
    ] {
        let blobs = sandbox.blobs.clone();
        let score = forge(sandbox, |infos| {
            let info = app(infos);
            let mut nar = zstd::decode_all(&*blobs.get(&info.nar_zst)).unwrap();
            change(&mut nar);
            info.nar_zst = blobs.add(&zstd::encode_all(&*nar, 1).unwrap());
        });
        refused(sandbox, &score, &old, what);
    }
    let blobs = sandbox.blobs.clone();
    let score = forge(sandbox, |infos| {
        let info = app(infos);
        info.nar_zst = blobs.add(b"this is no zstd frame at all");
    });
    refused(sandbox, &score, &old, "is not the one that was signed");
    // Nix refuses them as well: its own check of the archive against the signed hash.
    let score = forge(sandbox, |infos| {
        let info = app(infos);
        let mut nar = zstd::decode_all(&*blobs.get(&info.nar_zst)).unwrap();
        *nar.last_mut().unwrap() ^= 1;
        info.nar_zst = blobs.add(&zstd::encode_all(&*nar, 1).unwrap());
    });
    let cache = lay_out(sandbox, &manifest(sandbox, &score));
    let keys = [TrustedKey::of_node(sandbox.key.id())];
    let imported = block_on(Nix::default().import(&cache, &score.toplevel, &keys, Duration::from_secs(60)));
    assert!(imported.is_err(), "Nix imported a tampered archive");
    assert!(!valid(&score.toplevel));
});

on_each_nix!(a_manifest_that_names_other_paths_is_refused, |sandbox| {
    let old = sandbox.install(&System::new(1));
    let (score, made) = sandbox.publish(&System::new(2));
    let other = manifest(sandbox, &sandbox.publish(&System::new(3)).0);
    let mut value: serde_json::Value = serde_json::from_slice(&made.manifest).unwrap();
    let foreign = other.paths().iter().find(|info| info.path.name() == "app-3").unwrap();
    value["paths"].as_array_mut().unwrap().push(serde_json::to_value(foreign).unwrap());
    let paths = value["paths"].as_array_mut().unwrap();
    paths.sort_by_key(|info| info["path"].as_str().unwrap().to_owned());
    let riding = NixosScore::new(score.toplevel.clone(), sandbox.blobs.add(value.to_string().as_bytes()));
    refused(sandbox, &riding, &old, "is not part of the system's closure");
    assert!(!valid(&foreign.path));
    // Another system's manifest.
    let swapped = NixosScore::new(score.toplevel.clone(), sandbox.blobs.add(&other.to_bytes()));
    refused(sandbox, &swapped, &old, "and the score names");
    let holed = NixosScore::new(score.toplevel, sandbox.blobs.add(b"{\"schema\":"));
    refused(sandbox, &holed, &old, "cannot be read");
});

on_each_nix!(what_cannot_be_published_is_said, |sandbox| {
    let path = sandbox.build(&System::new(1));
    let cache = sandbox.dir.join("cache");
    let publish = |path: &StorePath, cache: &Path| {
        let nix = Nix { home: Some(sandbox.dir.join("home")), ..Nix::default() };
        sandbox.at_admin(|| block_on(publish(&nix, path, &sandbox.key, cache, |_| {})).map(|made| made.stats))
    };
    let absent: StorePath = "/nix/store/00000000000000000000000000000000-nothing".parse().unwrap();
    assert!(matches!(publish(&absent, &cache), Err(PublishError::Missing { .. })));
    sandbox.at_admin(|| sh(&format!("mkdir {absent}")));
    assert!(matches!(publish(&absent, &cache), Err(PublishError::NotValid { .. })));
    let manifest = sandbox.publish_path(&path).1.manifest;
    let manifest = Manifest::parse(&manifest, &path).unwrap();
    let library = &manifest.paths().iter().find(|info| info.path.name() == "lib-0").unwrap().path;
    assert!(matches!(publish(library, &cache), Err(PublishError::NotASystem { .. })));
    // A full disk, and then room: what was packed is kept.
    let full = sandbox.dir.join("full");
    sh(&format!("mkdir -p {0} && mount -t tmpfs -o size=128k tmpfs {0}", full.display()));
    let error = publish(&path, &full).unwrap_err();
    assert!(matches!(&error, PublishError::Pack { .. }), "{error:?}");
    assert!(scores::chain(&error).contains("No space left"), "{}", scores::chain(&error));
    sh(&format!("mount -o remount,size=16m {}", full.display()));
    let stats = publish(&path, &full).unwrap();
    assert!(stats.packed < stats.paths, "{stats:?}");
    // Content that was changed in the store.
    sandbox.at_admin(|| sh(&format!("chmod u+w {library}/lib {library}/lib/data; echo x >>{library}/lib/data")));
    let error = publish(&path, &sandbox.dir.join("fresh")).unwrap_err();
    assert!(scores::chain(&error).contains("its content was changed"), "{}", scores::chain(&error));
});

on_each_nix!(a_delivery_that_breaks_off_leaves_nothing_and_goes_on_later, |sandbox| {
    let old = sandbox.install(&System::new(1));
    let (score, _) = sandbox.publish(&System::new(2));
    let agent = sandbox.agent();
    agent.blobs.fail_after.store(3, Ordering::SeqCst);
    let report = agent.play(&score, sandbox.next());
    assert_eq!(report.verdict, Verdict::Failed, "{}", report.message);
    assert!(report.message.contains("nobody has it"), "{}", report.message);
    assert_eq!(running(), old);
    let left = sh("ls -A /nix/var/nix/gcroots/flotilla");
    assert_eq!(left.trim(), "confirmed", "roots after a failed delivery");
    assert_eq!(sh(&format!("ls -A {}/state/imports 2>/dev/null || :", sandbox.dir.display())), "");
    // Half a closure in the store, as a crash in an import leaves it: the collector takes it, or the next delivery uses it.
    let half = manifest(sandbox, &score);
    let cache = lay_out(sandbox, &half);
    let app = &half.paths().iter().find(|info| info.path.name() == "app-2").unwrap().path;
    let keys = [TrustedKey::of_node(sandbox.key.id())];
    let import = || block_on(Nix::default().import(&cache, app, &keys, Duration::from_secs(60))).unwrap();
    import();
    assert!(valid(app));
    sh("nix-store --gc >/dev/null 2>&1");
    assert!(!valid(app), "half a closure is held");
    import();
    agent.blobs.fail_after.store(usize::MAX, Ordering::SeqCst);
    let report = agent.play(&score, sandbox.next());
    assert_eq!(report.verdict, Verdict::Converged, "{}", report.message);
    assert_eq!(running(), score.toplevel);
});

on_each_nix!(the_collector_takes_nothing_that_is_needed, |sandbox| {
    let old = sandbox.install(&System::new(1));
    // It runs while the new system is activated: the candidate and the way back must both stay.
    let (score, _) = sandbox.publish(&System { hook: "nix-store --gc >/dev/null 2>&1".into(), ..System::new(2) });
    let agent = sandbox.agent();
    agent.set_unhealthy(Some("g2"));
    let report = agent.play(&score, sandbox.next());
    assert_eq!(report.verdict, Verdict::Quarantined, "{}", report.message);
    assert!(report.message.contains("this system is not healthy"), "{}", report.message);
    assert_eq!(running(), old);
    sh("nix-store --gc >/dev/null 2>&1");
    assert!(valid(&old) && !valid(&score.toplevel), "a refused system is not kept");
    agent.set_unhealthy(None);
    let report = agent.play(&score, sandbox.next());
    assert_eq!(report.verdict, Verdict::Converged, "{}", report.message);
    sh("rm -f /nix/var/nix/profiles/system-1-link; nix-store --gc >/dev/null 2>&1");
    assert!(valid(&score.toplevel) && valid(&old), "the confirmed and the previous system are kept");
});

on_each_nix!(a_full_disk_is_told_and_passes, |sandbox| {
    sandbox.install(&System::new(1));
    let (score, made) = sandbox.publish(&System { app_kib: 48 * 1024, ..System::new(2) });
    sh(&format!(
        "mkdir {0}/small && mount -t tmpfs -o size=64m tmpfs {0}/small && cp -a /nix/. {0}/small/",
        sandbox.dir.display()
    ));
    sh(&format!("mount --bind {}/small /nix", sandbox.dir.display()));
    let agent = sandbox.agent();
    let before = running();
    let report = agent.play(&score, sandbox.next());
    assert_eq!(report.verdict, Verdict::Failed, "{}", report.message);
    assert!(report.message.contains("bytes are needed for"), "{}", report.message);
    assert_eq!(agent.blobs.asked.lock().unwrap().len(), 1, "only the manifest was fetched");
    assert_eq!(running(), before);
    // Full without our having foreseen it: Nix itself runs out of room.
    let cache = lay_out(sandbox, &Manifest::parse(&made.manifest, &score.toplevel).unwrap());
    sh("dd if=/dev/zero of=/nix/ballast bs=1M count=24 2>/dev/null");
    let keys = [TrustedKey::of_node(sandbox.key.id())];
    let imported = block_on(Nix::default().import(&cache, &score.toplevel, &keys, Duration::from_secs(60)));
    assert!(imported.is_err() && !valid(&score.toplevel));
    sh(&format!("rm /nix/ballast; mount -o remount,size=512m {}/small", sandbox.dir.display()));
    let report = agent.play(&score, sandbox.next());
    assert_eq!(report.verdict, Verdict::Converged, "{}", report.message);
});

on_each_nix!(a_closure_comes_in_through_the_daemon, |sandbox| {
    sandbox.install(&System::new(1));
    let (score, _) = sandbox.publish(&System::new(2));
    let forged = forge(sandbox, |infos| app(infos).signatures.clear());
    sh("mkdir -p /nix/var/nix/daemon-socket");
    // With this set, a daemon that was not told to be local asks itself, without end.
    let mut daemon = Command::new("sh")
        .args(["-c", "ulimit -u 300; NIX_REMOTE=local exec nix-daemon >/dev/null 2>&1"])
        .spawn()
        .unwrap();
    testkit::until("the daemon listens", testkit::DEADLINE, || Path::new("/nix/var/nix/daemon-socket/socket").exists());
    let mut agent = sandbox.agent();
    agent.store = "daemon";
    // What is checked here before Nix is asked matters: an old daemon takes what a trusted user hands it.
    let report = agent.play(&forged, sandbox.next());
    assert_eq!(report.verdict, Verdict::Quarantined, "{}", report.message);
    assert!(report.message.contains("is not signed by") && !valid(&score.toplevel), "{}", report.message);
    let report = agent.play(&score, sandbox.next());
    assert_eq!(report.verdict, Verdict::Converged, "{}", report.message);
    assert_eq!((running(), profile()), (score.toplevel.clone(), score.toplevel));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
});

/// The path that the node does not have in any case.
fn app(infos: &mut [PathInfo]) -> &mut PathInfo {
    infos.iter_mut().find(|info| info.path.name() == "app-2").unwrap()
}

/// The manifest of a score, from the blob store.
fn manifest(sandbox: &Sandbox, score: &NixosScore) -> Manifest {
    Manifest::parse(&sandbox.blobs.get(&score.manifest), &score.toplevel).unwrap()
}

/// A manifest with something changed after it was signed.
fn forge_of(sandbox: &Sandbox, score: &NixosScore, change: impl FnOnce(&mut Vec<PathInfo>)) -> Manifest {
    let mut infos = manifest(sandbox, score).paths().to_vec();
    change(&mut infos);
    Manifest::new(score.toplevel.clone(), infos).unwrap()
}

/// A score of system 2 with such a manifest.
fn forge(sandbox: &Sandbox, change: impl FnOnce(&mut Vec<PathInfo>)) -> NixosScore {
    let (score, _) = sandbox.publish(&System::new(2));
    let forged: BlobRef = sandbox.blobs.add(&forge_of(sandbox, &score, change).to_bytes());
    NixosScore::new(score.toplevel, forged)
}

/// Plays a score that must be refused without a trace.
fn refused(sandbox: &mut Sandbox, score: &NixosScore, old: &StorePath, why: &str) {
    let report = sandbox.agent().play(score, sandbox.next());
    assert_eq!(report.verdict, Verdict::Quarantined, "{}", report.message);
    assert!(report.message.contains(why), "`{why}` is not in `{}`", report.message);
    assert_eq!((running(), profile()), (old.clone(), old.clone()));
    assert!(!valid(&score.toplevel));
    assert_eq!(sh("ls -A /nix/var/nix/gcroots/flotilla").trim(), "confirmed");
}

/// A binary cache with what a manifest says, unchecked.
fn lay_out(sandbox: &Sandbox, manifest: &Manifest) -> std::path::PathBuf {
    let cache = tempfile::Builder::new().prefix("cache-").tempdir_in(&sandbox.dir).unwrap().keep();
    std::fs::create_dir(cache.join("nar")).unwrap();
    std::fs::write(cache.join("nix-cache-info"), "StoreDir: /nix/store\n").unwrap();
    for info in manifest.paths() {
        let name = format!("nar/{}.nar.zst", info.path.hash_part());
        std::fs::write(cache.join(format!("{}.narinfo", info.path.hash_part())), info.narinfo(&name)).unwrap();
        std::fs::write(cache.join(&name), sandbox.blobs.get(&info.nar_zst)).unwrap();
    }
    cache
}
