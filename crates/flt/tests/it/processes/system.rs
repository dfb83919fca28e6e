//! Disks that are full: what is not written is not acknowledged, nothing half done is left, and it goes on by itself.

use std::path::Path;

use testkit::{DEADLINE, Program, Undo, until};

use super::bed::{Bed, ready};

/// A small file system of its own at a folder, as long as this lives.
struct SmallDisk {
    _undo: Undo,
}

impl SmallDisk {
    fn mount(at: &Path, kib: u32) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let undo = Undo::later(&format!("umount -l '{}' 2>/dev/null; true", at.display()));
        let size = format!("size={kib}k,mode=0700");
        Program::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).ok();
        Self { _undo: undo }
    }
}

/// Takes all space that is left; gives it back when it is told to.
fn fill(disk: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(disk.join("ballast")).unwrap();
    for block in [65_536, 4096, 1] {
        while file.write_all(&vec![7_u8; block]).is_ok() {}
    }
}

fn relieve(disk: &Path) {
    std::fs::remove_file(disk.join("ballast")).unwrap();
}

const TOOLS: &[&str] = &["mount", "umount"];

#[test]
fn a_full_disk_of_the_coordinator_acknowledges_nothing_that_it_did_not_keep() {
    if !testkit::require("a_full_disk_of_the_coordinator_acknowledges_nothing_that_it_did_not_keep", TOOLS) {
        return;
    }
    let bed = Bed::found();
    let data = bed.path().join("coordinator/data");
    let _disk = SmallDisk::mount(&data, 24 * 1024);
    let mut coordinator = bed.start_coordinator();
    let _agent = bed.join("edge-1");
    fill(&data);
    // Pages that are allotted already hold a few entries more.
    let note = "n".repeat(200);
    let mut acknowledged = 0;
    let refused = (0..400).find_map(|round| {
        bed.declare("fleet.toml", &format!("{round}{}\n", note.repeat(60)), &["true"]);
        let output = bed.admin(["apply", "fleet.toml", "--no-wait"]).run();
        if output.success() {
            acknowledged += 1;
            None
        } else {
            Some(output)
        }
    });
    let refused = refused.expect("a full disk refuses at last");
    assert!(refused.stderr.contains("space") || refused.stderr.contains("full"), "{refused:?}");
    relieve(&data);
    // Space is there again, and a coordinator that goes on, or that was started anew, has all that it acknowledged.
    let again = |bed: &Bed| bed.admin(["apply", "fleet.toml", "--timeout", "1m"]).limit(DEADLINE * 2).run();
    let output = again(&bed);
    if !output.success() {
        panic!("with space again: {output:?}\n{}", coordinator.stderr());
    }
    coordinator.kill();
    coordinator.wait(DEADLINE);
    coordinator.restart();
    ready(&coordinator);
    let log = bed.admin(["log", "--verify"]).ok();
    let published = log.lines().filter(|line| line.contains(" publish ")).count();
    assert!(published > acknowledged, "{acknowledged} acknowledged, {published} kept");
}

#[test]
fn a_full_disk_of_a_node_leaves_nothing_half_done_and_heals() {
    if !testkit::require("a_full_disk_of_a_node_leaves_nothing_half_done_and_heals", TOOLS) {
        return;
    }
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    // The journal and the downloads in one run, the files themselves in another.
    for (name, folder) in [("edge-1", bed.data("edge-1")), ("edge-2", bed.root("edge-2"))] {
        let _disk = SmallDisk::mount(&folder, 160 * 1024);
        let agent = bed.join(name);
        bed.declare("fleet.toml", &format!("small on {name}\n"), &["true"]);
        bed.admin(["apply", "fleet.toml", "--timeout", "1m"]).limit(DEADLINE * 2).ok();
        fill(&folder);
        let blob: Vec<u8> = (0..2_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
        std::fs::write(bed.path().join("big"), &blob).unwrap();
        let text = std::fs::read_to_string(bed.path().join("fleet.toml")).unwrap();
        let text = text.replace(&format!("content = \"small on {name}\\n\""), "file = \"big\"");
        assert!(text.contains("file = \"big\""));
        std::fs::write(bed.path().join("fleet.toml"), text).unwrap();
        bed.admin(["apply", "fleet.toml", "--timeout", "5s"]).run();
        assert_eq!(bed.motd(name), Some(format!("small on {name}\n")), "what was there is there, whole");
        assert!(agent.is_running(), "{}", agent.stderr());
        relieve(&folder);
        until("the big file", DEADLINE * 3, || {
            let there = std::fs::read(bed.root(name).join("etc/motd")).unwrap_or_default();
            if there == blob { Ok(()) } else { Err((there.len(), bed.json(["node", "show", name])["parts"].clone())) }
        });
        until("its report", DEADLINE, || {
            let node = bed.json(["node", "show", name]);
            if node["condition"] == "ok" { Ok(()) } else { Err(node) }
        });
        drop(agent);
        // The next one is alone with what is declared next.
        bed.admin(["revoke", name, "--reason", "its disk is done with", "--yes"]).ok();
    }
}

#[test]
fn a_full_disk_of_the_admin_is_named_and_nothing_is_lost() {
    if !testkit::require("a_full_disk_of_the_admin_is_named_and_nothing_is_lost", TOOLS) {
        return;
    }
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let small = bed.path().join("small");
    let _disk = SmallDisk::mount(&small, 4 * 1024);
    let home = bed.path().join("home/.local/share/flotilla/admin");
    let invite = || {
        let words = ["invite", "--data", "small", "--ticket-file", "coordinator/data/ticket", "--key-file"];
        bed.admin(words).arg(home.join("key")).run()
    };
    invite().ok();
    fill(&small);
    let refused = invite().expect(1);
    assert!(refused.stderr.contains("full") || refused.stderr.contains("space"), "{refused:?}");
    relieve(&small);
    invite().ok();
}
