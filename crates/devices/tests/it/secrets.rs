//! Secrets on their way to a host.

mod system;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use protocols::secret::Place;
use protocols::{NodeId, SealedText, SecretKey, Verdict};
use scores::Score as _;
use scores::files::FilesScore;

use crate::node::{FAILING, Node, job, key};

/// The entry of a file with a secret for `/srv`, in JSON.
fn entry(path: &str, value: &[u8], to: NodeId, more: &str) -> String {
    let subject = "files/srv".parse().unwrap();
    let place = Place { kind: &FilesScore::KIND, subject: &subject };
    let sealed = SealedText::seal("db".parse().unwrap(), place, &value.to_vec().into(), &BTreeSet::from([to])).unwrap();
    format!(r#""{path}":{{"secret":{}{more}}}"#, serde_json::to_string(&sealed).unwrap())
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn a_secret_is_written_for_its_owner_alone_and_kept_so() {
    let node = Node::new();
    let srv = node.root().join("srv");
    let entries = format!(
        "{},{}",
        entry("db", b"hunter2\0\xff", key().id(), ""),
        entry("d/db", b"", key().id(), r#","mode":"0640","group":"staff""#)
    );
    let report = node.play(&entries, 1, "{}").await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    assert_eq!(fs::read(srv.join("db")).unwrap(), b"hunter2\0\xff");
    assert_eq!(fs::read(srv.join("d/db")).unwrap(), b"");
    assert_eq!([mode(&srv.join("db")), mode(&srv.join("d/db"))], [0o600, 0o640]);

    let agent = node.agent();
    let same = job(&entries, 1, "{}");
    assert!(agent.plan(&same).await.unwrap().is_empty());
    fs::set_permissions(srv.join("db"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(srv.join("d/db"), "drift").unwrap();
    let plan = agent.plan(&same).await.unwrap();
    assert_eq!(plan.len(), 2);
    assert!(plan[1].starts_with("write /srv/db (the secret `db`, 0600; was a file, 0644 "), "{plan:?}");
    assert_eq!(agent.play(&same, &node.stage).await.verdict, Verdict::Converged);
    assert_eq!([mode(&srv.join("db")), mode(&srv.join("d/db"))], [0o600, 0o640]);
    // The same secret, sealed anew: nothing is to be done.
    let again = entry("db", b"hunter2\0\xff", key().id(), "");
    assert!(agent.plan(&job(&again, 2, "{}")).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_kept_for_undoing_is_for_root_alone_and_goes() {
    let node = Node::new();
    let srv = node.root().join("srv");
    node.play(&entry("db", b"hunter2", key().id(), ""), 1, "{}").await;
    // The check looks into the folder of the trial while it is open.
    let seen = node.folder().join("seen");
    let script = format!("find {} -printf '%m %P\\n' > {}; exit 1", node.trials().display(), seen.display());
    let policy = serde_json::json!({"checks": [{"type": "exec", "command": ["sh", "-c", script]}], "check_seconds": 1});
    let report = node.play(&entry("db", b"hunter3", key().id(), ""), 2, &policy.to_string()).await;
    assert_eq!(report.verdict, Verdict::Quarantined, "{report:?}");
    assert_eq!(fs::read(srv.join("db")).unwrap(), b"hunter2");
    let seen = fs::read_to_string(seen).unwrap();
    assert!(seen.lines().count() >= 5 && seen.contains(".was"), "{seen}");
    for line in seen.lines() {
        assert!(line.starts_with("700 ") || line.starts_with("600 "), "{seen}");
    }
    let text = serde_json::to_string(&report.steps).unwrap() + &report.message;
    assert!(!text.contains("hunter"), "{text}");
    // What stays of the trial says neither what the secret is nor what it was.
    for file in files_below(&node.trials()) {
        let bytes = fs::read(&file).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"hunter"), "{}", file.display());
        assert!(!file.to_string_lossy().ends_with(".was"), "{}", file.display());
    }
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test]
async fn a_secret_for_another_node_changes_nothing() {
    let node = Node::new();
    let other = entry("db", b"hunter2", SecretKey::generate().id(), "");
    let report = node.play(&format!(r#"{other},"plain":{{"content":"x"}}"#), 1, FAILING).await;
    assert_eq!(report.verdict, Verdict::Refused, "{report:?}");
    assert!(report.message.contains("flt admin secret reseal db"), "{}", report.message);
    assert!(!node.root().join("srv").exists());
    let report = node.play(&entry("db", b"hunter2", key().id(), ""), 2, "{}").await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
}
