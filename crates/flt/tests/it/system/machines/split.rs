//! The same with the agent in two confined units, as the manual gives them: the network half has no rights, the hands have
//! no network, and systems are activated, taken back and confirmed by the two together.

use std::time::Duration;

use testkit::{DEADLINE, Machine, until};

use super::bed::{Fleet, System, node_system};

#[test]
fn a_system_is_activated_and_taken_back_by_hands_without_a_network() {
    let test = "a_system_is_activated_and_taken_back_by_hands_without_a_network";
    let systems = || {
        let broken = System { broken_unit: true, ..split_system("3") };
        let mut cut = split_system("4");
        cut.hook += "\nPATH=/usr/sbin:/usr/bin ip link set eth0 down";
        vec![split_system("1"), split_system("2"), broken, cut, split_system("5")]
    };
    let Some(fleet) = Fleet::found(test, &["node-1"], &systems()) else { return };
    fleet.assert_run("1");
    confined(fleet.node("node-1"));

    // Programs that a check runs are not bound as the hands are: this one sees the machine's network.
    let network = r#", { type = "exec", command = ["ip", "link", "show", "eth0"] }"#;
    fleet.declare("2", network, 30);
    fleet.flt("admin apply /root/fleet.toml --timeout 4m");
    fleet.assert_run("2");
    confined(fleet.node("node-1"));

    for bad in ["3", "4"] {
        let output = fleet.apply(bad).expect(1);
        assert!(output.stdout.contains("quarantined"), "{output:?}");
        fleet.assert_run("2");
    }

    // Both halves die while a system is on probation.
    fleet.declare("5", r#", { type = "exec", command = ["test", "-e", "/var/lib/healthy"] }"#, 180);
    fleet.flt("admin apply /root/fleet.toml --no-wait");
    let (node, wanted) = (fleet.node("node-1"), &fleet.systems["5"]);
    until("the new system runs", DEADLINE * 2, || node.ok("readlink -f /run/current-system").trim() == wanted);
    let (units, kill) = ("flotilla-hands.service flotilla-agent.service", "systemctl kill --signal=KILL");
    let switched = "test -z \"$(systemctl list-units --no-legend 'flotilla-switch-*')\"";
    node.wait_until(&format!("{switched} && systemctl is-active {units} && {kill} {units}"), DEADLINE);
    node.ok("touch /var/lib/healthy");
    until("the system is confirmed", Duration::from_secs(240), || {
        let boots = node.read("/boot/loader/default");
        let journal = || node.exec("journalctl --no-pager -o cat -u 'flotilla-*' | tail -40").stdout;
        if boots.trim() == wanted { Ok(()) } else { Err((boots, fleet.flt("admin status"), journal())) }
    });
    node.wait_for_unit("flotilla-agent.service");
    until("the fleet in order", DEADLINE, || {
        let status = fleet.flt("admin status");
        if status.contains("1 of 1 nodes in order") { Ok(()) } else { Err(status) }
    });
    fleet.assert_run("5");
}

#[test]
fn an_agent_in_one_piece_becomes_two_and_one_again_by_rollouts() {
    let test = "an_agent_in_one_piece_becomes_two_and_one_again_by_rollouts";
    // The hands have the folder of the agent that was all in one: its key, its ledger, the trial that it began.
    let taking_over = |version: &str| {
        let mut system = split_system(version);
        for unit in system.units.values_mut() {
            *unit = unit
                .replace("StateDirectory=flotilla-agent", "StateDirectory=flotilla-network")
                .replace("--data /var/lib/flotilla-agent", "--data /var/lib/flotilla-network")
                .replace("StateDirectory=flotilla-hands", "StateDirectory=flotilla-agent")
                .replace("/var/lib/flotilla-hands", "/var/lib/flotilla-agent");
        }
        system
    };
    let systems = || vec![node_system("1"), taking_over("2"), node_system("3")];
    let Some(fleet) = Fleet::found(test, &["node-1"], &systems()) else { return };
    fleet.assert_run("1");
    let node = fleet.node("node-1");
    let users = || node.ok("ps -o user= -C flt | sort | tr -d ' ' | tr '\\n' ' '");
    assert_eq!(users().trim(), "root");
    for (version, expected) in [("2", "flotilla root"), ("3", "root")] {
        let output = fleet.apply(version);
        let journal = || node.exec("journalctl --no-pager -o cat -u 'flotilla-*' | tail -60").stdout;
        assert!(output.success(), "{output:?}\n{}", journal());
        fleet.assert_run(version);
        assert_eq!(users().trim(), expected);
    }
}

/// A system whose agent is the two units of the manual.
fn split_system(version: &str) -> System {
    let mut system = node_system(version);
    // What systemd does at the start of a real machine, and credentials need: mounts reach everybody.
    system.hook += "\nPATH=/usr/sbin:/usr/bin; mount --make-rshared /; getent passwd flotilla >/dev/null || \
                    useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin flotilla";
    for (name, text) in [("flotilla-agent.service", AGENT), ("flotilla-hands.service", HANDS)] {
        let lines = format!("[Service]\nEnvironment=VERSION={version} NIX_REMOTE=local\n");
        let text = text.replacen("[Service]\n", &lines, 1).replace("RestartSec=2s", "RestartSec=1s");
        system.units.insert(name.into(), text);
    }
    system
}

/// That the network half has no rights and the hands no network, as the kernel has it.
fn confined(node: &Machine) {
    let pid = |unit: &str| node.ok(&format!("systemctl show -p MainPID --value {unit}")).trim().to_owned();
    let (agent, hands) = (pid("flotilla-agent.service"), pid("flotilla-hands.service"));
    let status = |pid: &str, field: &str| {
        let status = node.read(&format!("/proc/{pid}/status"));
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let user = node.ok("id -u flotilla").trim().to_owned();
    assert_eq!(status(&agent, "Uid:"), [user.as_str(); 4].join(" "));
    for field in ["CapEff:", "CapPrm:", "CapBnd:", "CapAmb:"] {
        assert_eq!(status(&agent, field), "0000000000000000", "{field}");
    }
    for half in [&agent, &hands] {
        assert_eq!((status(half, "NoNewPrivs:").as_str(), status(half, "Seccomp:").as_str()), ("1", "2"));
        let limits = node.read(&format!("/proc/{half}/limits"));
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    }
    let network = |pid: &str| node.ok(&format!("readlink /proc/{pid}/ns/net")).trim().to_owned();
    assert_eq!(network(&agent), network("1"));
    assert_ne!(network(&hands), network("1"));
    let links = node.ok(&format!("nsenter --target {hands} --net ip -oneline link"));
    assert_eq!(links.lines().count(), 1, "{links}");
    // Neither key nor ledger of the hands is in sight of the other half.
    node.ok(&format!("! nsenter --target {agent} --mount --setuid={user} cat /var/lib/flotilla-hands/key 2>/dev/null"));
}

pub(super) const AGENT: &str = include_str!("../../../../../../docs/units/flotilla-agent.service");
pub(super) const HANDS: &str = include_str!("../../../../../../docs/units/flotilla-hands.service");
