//! `files/1` on real files.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocols::Verdict;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::node::{FAILING, Node, job};

fn mode(path: &std::path::Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn writes_files_directories_and_blobs_and_sees_drift() {
    let node = Node::new();
    let srv = node.root().join("srv");
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    let blob = node.blobs().put(&bytes);
    let entries = format!(
        r#""a.conf":{{"content":"hello\n","mode":"0640"}},"bin/tool":{{"blob":{{"hash":"{}","size":{}}},"mode":"4755"}},
           "d":{{"directory":true,"mode":"1777"}},"raw":{{"base64":"AP8="}},"not":{{"absent":true}}"#,
        blob.hash, blob.size
    );
    let report = node.play(&entries, 1, "{}").await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    assert_eq!(report.steps.len(), 4);
    assert_eq!(fs::read_to_string(srv.join("a.conf")).unwrap(), "hello\n");
    assert_eq!(fs::read(srv.join("bin/tool")).unwrap(), bytes);
    assert_eq!(fs::read(srv.join("raw")).unwrap(), [0, 255]);
    let modes = ["a.conf", "bin/tool", "bin", "d", "raw"].map(|name| mode(&srv.join(name)));
    assert_eq!(modes, [0o640, 0o4755, 0o755, 0o1777, 0o644]);
    assert_eq!(fs::read_dir(node.trials()).unwrap().count(), 0);

    let agent = node.agent();
    let same = job(&entries, 1, "{}");
    assert!(agent.plan(&same).await.unwrap().is_empty());
    fs::write(srv.join("a.conf"), "drift\n").unwrap();
    fs::set_permissions(srv.join("raw"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(srv.join("not"), "").unwrap();
    fs::set_permissions(srv.join("d"), fs::Permissions::from_mode(0o755)).unwrap();
    let plan = agent.plan(&same).await.unwrap();
    assert_eq!(plan.len(), 4, "{plan:?}");
    assert!(plan[0].starts_with("remove /srv/not (0 bytes"), "{plan:?}");
    assert!(plan[1].starts_with("set directory /srv/d (1777; was a directory, 0755"), "{plan:?}");
    assert_eq!(agent.play(&same, &node.stage).await.verdict, Verdict::Converged);
    assert!(agent.plan(&same).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_failed_check_brings_back_exactly_what_was_there() {
    let node = Node::new();
    let srv = node.root().join("srv");
    fs::create_dir_all(srv.join("full/below")).unwrap();
    fs::create_dir(srv.join("empty")).unwrap();
    fs::set_permissions(srv.join("empty"), fs::Permissions::from_mode(0o711)).unwrap();
    fs::write(srv.join("file"), "old").unwrap();
    fs::set_permissions(srv.join("file"), fs::Permissions::from_mode(0o4701)).unwrap();
    fs::write(srv.join("goes"), "old").unwrap();
    fs::write(srv.join("becomes-dir"), "old").unwrap();
    symlink("/nowhere/at all", srv.join("link")).unwrap();
    symlink("loop", srv.join("loop")).unwrap();
    let time = fs::metadata(srv.join("file")).unwrap().modified().unwrap() - Duration::from_secs(1000);
    fs::File::open(srv.join("file")).unwrap().set_modified(time).unwrap();
    let before = node.snapshot();

    let entries = r#""file":{"content":"new"},"goes":{"absent":true},"link":{"content":"new"},"loop":{"absent":true},
        "empty":{"absent":true},"full":{"directory":true,"mode":"0700"},"becomes-dir":{"directory":true},
        "becomes-dir/x":{"content":"new"},"new/deep/er":{"content":"new"}"#;
    let report = node.play(entries, 1, FAILING).await;
    assert_eq!(report.verdict, Verdict::Quarantined, "{report:?}");
    assert_eq!(report.message, "check `exec false` failed: exit status: 1; undone");
    assert_eq!(report.steps.len(), 10, "{report:?}");
    assert_eq!(node.snapshot(), before);
    assert_eq!(fs::metadata(srv.join("file")).unwrap().modified().unwrap(), time);

    let good = node.play(entries, 2, "{}").await;
    assert_eq!(good.verdict, Verdict::Converged, "{good:?}");
    assert_eq!(fs::read_to_string(srv.join("link")).unwrap(), "new");
    assert!(fs::symlink_metadata(srv.join("link")).unwrap().is_file());
    assert!(!srv.join("empty").exists() && fs::symlink_metadata(srv.join("loop")).is_err());
}

#[tokio::test]
async fn a_directory_that_is_not_empty_is_not_removed() {
    let node = Node::new();
    let srv = node.root().join("srv");
    fs::create_dir_all(srv.join("d")).unwrap();
    fs::write(srv.join("d/theirs"), "x").unwrap();
    let before = node.snapshot();
    let report = node.play(r#""d":{"absent":true},"a":{"content":""}"#, 1, "{}").await;
    assert_eq!(report.verdict, Verdict::Quarantined);
    assert!(report.message.contains("remove `/srv/d`: the directory is not empty; undone"), "{}", report.message);
    assert_eq!(node.snapshot(), before);
    let report = node.play(r#""d":{"content":"x"}"#, 2, "{}").await;
    assert_eq!(report.verdict, Verdict::Quarantined);
    assert_eq!(node.snapshot(), before);
}

#[tokio::test]
async fn no_symbolic_link_is_followed() {
    let node = Node::new();
    let outside = node.folder().join("outside");
    fs::create_dir(&outside).unwrap();
    let srv = node.root().join("srv");
    fs::create_dir(&srv).unwrap();
    symlink(&outside, srv.join("d")).unwrap();
    symlink("../etc", srv.join("inside")).unwrap();
    symlink(outside.join("target"), srv.join("file")).unwrap();
    let before = node.snapshot();
    for entry in [r#""d/x":{"content":"new"}"#, r#""inside/x":{"content":"new"}"#, r#""d/x":{"absent":true}"#] {
        let report = node.play(entry, 1, "{}").await;
        assert_eq!(report.verdict, Verdict::Refused, "{entry}: {report:?}");
        assert!(report.message.ends_with("is a symbolic link, which is not followed"), "{}", report.message);
    }
    assert_eq!(node.snapshot(), before);
    // A link in the place of the entry itself is replaced, and what it points to stays.
    assert_eq!(node.play(r#""file":{"content":"new"}"#, 2, "{}").await.verdict, Verdict::Converged);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);

    let node = Node::new();
    symlink(&outside, node.root().join("srv")).unwrap();
    let report = node.play(r#""x":{"content":"new"}"#, 1, "{}").await;
    assert_eq!(report.verdict, Verdict::Refused);
    assert_eq!(report.message, "observe the host: reach `/srv/x`: `/srv` is a symbolic link, which is not followed");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

/// A directory and a link to the outside change places all the time while files are written below that name.
#[tokio::test]
async fn swapping_a_directory_for_a_link_between_look_and_use_leads_nowhere() {
    let node = Node::new();
    let outside = node.folder().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("x"), "theirs").unwrap();
    let srv = node.root().join("srv");
    fs::create_dir_all(srv.join("d")).unwrap();
    symlink(&outside, srv.join("swap")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = {
        let (stop, srv) = (Arc::clone(&stop), srv.clone());
        std::thread::spawn(move || {
            let mut swaps = 0_u64;
            while !stop.load(Ordering::SeqCst) {
                renameat_with(CWD, srv.join("d"), CWD, srv.join("swap"), RenameFlags::EXCHANGE).unwrap();
                swaps += 1;
            }
            swaps
        })
    };
    let (mut good, mut bad) = (0, 0);
    let end = Instant::now() + Duration::from_secs(20);
    let mut generation = 0;
    while (good < 5 || bad < 5 || generation < 60) && Instant::now() < end {
        generation += 1;
        let entries = format!(r#""d/x":{{"content":"{generation}"}},"d/y":{{"content":"{generation}"}}"#);
        match node.play(&entries, generation, r#"{"attempts":1}"#).await.verdict {
            Verdict::Converged => good += 1,
            _ => bad += 1,
        }
        assert_eq!(fs::read_to_string(outside.join("x")).unwrap(), "theirs");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    }
    stop.store(true, Ordering::SeqCst);
    let swaps = swapper.join().unwrap();
    assert!(swaps > 100 && bad > 0, "{swaps} swaps, {good} good, {bad} refused: the race was not run");
}

#[tokio::test]
async fn a_pipe_or_socket_is_neither_read_nor_replaced() {
    let node = Node::new();
    let srv = node.root().join("srv");
    fs::create_dir(&srv).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(srv.join("s")).unwrap();
    rustix::fs::mkfifoat(CWD, srv.join("p"), rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    for entry in [r#""s":{"content":"new"}"#, r#""p":{"content":"new"}"#, r#""p":{"absent":true}"#] {
        let report = node.play(entry, 1, "{}").await;
        assert_eq!(report.verdict, Verdict::Refused, "{report:?}");
        assert!(report.message.contains("it is a device, a socket or a pipe"), "{}", report.message);
    }
    assert!(fs::symlink_metadata(srv.join("s")).unwrap().file_type().is_socket());
}

#[tokio::test]
async fn a_blob_that_is_missing_or_wrong_changes_nothing() {
    let node = Node::new();
    let before = node.snapshot();
    let entries = format!(r#""a":{{"content":"x"}},"b":{{"blob":{{"hash":"{}","size":3}}}}"#, "1".repeat(64));
    let report = node.play(&entries, 1, r#"{"attempts":1}"#).await;
    assert_eq!(report.verdict, Verdict::Failed, "{report:?}");
    assert!(report.message.contains("fetch the blob 1111111111 of 3 bytes: nobody who has it"), "{}", report.message);
    assert_eq!(node.snapshot(), before);

    let blob = node.blobs().put(b"good");
    for lie in [&b"evil"[..], b"goo", b"good and more"] {
        fs::write(node.blobs().0.join(blob.hash.to_string()), lie).unwrap();
        let entries = format!(r#""b":{{"blob":{{"hash":"{}","size":4}}}}"#, blob.hash);
        let report = node.play(&entries, 2, r#"{"attempts":1}"#).await;
        assert!(report.message.contains("its content is not what was declared"), "{report:?}");
        assert_eq!(node.snapshot(), before);
    }
}

#[tokio::test]
async fn owners_are_set_by_name_and_number_and_kept_where_nothing_is_said() {
    if !testkit::require("owners_are_set_by_name_and_number_and_kept_where_nothing_is_said", &[]) {
        return;
    }
    let node = Node::new();
    let srv = node.root().join("srv");
    fs::create_dir(&srv).unwrap();
    fs::write(srv.join("kept"), "old").unwrap();
    chown(srv.join("kept"), Some(77), Some(78)).unwrap();
    let entries = r#""named":{"content":"x","owner":"web","group":"staff","mode":"2750"},"kept":{"content":"new"},
        "number":{"content":"x","owner":"4000000000","group":"9"},"d":{"directory":true,"owner":"web"}"#;
    let before = node.snapshot();
    assert_eq!(node.play(entries, 1, FAILING).await.verdict, Verdict::Quarantined);
    assert_eq!(node.snapshot(), before);
    assert_eq!(node.play(entries, 2, "{}").await.verdict, Verdict::Converged);
    let owner = |name: &str| {
        let meta = fs::metadata(srv.join(name)).unwrap();
        (meta.uid(), meta.gid())
    };
    assert_eq!(owner("named"), (1234, 4321));
    assert_eq!(mode(&srv.join("named")), 0o2750);
    assert_eq!(owner("number"), (4_000_000_000, 9));
    assert_eq!(owner("kept"), (77, 78));
    assert_eq!(owner("d"), (1234, 0));
    chown(srv.join("d"), Some(5), None).unwrap();
    assert_eq!(node.agent().plan(&job(entries, 2, "{}")).await.unwrap().len(), 1);

    let report = node.play(r#""x":{"content":"","owner":"stranger"}"#, 3, r#"{"attempts":1}"#).await;
    assert_eq!(report.verdict, Verdict::Failed);
    assert!(report.message.contains("find the user `stranger`: this host has none"), "{}", report.message);
}

/// A small disk of its own, gone with the value.
struct Disk {
    temp: tempfile::TempDir,
    _unmount: testkit::Undo,
}

impl Disk {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("disk");
        fs::create_dir(&path).unwrap();
        let mut mount = std::process::Command::new("mount");
        assert!(mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&path).status().unwrap().success());
        let unmount = testkit::Undo::later(&format!("umount -l {}", path.display()));
        Self { temp, _unmount: unmount }
    }

    fn path(&self) -> std::path::PathBuf {
        self.temp.path().join("disk")
    }

    /// A node on it, with its trials there too or on another disk.
    fn node(&self, trials_too: bool) -> Node {
        if trials_too {
            let node = Node::at(&self.path());
            node.prepare();
            return node;
        }
        let node = Node::at(self.temp.path());
        symlink(self.path(), node.root()).unwrap();
        node.prepare();
        node
    }
}

/// The disk runs out at every stage in turn: while the undo is recorded, at each file, never.
#[tokio::test]
async fn a_disk_that_fills_up_half_way_is_put_back() {
    if !testkit::require("a_disk_that_fills_up_half_way_is_put_back", &["mount", "umount"]) {
        return;
    }
    for trials_too in [false, true] {
        let disk = Disk::new();
        let node = disk.node(trials_too);
        let srv = node.root().join("srv");
        fs::create_dir(&srv).unwrap();
        fs::write(srv.join("a"), vec![b'o'; 100_000]).unwrap();
        let before = node.snapshot();
        let text = "n".repeat(50_000);
        let files: Vec<String> = (0..4).map(|n| format!(r#""{n}":{{"content":"{text}"}}"#)).collect();
        let entries = format!(r#""a":{{"content":"{text}"}},{}"#, files.join(","));
        let filler = disk.path().join("filler");
        let mut failures = 0;
        for room in (0..=23).rev() {
            fs::write(&filler, vec![0; room * 40_000]).unwrap();
            let report = node.play(&entries, 1, r#"{"attempts":1}"#).await;
            fs::remove_file(&filler).unwrap();
            if report.verdict == Verdict::Converged {
                break;
            }
            assert_eq!(report.verdict, Verdict::Failed, "{report:?}");
            assert!(report.message.contains("No space left on device"), "{}", report.message);
            assert_eq!(node.snapshot(), before, "trials too: {trials_too}, {room}: {report:?}");
            assert_eq!(fs::read_dir(node.trials()).unwrap().count(), 0);
            failures += 1;
        }
        assert!(failures >= 3, "it ran out only {failures} times");
        assert_eq!(fs::read_to_string(srv.join("3")).unwrap(), text);
    }
}

/// Somebody else takes the last room before the change is undone.
#[tokio::test]
async fn a_disk_that_is_full_when_it_is_to_be_put_back_gets_the_old_file_in_the_room_of_the_new() {
    const NAME: &str = "a_disk_that_is_full_when_it_is_to_be_put_back_gets_the_old_file_in_the_room_of_the_new";
    if !testkit::require(NAME, &["mount", "umount"]) {
        return;
    }
    let disk = Disk::new();
    let node = disk.node(false);
    fs::create_dir(node.root().join("srv")).unwrap();
    fs::write(node.root().join("srv/a"), vec![b'o'; 50_000]).unwrap();
    let before = node.snapshot();
    let filler = disk.path().join("filler");
    let script = format!("head -c 2000000 /dev/zero > {}; exit 1", filler.display());
    let policy =
        serde_json::json!({ "checks": [{ "type": "exec", "command": ["sh", "-c", script] }], "check_seconds": 1 });
    let entries = format!(r#""a":{{"content":"{}"}}"#, "n".repeat(60_000));
    let report = node.play(&entries, 1, &policy.to_string()).await;
    assert_eq!(report.verdict, Verdict::Quarantined, "{report:?}");
    fs::remove_file(&filler).unwrap();
    assert_eq!(node.snapshot(), before);
}

#[tokio::test]
async fn what_others_put_into_a_new_directory_stays_when_it_is_undone() {
    let node = Node::new();
    let theirs = node.root().join("srv/new/theirs");
    let command = format!(r#"{{"type":"exec","command":["sh","-c","echo x > {}; exit 1"]}}"#, theirs.display());
    let report =
        node.play(r#""new/ours":{"content":"x"}"#, 1, &format!(r#"{{"checks":[{command}],"check_seconds":1}}"#)).await;
    assert_eq!(report.verdict, Verdict::Quarantined, "{report:?}");
    assert!(theirs.exists() && !node.root().join("srv/new/ours").exists());
}
