//! Nothing is left over: not after a drop, not after a panic, not after a kill of the test process.

use std::process::Command;

use testkit::{DEADLINE, Lan, Machine, Nat, Program, TwoNats, require, rootfs, until};

/// Everything on this machine whose name says that it was made by a process: namespaces, mounts, control groups,
/// processes, folders.
fn left_by(pid: u32) -> Vec<String> {
    let name = format!("flt-{pid}-");
    let lines = |text: String| text.lines().filter(|line| line.contains(&name)).map(str::to_owned).collect::<Vec<_>>();
    let listed = Command::new("sh")
        .args([
            "-c",
            "PATH=$PATH:/sbin:/usr/sbin; ip netns list; ls -d /sys/fs/cgroup/flt-* /sys/fs/cgroup/*/flt-* \
               /var/tmp/flotilla-testbed/* 2>/dev/null; true",
        ])
        .output()
        .unwrap();
    let mut left = lines(String::from_utf8_lossy(&listed.stdout).into_owned());
    left.extend(lines(std::fs::read_to_string("/proc/mounts").unwrap()));
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let words = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        left.extend(lines(String::from_utf8_lossy(&words).replace(['\0', '\n'], " ")));
    }
    left
}

/// Makes one of everything, in a process of its own: run again by the tests below, by its name.
#[test]
#[ignore = "started by the tests that kill it"]
fn makes_everything_and_waits() {
    let _nats = TwoNats::new(Nat::FullyRandom);
    let mut lan = Lan::new(1);
    let machine = Machine::boot(rootfs(), "doomed");
    lan.attach(machine.network());
    let _sleeping = machine.shell("sleep 600").spawn();
    let sleeping = lan.host(0).program("sleep").arg("600").spawn();
    println!("made, sleeping is {}", sleeping.pid());
    assert!(std::env::var_os("FLT_TEST_PANIC").is_none(), "as it was told");
    std::thread::sleep(DEADLINE * 5);
}

fn everything() -> Program {
    // Where it is not there yet, making it takes longer than the test waits for the process.
    rootfs();
    Program::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "leftovers::makes_everything_and_waits"])
        .named("test process")
}

#[test]
fn a_test_process_that_is_killed_leaves_nothing() {
    if !require("a_test_process_that_is_killed_leaves_nothing", testkit::MACHINES) {
        return;
    }
    let mut test = everything().spawn();
    let sleeping = test.wait_for("made, sleeping is ").rsplit(' ').next().unwrap().to_owned();
    assert!(left_by(test.pid()).len() > 8, "{:?}", left_by(test.pid()));
    test.kill();
    until("everything to be cleaned up", DEADLINE, || {
        let left = left_by(test.pid());
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    // Where nobody waits for it, a dead process stays in the list as a zombie.
    until("the process in the namespace to be dead", DEADLINE, || {
        let stat = std::fs::read_to_string(format!("/proc/{sleeping}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") { Ok(()) } else { Err(stat) }
    });
}

#[test]
fn a_test_that_panics_leaves_nothing() {
    if !require("a_test_that_panics_leaves_nothing", testkit::MACHINES) {
        return;
    }
    let mut test = everything().env("FLT_TEST_PANIC", "1").spawn();
    let output = test.wait(DEADLINE * 2);
    assert!(output.stdout.contains("made, sleeping is"), "{output:?}");
    assert_eq!(output.code, Some(101));
    assert_eq!(left_by(test.pid()), Vec::<String>::new());
}
