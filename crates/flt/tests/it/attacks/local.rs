//! Another user of the machine: what the files' modes keep from it.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use testkit::until;

use crate::fleet::rig::{Rig, SOON};

/// Every file and folder below that somebody else than its owner could read or write, although nothing above keeps them
/// out.
fn open_to_others(below: &Path, found: &mut Vec<String>) {
    let meta = std::fs::symlink_metadata(below).unwrap();
    let mode = meta.permissions().mode() & 0o777;
    if meta.is_dir() {
        // Who cannot enter the folder reaches nothing in it.
        if mode & 0o077 == 0 {
            return;
        }
        for entry in std::fs::read_dir(below).unwrap() {
            open_to_others(&entry.unwrap().path(), found);
        }
    } else if mode & 0o077 != 0 {
        found.push(format!("{} {:o} of {}", below.display(), mode, meta.uid()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_on_the_machine_reads_the_folders_of_the_roles() {
    let mut rig = Rig::found().await;
    rig.join("edge-1").await;
    rig.publish("*", "one").await;
    rig.says("edge-1", "one").await;
    let data = rig.dir.path().join("edge-1/data");
    until("the status file", SOON, || data.join("status.json").exists());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("status.json")), 0o600);
    assert_eq!(mode(&rig.dir.path().join("coordinator")), 0o700);
    let mut found = Vec::new();
    for folder in ["edge-1/data", "coordinator", "anna"] {
        open_to_others(&rig.dir.path().join(folder), &mut found);
    }
    assert!(found.is_empty(), "{found:#?}");
    rig.stop().await;
}
