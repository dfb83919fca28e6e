//! Tables that cannot grow while the log can: told to people, and no reason to move away.

use std::io::Write as _;
use std::process::Command;
use std::sync::Arc;

use testkit::{DEADLINE, Program, until_async};

use super::TOOLS;
use super::bed::{Cluster, rows};

/// A small file system.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(at: std::path::PathBuf) -> Self {
        std::fs::create_dir(&at).unwrap();
        Program::new("mount").args(["-t", "tmpfs", "-o", "size=100m,mode=0777", "tmpfs"]).arg(&at).ok();
        Self(at)
    }

    fn fill(&self) {
        let filler = std::fs::File::create(self.0.join("filler")).unwrap();
        let zeros = vec![0_u8; 1 << 16];
        while (&filler).write_all(&zeros).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.0.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_cannot_grow_are_told_of_and_nothing_moves() {
    if !testkit::require("tables_that_cannot_grow_are_told_of_and_nothing_moves", TOOLS) {
        return;
    }
    let cluster = Cluster::new(&["a"]).await;
    let disk = Disk::mount(cluster.path().join("small"));
    let a = cluster.node("a");
    a.start(1, None).await;
    let client = a.session().await;
    let space = disk.0.join("space");
    Program::new("install").args(["-d", "-o", "postgres", "-m", "0700"]).arg(&space).ok();
    for sql in [
        format!("CREATE TABLESPACE small LOCATION '{}'", space.display()),
        "CREATE TABLE there (n int, filler text) TABLESPACE small".to_owned(),
        "CREATE TABLE elsewhere (n int)".to_owned(),
    ] {
        rows(&client, &sql).await.unwrap();
    }
    let instance = Arc::clone(&a.instance);
    let ended = tokio::spawn(async move { instance.ended().await });
    let told = async |what: &str, wanted: &dyn Fn(&str) -> bool| {
        until_async(what, DEADLINE, async || {
            a.instance.progress().await;
            let text = a.instance.describe();
            if wanted(&text) { Ok(()) } else { Err(text) }
        })
        .await;
    };
    told("nothing to be said", &|text| text.starts_with("on timeline 2")).await;

    disk.fill();
    told("that there is no room", &|text| {
        text.starts_with("NO ROOM for a tablespace to grow") && text.contains("small")
    })
    .await;
    let more = "INSERT INTO there SELECT n, repeat('x', 1000) FROM generate_series(1, 1000) AS n";
    let refused = rows(&client, more).await.unwrap_err();
    assert!(format!("{refused:?}").contains("No space left on device"), "{refused:?}");
    // It writes where there is room, for longer than an ill one is taken for well.
    let begun = std::time::Instant::now();
    while begun.elapsed().as_secs() < 8 {
        rows(&client, "INSERT INTO elsewhere VALUES (1)").await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(!ended.is_finished(), "it is taken for ill");

    disk.empty();
    told("that there is room again", &|text| text.starts_with("on timeline 2")).await;
    rows(&client, more).await.unwrap();
    ended.abort();
}
