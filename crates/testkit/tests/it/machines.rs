//! Machines: systemd that runs, disks that last, power that goes.

use testkit::{DEADLINE, Lan, Machine, MachineSpec, require, rootfs, until};

const UNIT: &str = "[Service]\nExecStart=/bin/sh -c 'echo from the host: $(cat /mnt/host/note); exec sleep infinity'\n";

#[test]
fn a_machine_boots_reboots_and_loses_power() {
    if !require("a_machine_boots_reboots_and_loses_power", testkit::MACHINES) {
        return;
    }
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("note"), "hello").unwrap();
    let begun = std::time::Instant::now();
    let rootfs = rootfs();
    println!("root file system after {:?}", begun.elapsed());
    let begun = std::time::Instant::now();
    let mut machine = MachineSpec::new(&rootfs, "solo")
        .bind(host.path(), "/mnt/host")
        .file("/etc/systemd/system/note.service", UNIT, 0o644)
        .boot();
    println!("booted after {:?}", begun.elapsed());

    assert_eq!(machine.ok("systemctl is-system-running").trim(), "running");
    assert_eq!(machine.ok("hostname; cat /proc/1/comm"), "solo\nsystemd\n");
    assert_eq!(machine.exec("exit 3").code, Some(3));
    assert!(machine.console().contains("Reached target multi-user.target"), "{}", machine.console());
    machine.ok("systemctl start note");
    machine.wait_for_unit("note.service");
    until("the note in the journal", DEADLINE, || {
        let journal = machine.journal("note.service");
        if journal.contains("from the host: hello") { Ok(()) } else { Err(journal) }
    });
    assert!(!machine.exec("touch /mnt/host/x").success());
    assert_eq!(machine.ok("systemd-run --wait --pipe -q echo from a unit"), "from a unit\n");
    machine.ok("nix-store --version && nix-instantiate --eval -E '1 + 1'");

    machine.write_with_mode("/var/lib/kept/file", "kept\n", 0o600);
    machine.write("/run/lost", "lost\n");
    assert_eq!(machine.ok("stat -c %a /var/lib/kept/file").trim(), "600");
    machine.reboot();
    assert_eq!(machine.read("/var/lib/kept/file"), "kept\n");
    assert!(!machine.exec("test -e /run/lost").success());
    assert_eq!(machine.boots(), 2);

    let mut inside = machine.shell("echo begun; sleep 600").spawn();
    inside.wait_for("begun");
    machine.power_cut();
    assert!(!machine.is_on());
    assert!(machine.changes().join("var/lib/kept/file").is_file());
    inside.wait(DEADLINE);
    machine.start();
    assert_eq!(machine.read("/var/lib/kept/file"), "kept\n");

    // It restarts by itself when it is asked to inside.
    machine.exec("systemctl reboot");
    until("the fourth start", DEADLINE, || if machine.boots() == 4 { Ok(()) } else { Err(machine.boots()) });
    machine.wait_until_booted();
    assert_eq!(machine.read("/var/lib/kept/file"), "kept\n");
    machine.shut_down();
    assert!(!machine.is_on());
    machine.start();
    assert!(machine.failed_units().is_empty());
}

#[test]
fn machines_boot_together_and_reach_each_other() {
    if !require("machines_boot_together_and_reach_each_other", testkit::MACHINES) {
        return;
    }
    let rootfs = rootfs();
    let mut lan = Lan::new(0);
    let begun = std::time::Instant::now();
    let machines = Machine::boot_all(rootfs, &["one", "two", "three"]);
    println!("three machines after {:?}", begun.elapsed());
    for machine in &machines {
        lan.attach(machine.network());
    }
    let server = "import socket; s = socket.create_server(('', 7000)); print('ready', flush=True)\nwhile True: s.accept()[0].sendall(b'hello')";
    let serving = machines[0].program("python3").args(["-c", server]).spawn();
    serving.wait_for("ready");
    let client = format!(
        "python3 -c \"import socket; print(socket.create_connection(('{}', 7000), 2).recv(9))\"",
        lan.address(0)
    );
    for machine in &machines[1..] {
        machine.wait_until(&client, DEADLINE);
    }
    lan.port(0).block();
    assert!(!machines[1].exec(&client).success());
    lan.port(0).unblock();
    machines[1].wait_until(&client, DEADLINE);
}

#[test]
fn a_machine_that_cannot_start_says_why() {
    if !require("a_machine_that_cannot_start_says_why", testkit::MACHINES) {
        return;
    }
    let empty = tempfile::tempdir().unwrap();
    let panic = std::panic::catch_unwind(|| Machine::boot(empty.path(), "empty")).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("empty did not boot; its console says:") && message.contains("mount"), "{message}");
}
