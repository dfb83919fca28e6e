//! Artifacts: what is fetched is what was asked for, from whoever has it, whatever dies meanwhile.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::Connection;
use iroh::protocol::{AcceptError, ProtocolHandler, Router};
use mesh::blobs::{AddError, BLOBS_ALPN, BlobConfig, ExportError, FetchError, NoRoom};
use mesh::{BlobPlane, Mesh, MeshBuilder};
use protocols::{BlobHash, BlobRef, NodeId, PeerAddr};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::support::{SOON, bare_endpoint, config, node};

fn small(dir: &Path) -> BlobConfig {
    BlobConfig { reserve: 1 << 20, idle: Duration::from_secs(3), ..BlobConfig::new(dir) }
}

async fn blob_node() -> (Mesh, BlobPlane, TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let plane = BlobPlane::open(small(dir.path())).await.expect("opened");
    let mesh = MeshBuilder::bind(config()).await.expect("bound").blobs(&plane).start();
    (mesh, plane, dir)
}

/// Bytes that do not compress and differ everywhere.
fn noise(len: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut bytes);
    bytes
}

fn quiet() -> watch::Sender<u64> {
    watch::Sender::new(0)
}

#[tokio::test]
async fn what_goes_in_comes_out() {
    let (mesh, plane, dir) = blob_node().await;
    let content = noise(3_000_001, 1);
    let file = dir.path().join("in");
    std::fs::write(&file, &content).expect("written");
    let blob = plane.add_file(&file).await.expect("added");
    assert_eq!(blob.size, 3_000_001);
    assert_eq!(blob.hash.as_bytes(), blake3::hash(&content).as_bytes());
    assert_eq!(plane.add_bytes(content.clone()).await.expect("added"), blob);
    assert_eq!(plane.add_reader(content.as_slice()).await.expect("added"), blob);
    assert!(plane.has(&blob).await);

    let out = dir.path().join("out");
    std::fs::write(&out, "old").expect("written");
    plane.export(&blob, &out).await.expect("exported");
    assert!(std::fs::read(&out).expect("read") == content);
    assert!(plane.read(&blob, 4_000_000).await.expect("read") == content);
    assert!(matches!(plane.read(&blob, 1000).await, Err(ExportError::TooLarge { .. })));
    let mut read = Vec::new();
    plane.reader(&blob).await.expect("open").read_to_end(&mut read).await.expect("read");
    assert!(read == content);

    let empty = plane.add_bytes(Vec::new()).await.expect("added");
    plane.export(&empty, &out).await.expect("exported");
    assert_eq!(std::fs::read(&out).expect("read"), b"");

    let missing = BlobRef { hash: BlobHash::from_bytes([9; 32]), size: 1 };
    assert!(matches!(plane.export(&missing, &out).await, Err(ExportError::Missing { .. })));
    assert!(matches!(plane.export(&blob, &dir.path().join("no/such")).await, Err(ExportError::Write { .. })));
    assert!(matches!(plane.add_file(&dir.path().join("none")).await, Err(AddError::Read { .. })));
    let wrong = BlobRef { size: 5, ..blob };
    assert!(matches!(plane.read(&wrong, 10).await, Err(ExportError::OtherSize { .. })));
    let parts = std::fs::read_dir(dir.path()).expect("listed").filter_map(Result::ok);
    assert!(parts.filter(|e| e.file_name().to_string_lossy().ends_with(".part")).count() == 0);
    mesh.close().await;
    plane.shutdown().await;
}

