//! Another user of the machine: what the files' modes keep from it.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::Value;
use testkit::until;

use crate::fleet::rig::{Rig, SOON};
use crate::processes::bed::Bed;

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

#[test]
fn a_ticket_in_a_file_is_on_no_command_line_and_the_node_says_how_it_stands() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let (ticket, file) = (bed.invite(), bed.path().join("ticket"));
    std::fs::write(&file, format!("{ticket}\n")).unwrap();
    let mut agent = bed.agent("edge-1").arg("--ticket-file").arg(&file).spawn();
    agent.wait_for("joined the fleet");
    let read = |what: &str| std::fs::read(format!("/proc/{}/{what}", agent.pid())).unwrap();
    for what in ["cmdline", "environ"] {
        assert!(!String::from_utf8_lossy(&read(what)).contains(&ticket), "{what}");
    }
    let data = bed.data("edge-1");
    let status = || -> Value {
        let output = bed.flt().args(["--json", "agent", "status", "--data"]).arg(&data).run();
        serde_json::from_str(&output.stdout).unwrap_or_default()
    };
    until("it knows where it stands", SOON, || {
        let status = status();
        status["head"].is_u64() && status["head"] == status["newest"] && status["unsure"] == Value::Bool(false)
    });
    assert_eq!((&status()["current"], &status()["refuses"]), (&Value::Bool(true), &Value::Null));
    // Everybody is asked, and all are on one history.
    until("all of them answer", SOON, || {
        let around = bed.json(["verify", "--fork"]);
        let members = around["members"].as_array().unwrap();
        around["one_history"] == Value::Bool(true)
            && members.len() == 2
            && members.iter().all(|member| member["verdict"] == "same")
    });
    // Somebody's file that proves nothing, and a node that has nothing to resolve.
    let fleet = bed.json(["verify", "--fork"])["fleet"].as_str().unwrap().to_owned();
    std::fs::write(bed.path().join("fork.json"), "{}").unwrap();
    let refused = bed.admin(["verify", "--fork", "fork.json", "--fleet", &fleet]).run().expect(1);
    assert!(refused.stderr.contains("no evidence of a split history"), "{}", refused.stderr);
    let resolve = || bed.flt().args(["agent", "resolve", "--keep", "--data"]).arg(&data).run();
    assert!(resolve().expect(1).stderr.contains("stop the agent first"));
    agent.terminate();
    agent.wait(SOON);
    assert!(resolve().expect(0).stdout.contains("the node had not stopped"));
}
