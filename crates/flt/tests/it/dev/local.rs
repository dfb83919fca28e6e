//! `flt dev up`, `status` and `down`, with real processes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use testkit::{Program, Undo, until};

use super::{Home, at, flt, strings};

/// A local fleet that goes down with the test, whatever becomes of it.
struct Fleet {
    home: Home,
    /// Takes it down even if the test is killed.
    _undo: Undo,
}

impl Fleet {
    fn new() -> Self {
        let home = Home::new();
        let down = format!(
            "cd '{}' 2>/dev/null && '{}' -q dev down >/dev/null 2>&1; true",
            home.dir.path().display(),
            testkit::flt_binary().display()
        );
        Self { home, _undo: Undo::later(&down) }
    }

    fn flt(&self, args: &[&str]) -> Program {
        self.home.flt().args(args)
    }

    fn json(&self, args: &[&str]) -> Value {
        let text = self.flt(args).arg("--json").ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }

    /// The processes that run, by the names of their nodes.
    fn processes(&self) -> BTreeMap<String, u64> {
        pids(&self.json(&["dev", "status"]))
    }

    fn kill(&self, names: &[&str]) {
        let processes = self.processes();
        for name in names {
            Program::new("kill").args(["-9", &processes[*name].to_string()]).ok();
        }
        until("their death", testkit::DEADLINE, || names.iter().all(|name| !self.processes().contains_key(*name)));
    }

    /// Runs a command as it was printed.
    fn paste(&self, command: &str) -> testkit::Output {
        Program::new("sh").args(["-c", command]).folder(self.home.dir.path()).limit(super::LIMIT).run()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["coordinator", "edge-1", "edge-2", "edge-3"] {
                let log = self.home.read(&format!(".dev/{name}/log")).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("--- {name}\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
            }
        }
        let down = flt(self.home.dir.path()).args(["dev", "down"]).run();
        if !down.success() {
            eprintln!("the fleet does not go down: {}", down.stderr);
        }
    }
}

fn pids(view: &Value) -> BTreeMap<String, u64> {
    let nodes = at(view, "/nodes").as_array().unwrap().iter();
    nodes.filter_map(|node| Some((node["name"].as_str()?.to_owned(), node["pid"].as_u64()?))).collect()
}