#[tokio::test]
async fn a_blob_is_fetched_once_and_verified() {
    let (server, theirs, _a) = blob_node().await;
    let (client, mine, _b) = blob_node().await;
    client.learn(server.addr());
    let content = noise(1_234_567, 2);
    let blob = theirs.add_bytes(content.clone()).await.expect("added");
    let progress = quiet();
    let report = mine.fetch(&client, &blob, &[server.id()], &progress).await.expect("fetched");
    assert!(report.bytes_moved >= blob.size && report.bytes_moved < blob.size * 102 / 100 + 1000, "{report:?}");
    assert_eq!(report.from.len(), 1);
    assert_eq!(*progress.borrow(), blob.size);
    assert!(mine.read(&blob, 2_000_000).await.expect("read") == content);
    let again = mine.fetch(&client, &blob, &[], &quiet()).await.expect("it is here");
    assert_eq!(again.bytes_moved, 0);
    let other = BlobRef { hash: BlobHash::from_bytes([7; 32]), size: 100 };
    assert!(matches!(mine.fetch(&client, &other, &[], &quiet()).await, Err(FetchError::NoProvider { .. })));
    let failed = mine.fetch(&client, &other, &[server.id()], &quiet()).await.expect_err("they do not have it");
    assert!(matches!(failed, FetchError::Providers { .. }), "{failed}");
    let wrong = BlobRef { size: 5, ..blob };
    assert!(matches!(mine.fetch(&client, &wrong, &[server.id()], &quiet()).await, Err(FetchError::OtherSize { .. })));
    // Two at once: one of them moves it.
    let second = theirs.add_bytes(noise(2_000_000, 3)).await.expect("added");
    let (one, two) = (quiet(), quiet());
    let provider = [server.id()];
    let (one, two) =
        tokio::join!(mine.fetch(&client, &second, &provider, &one), mine.fetch(&client, &second, &provider, &two));
    let moved = [one.expect("fetched").bytes_moved, two.expect("fetched").bytes_moved];
    assert!(moved.contains(&0), "{moved:?}");
    client.close().await;
    server.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_blob_comes_from_several_and_outlives_one() {
    let (client, mine, _dir) = blob_node().await;
    let content = noise(24 << 20, 4);
    let mut servers = Vec::new();
    let mut blob = None;
    for _ in 0..3 {
        let (server, plane, dir) = blob_node().await;
        blob = Some(plane.add_bytes(content.clone()).await.expect("added"));
        client.learn(server.addr());
        servers.push((server, plane, dir));
    }
    let blob = blob.expect("added");
    let mut ids: Vec<_> = servers.iter().map(|(s, ..)| s.id()).collect();
    // One that does not have it, and one that does not exist.
    let (ignorant, _theirs, _ignorant_dir) = blob_node().await;
    client.learn(ignorant.addr());
    ids.insert(0, ignorant.id());
    ids.insert(1, protocols::SecretKey::generate().id());
    let progress = quiet();
    let killer = tokio::spawn({
        let (mut seen, victim) = (progress.subscribe(), servers[0].0.clone());
        async move {
            seen.wait_for(|bytes| *bytes > 4 << 20).await.expect("it moves");
            victim.close().await;
        }
    });
    let report = timeout(SOON, mine.fetch(&client, &blob, &ids, &progress)).await.expect("in time").expect("fetched");
    killer.await.expect("joined");
    assert!(report.from.len() >= 2, "{report:?}");
    assert!(report.from.iter().all(|(id, _)| *id != ignorant.id()));
    assert!(report.bytes_moved < blob.size * 3 / 2, "little was fetched twice: {report:?}");
    assert!(mine.read(&blob, 32 << 20).await.expect("read") == content);
    client.close().await;
    for (server, ..) in servers {
        server.close().await;
    }
}

/// Run as a process of its own by the next test, and killed by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of the next test"]
async fn child_that_fetches() {
    let from = |name: &str| std::env::var(name).unwrap_or_default();
    let (Ok(id), Ok(hash)) = (from("FETCH_FROM").parse::<NodeId>(), from("FETCH_HASH").parse()) else { return };
    let addr = from("FETCH_ADDR").parse().expect("an address");
    let blob = BlobRef { hash, size: from("FETCH_SIZE").parse().expect("a size") };
    let plane = BlobPlane::open(small(Path::new(&from("FETCH_DIR")))).await.expect("opened");
    let mesh = node().await;
    mesh.learn(PeerAddr { id, addrs: vec![addr], relay: None });
    let progress = quiet();
    let mut seen = progress.subscribe();
    tokio::spawn(async move {
        while seen.changed().await.is_ok() {
            println!("at {}", *seen.borrow_and_update());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    plane.fetch(&mesh, &blob, &[id], &progress).await.expect("fetched");
    println!("done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_that_was_killed_goes_on_where_it_was() {
    let (server, theirs, _dir) = blob_node().await;
    let dir = tempfile::tempdir().expect("a folder");
    let content = noise(160 << 20, 5);
    let blob = theirs.add_bytes(content.clone()).await.expect("added");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["blobs::child_that_fetches", "--exact", "--ignored", "--nocapture"])
        .env("FETCH_FROM", server.id().to_string())
        .env("FETCH_ADDR", server.bound()[0].to_string())
        .env("FETCH_HASH", blob.hash.to_string())
        .env("FETCH_SIZE", blob.size.to_string())
        .env("FETCH_DIR", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let started = Instant::now();
    let reached = tokio::task::spawn_blocking(move || {
        let mut reached = 0u64;
        for line in lines.map_while(Result::ok) {
            if let Some(at) = line.strip_prefix("at ").and_then(|at| at.parse().ok()) {
                reached = at;
            }
            // Long enough for the store to have committed some of it.
            if line == "done" || (reached > blob.size / 3 && started.elapsed() > Duration::from_millis(1500)) {
                break;
            }
        }
        child.kill().expect("killed");
        child.wait().expect("reaped");
        reached
    });
    let reached = timeout(SOON, reached).await.expect("in time").expect("joined");
    assert!(reached > 0, "it had begun");

    let mine = BlobPlane::open(small(dir.path())).await.expect("opened after the kill");
    let client = node().await;
    client.learn(server.addr());
    let report =
        timeout(SOON, mine.fetch(&client, &blob, &[server.id()], &quiet())).await.expect("in time").expect("fetched");
    assert!(report.bytes_moved < blob.size * 9 / 10, "it had {reached} and fetched {report:?}");
    let out = dir.path().join("out");
    mine.export(&blob, &out).await.expect("exported");
    assert!(std::fs::read(&out).expect("read") == content);
    client.close().await;
    server.close().await;
}

/// A provider that answers every request with the same bytes, again and again or once.
#[derive(Debug, Clone)]
struct Hostile {
    answer: Vec<u8>,
    endless: bool,
}

impl ProtocolHandler for Hostile {
    async fn accept(&self, connection: Connection) -> Result<(), AcceptError> {
        while let Ok((mut send, _recv)) = connection.accept_bi().await {
            let hostile = self.clone();
            tokio::spawn(async move {
                while send.write_all(&hostile.answer).await.is_ok() {
                    if !hostile.endless {
                        // Holds the stream open and says no more.
                        let _stopped = send.stopped().await;
                        return;
                    }
                }
            });
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_providers_cost_little_and_change_nothing() {
    let (server, theirs, _a) = blob_node().await;
    let content = noise(300_000, 6);
    let blob = theirs.add_bytes(content.clone()).await.expect("added");
    let head = |size: u64| size.to_le_bytes().to_vec();
    let with = |mut head: Vec<u8>, more: Vec<u8>| {
        head.extend(more);
        head
    };
    for (what, answer, endless) in [
        ("another size", head(1 << 60), true),
        ("a smaller size", with(head(10), vec![0; 10]), false),
        ("endless zeros", vec![0; 65536], true),
        ("the right size and garbage", with(head(300_000), noise(400_000, 7)), true),
        ("the right size and nothing", head(300_000), false),
        ("nothing", vec![], false),
    ] {
        let (client, mine, _b) = blob_node().await;
        let endpoint = bare_endpoint().await;
        let addrs = endpoint.bound_sockets();
        let router = Router::builder(endpoint).accept(BLOBS_ALPN, Arc::new(Hostile { answer, endless })).spawn();
        let id = NodeId::from_bytes(*router.endpoint().id().as_bytes());
        client.learn(PeerAddr { id, addrs, relay: None });
        client.learn(server.addr());
        let alone = timeout(SOON, mine.fetch(&client, &blob, &[id], &quiet())).await.expect("in time");
        assert!(matches!(&alone, Err(FetchError::Providers { .. })), "{what}: {alone:?}");
        assert!(!mine.has(&blob).await, "{what}");
        let report = timeout(SOON, mine.fetch(&client, &blob, &[id, server.id()], &quiet()))
            .await
            .expect("in time")
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(report.bytes_moved < 2_000_000, "{what}: {report:?}");
        assert!(mine.read(&blob, 400_000).await.expect("read") == content, "{what}");
        client.close().await;
        router.shutdown().await.expect("shut down");
    }
    server.close().await;
}

#[tokio::test]
async fn quota_and_size_are_kept() {
    let (server, theirs, _a) = blob_node().await;
    let dir = tempfile::tempdir().expect("a folder");
    let config = BlobConfig { quota: 6 << 20, blob_max: 5 << 20, ..small(dir.path()) };
    let mine = BlobPlane::open(config).await.expect("opened");
    let client = node().await;
    client.learn(server.addr());
    let large = theirs.add_bytes(noise(6 << 20, 8)).await.expect("added");
    let fits = theirs.add_bytes(noise(3 << 20, 9)).await.expect("added");
    let failed = mine.fetch(&client, &large, &[server.id()], &quiet()).await.expect_err("too large");
    assert!(matches!(failed, FetchError::NoRoom { source: NoRoom::TooLarge { .. }, .. }), "{failed}");
    assert!(matches!(mine.add_bytes(noise(6 << 20, 8)).await, Err(AddError::NoRoom(NoRoom::TooLarge { .. }))));
    mine.fetch(&client, &fits, &[server.id()], &quiet()).await.expect("fits");
    let over = mine.add_bytes(noise(4 << 20, 10)).await.expect_err("over quota");
    assert!(matches!(over, AddError::NoRoom(NoRoom::Quota { .. })), "{over}");
    let endless = mine.add_reader(tokio::io::repeat(7)).await.expect_err("over quota");
    assert!(matches!(endless, AddError::NoRoom(_)), "{endless}");
    mine.add_bytes(noise(1 << 20, 11)).await.expect("a smaller one fits");
    let usage = mine.usage().expect("known");
    assert!(usage.used > 4 << 20 && usage.used <= usage.quota, "{usage:?}");
    client.close().await;
    server.close().await;
}

#[tokio::test]
async fn unpinned_goes_and_pinned_stays() {
    let dir = tempfile::tempdir().expect("a folder");
    let every = Duration::from_millis(300);
    let plane = BlobPlane::open(BlobConfig { collect_every: every, ..small(dir.path()) }).await.expect("opened");
    let keep = plane.add_bytes(noise(100_000, 12)).await.expect("added");
    let gone = plane.add_bytes(noise(100_000, 13)).await.expect("added");
    plane.pin("keep/1", &keep).await.expect("pinned");
    plane.pin("keep/2", &keep).await.expect("pinned");
    plane.pin("later", &gone).await.expect("pinned");
    assert_eq!(plane.pins().await.expect("listed").len(), 3);
    plane.unpin("keep/2").await.expect("unpinned");
    plane.unpin("later").await.expect("unpinned");
    let deadline = Instant::now() + SOON;
    while plane.has(&gone).await {
        assert!(Instant::now() < deadline, "it is not collected");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(plane.has(&keep).await);
    assert!(plane.is_collecting());
    plane.shutdown().await;
    let plane = BlobPlane::open(small(dir.path())).await.expect("opened again");
    assert!(plane.has(&keep).await);
    assert_eq!(plane.pins().await.expect("listed"), [("keep/1".to_owned(), keep.hash)]);
}

/// A small disk of our own, gone when dropped.
struct Tmpfs(TempDir);

impl Tmpfs {
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a folder");
        let options = format!("size={size}");
        let done =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "flotilla-test"]).arg(dir.path()).status();
        done.is_ok_and(|s| s.success()).then_some(Self(dir))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _done = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_survived() {
    if std::env::var_os("FLT_SKIP_SYSTEM_TESTS").is_some_and(|v| v == "1") {
        println!("skipped: a_full_disk_is_named_and_survived (FLT_SKIP_SYSTEM_TESTS=1)");
        return;
    }
    let disk = Tmpfs::mount("8m").expect("a tmpfs can be mounted; FLT_SKIP_SYSTEM_TESTS=1 skips this");
    let (server, theirs, _a) = blob_node().await;
    let config = BlobConfig { reserve: 512 * 1024, ..small(&disk.0.path().join("blobs")) };
    let mine = BlobPlane::open(config).await.expect("opened");
    let client = node().await;
    client.learn(server.addr());
    let large = theirs.add_bytes(noise(9 << 20, 14)).await.expect("added");
    let fits = theirs.add_bytes(noise(1 << 20, 15)).await.expect("added");
    let failed = mine.fetch(&client, &large, &[server.id()], &quiet()).await.expect_err("no room");
    assert!(matches!(failed, FetchError::NoRoom { source: NoRoom::Disk { .. }, .. }), "{failed}");
    let failed = mine.add_bytes(noise(9 << 20, 14)).await.expect_err("no room");
    assert!(matches!(failed, AddError::NoRoom(NoRoom::Disk { .. })), "{failed}");
    // Somebody else fills the disk.
    let filler = disk.0.path().join("filler");
    let mut written = 0;
    while std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(&filler)
        .and_then(|mut f| std::io::Write::write_all(&mut f, &[1; 65536]))
        .is_ok()
    {
        written += 65536;
    }
    assert!(written > 1 << 20);
    let failed = mine.fetch(&client, &fits, &[server.id()], &quiet()).await.expect_err("no room");
    assert!(matches!(failed, FetchError::NoRoom { source: NoRoom::Disk { .. }, .. }), "{failed}");
    std::fs::remove_file(&filler).expect("removed");
    mine.fetch(&client, &fits, &[server.id()], &quiet()).await.expect("there is room again");
    let out = disk.0.path().join("out");
    mine.export(&fits, &out).await.expect("exported");
    assert!(mine.has(&fits).await);
    mine.shutdown().await;
    client.close().await;
    server.close().await;
}