fn alive(pid: u64) -> bool {
    // A process that nobody has asked how it ended is no process any more.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_local_fleet_goes_up_is_used_is_repaired_and_goes_down() {
    let fleet = Fleet::new();
    let up = fleet.json(&["dev", "up", "--agents", "2"]);
    assert_eq!((at(&up, "/schema"), at(&up, "/already")), (&"flt.dev-up/1".into(), &false.into()));
    assert_eq!(strings(at(&up, "/started")), ["coordinator", "edge-1", "edge-2"]);
    let first = pids(&up);
    assert_eq!(first.len(), 3);

    // Once more: nothing happens.
    let again = fleet.json(&["dev", "up"]);
    assert_eq!((at(&again, "/already"), pids(&again)), (&true.into(), first.clone()));
    assert_eq!(fleet.processes(), first);

    // What it tells to try works as it stands there.
    let next = strings(at(&up, "/next"));
    let status = fleet.paste(&next[0]);
    assert!(status.success() && status.stdout.contains("2 of 2 nodes in order"), "{status:?}");
    let applied = fleet.paste(&next[1]);
    assert!(applied.success(), "{applied:?}");
    for node in ["edge-1", "edge-2"] {
        let motd = fleet.home.read(&format!(".dev/{node}/root/etc/motd"));
        assert_eq!(motd.as_deref(), Some("Hello from Flotilla.\n"), "{node}");
    }

    // Killed processes are started again, and no others; one agent more is asked for.
    fleet.kill(&["edge-2", "coordinator"]);
    let repaired = fleet.json(&["dev", "up", "--agents", "3"]);
    assert_eq!(strings(at(&repaired, "/started")), ["coordinator", "edge-2", "edge-3"]);
    assert_eq!(fleet.processes()["edge-1"], first["edge-1"]);
    assert_eq!(at(&repaired, "/fleet_id"), at(&up, "/fleet_id"));
    // What was declared while there were two counts for the third.
    let applied = fleet.paste(&next[1]);
    assert!(applied.success() && applied.stdout.contains("edge-3"), "{applied:?}");
    assert_eq!(fleet.home.read(".dev/edge-3/root/etc/motd").as_deref(), Some("Hello from Flotilla.\n"));

    let running = fleet.processes();
    assert_eq!(running.len(), 4, "{running:?}");
    let down = fleet.json(&["dev", "down"]);
    assert_eq!(strings(at(&down, "/stopped")), ["coordinator", "edge-1", "edge-2", "edge-3"]);
    assert_eq!(strings(at(&down, "/killed")), Vec::<String>::new());
    assert!(running.values().all(|pid| !alive(*pid)), "{running:?}");
    assert!(fleet.processes().is_empty());
    let again = fleet.flt(&["dev", "down"]).run().expect(0);
    assert_eq!(again.stdout, "down already: nothing runs in .dev\n");

    // It comes back as it was.
    let back = fleet.json(&["dev", "up"]);
    assert_eq!((at(&back, "/fleet_id"), pids(&back).len()), (at(&up, "/fleet_id"), 4));
    let status = fleet.paste(&next[0]);
    assert!(status.success() && status.stdout.contains("3 of 3 nodes in order, 1 declarations"), "{status:?}");

    // It is removed only when that is meant.
    let asked = fleet.flt(&["dev", "down", "--remove"]).run().expect(2);
    assert!(asked.stderr.contains("hint: add --yes"), "{}", asked.stderr);
    assert_eq!(fleet.processes().len(), 4);
    let removed = fleet.json(&["dev", "down", "--remove", "--yes"]);
    assert_eq!(at(&removed, "/removed"), &Value::Bool(true));
    assert!(!fleet.home.path(".dev").exists());
    fleet.flt(&["dev", "down", "--remove"]).run().expect(0);
    let gone = fleet.flt(&["dev", "status"]).run().expect(1);
    assert!(gone.stderr.contains("there is no local fleet in .dev\nhint: start one: "), "{}", gone.stderr);
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let fleet = Fleet::new();
    std::fs::create_dir(fleet.home.path("mine")).unwrap();
    std::fs::write(fleet.home.path("mine/thesis"), "precious").unwrap();
    let up = fleet.flt(&["dev", "up", "--dir", "mine"]).run().expect(2);
    assert!(up.stderr.contains("mine holds something else than a local fleet"), "{}", up.stderr);
    fleet.flt(&["dev", "down", "--dir", "mine", "--remove", "--yes"]).run().expect(0);
    assert_eq!(fleet.home.read("mine/thesis").as_deref(), Some("precious"));
    let inside: Vec<_> = std::fs::read_dir(fleet.home.path("mine")).unwrap().collect();
    assert_eq!(inside.len(), 1, "{inside:?}");
}

#[test]
fn a_coordinator_that_cannot_start_is_named_with_its_last_words() {
    let fleet = Fleet::new();
    fleet.json(&["dev", "up", "--agents", "1"]);
    fleet.json(&["dev", "down"]);
    let config = fleet.home.path(".dev/coordinator/coordinator.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("mdns = false", "mdsn = false")).unwrap();
    let up = fleet.flt(&["dev", "up"]).run().expect(1);
    assert!(
        up.stderr.contains("coordinator ended with exit status: 64") && up.stderr.contains("mdsn"),
        "{}",
        up.stderr
    );
    std::fs::write(&config, text).unwrap();
    fleet.json(&["dev", "up"]);
}

#[test]
fn two_commands_at_once_do_not_get_into_each_other() {
    let fleet = Fleet::new();
    let start = || {
        let args = ["dev", "up", "--agents", "1"];
        fleet.flt(&args).spawn()
    };
    let (mut one, mut two) = (start(), start());
    let ended = [one.wait(super::LIMIT), two.wait(super::LIMIT)];
    let good = ended.iter().filter(|output| output.success()).count();
    assert!(good >= 1, "{ended:?}");
    for output in ended.iter().filter(|output| !output.success()) {
        assert!(output.stderr.contains("another `flt dev` command is at work"), "{output:?}");
    }
    let once = fleet.processes();
    assert_eq!(once.len(), 2);
    assert_eq!(processes_below(fleet.home.dir.path()), 2);
}

/// How many processes have a folder of this fleet as theirs.
fn processes_below(dir: &Path) -> usize {
    let found = || {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let folders = all.filter_map(|entry| std::fs::read_link(entry.path().join("cwd")).ok());
        folders.filter(|folder| folder.starts_with(dir)).count()
    };
    until("the processes to settle", Duration::from_secs(30), || found() == 2);
    found()
}
