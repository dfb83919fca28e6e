//! A systemd unit with one writer, on machines with a real systemd: whatever ends or hangs, one of them runs it.

use std::time::Duration;

use testkit::{DEADLINE, Machine, until};

use super::hub::{Hub, agent_config, machine};

/// How long the unit may take to run again: many times what it takes.
const RECOVERY: Duration = Duration::from_secs(120);
const NAMES: [&str; 2] = ["a", "b"];
const AGENT: &str = "[Service]\nType=notify\nNotifyAccess=main\n\
    ExecStart=/usr/local/bin/flt agent run --config /etc/flotilla/agent.toml\n\
    TimeoutStopSec=30\nKillMode=mixed\n";
/// It writes down when it runs, and restarts by itself if it is let.
const LEDGER: &str = "[Service]\nExecStart=/usr/local/bin/ledgerd\nRestart=always\nRestartSec=1\n";
const LEDGERD: &str = "#!/bin/bash\nwhile true; do date +%s%N >> /var/lib/ledger; sleep 0.02; done\n";

struct Stage {
    hub: Hub,
    nodes: Vec<Machine>,
}

impl Stage {
    fn set(test: &str) -> Option<Self> {
        if !testkit::require(test, testkit::MACHINES) {
            return None;
        }
        let nodes = NAMES.iter().map(|name| {
            machine(name)
                .file("/etc/flotilla/agent.toml", agent_config(name, "off"), 0o644)
                .file("/etc/systemd/system/flotilla-agent.service", AGENT, 0o644)
                .file("/etc/systemd/system/ledgerd.service", LEDGER, 0o644)
                .file("/usr/local/bin/ledgerd", LEDGERD, 0o755)
        });
        let (hub, nodes) = Hub::boot(nodes);
        let stage = Self { hub, nodes };
        stage.hub.found();
        for node in &stage.nodes {
            stage.hub.invite(node);
            node.ok("systemctl start flotilla-agent.service");
        }
        for name in NAMES {
            until(&format!("{name} offers service/1"), DEADLINE, || {
                let facts = stage.hub.try_flt(&format!("admin facts {name}"));
                if facts.stdout.contains("service/1") { Ok(()) } else { Err((facts, stage.said())) }
            });
        }
        stage.declare();
        until("a first writer", RECOVERY, || stage.writes());
        Some(stage)
    }

    fn declare(&self) {
        let text = "[group.ledger]\non = \"*\"\n\n[group.ledger.score.ledgerd]\nkind = \"service/1\"\n\n\
                    [group.ledger.score.ledgerd.spec]\nname = \"ledgerd\"\n\
                    succession = { candidates = [\"a\", \"b\"], profile = \"fast\" }\n\
                    run = { unit = \"ledgerd.service\" }\n\
                    promote = { command = [\"touch\", \"/run/promoted\"] }\n\
                    demote = { command = [\"rm\", \"-f\", \"/run/promoted\"] }\n";
        self.hub.write("/root/fleet.toml", text);
        let applied = self.hub.flt("admin apply /root/fleet.toml --timeout 4m");
        assert!(applied.contains("converged"), "{applied}");
    }

    fn node(&self, name: &str) -> &Machine {
        self.nodes.iter().find(|node| node.name() == name).unwrap()
    }

    fn lines(&self, node: &Machine) -> Vec<u128> {
        let path = node.changes().join("var/lib/ledger");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // The last line may be half there.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Who writes at this moment.
    fn writes(&self) -> Result<String, String> {
        let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let newest = self.nodes.iter().filter_map(|node| Some((self.lines(node).pop()?, node.name())));
        match newest.max() {
            Some((at, name)) if now.saturating_sub(at) < 700_000_000 => Ok(name.to_owned()),
            last => Err(format!("nobody writes; the last was {last:?}{}", self.said())),
        }
    }

    fn writer_but(&self, not: &str) -> String {
        until(&format!("another writer than {not}"), RECOVERY, || {
            let name = self.writes()?;
            if name == not { Err(format!("{name}{}", self.said())) } else { Ok(name) }
        })
    }

    fn said(&self) -> String {
        let journal = |node: &Machine| {
            let said = node.exec("journalctl --no-pager -o cat | grep -iE 'failover|ledger|hold|supervis' | tail -12");
            format!("\n{}:\n{}", node.name(), said.stdout)
        };
        self.nodes.iter().map(journal).collect()
    }

    fn is_promoted(&self, name: &str) -> bool {
        self.node(name).exec("test -e /run/promoted").code == Some(0)
    }

    /// Asserts that they took turns: how often one began to write after another.
    #[track_caller]
    fn took_turns(&self, expected: usize) {
        let lines = self.nodes.iter().flat_map(|node| self.lines(node).into_iter().map(move |at| (at, node.name())));
        let mut lines: Vec<(u128, &str)> = lines.collect();
        lines.sort_unstable();
        let turns = lines.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
        assert_eq!(turns, expected, "two wrote at once, or somebody took over unasked");
    }

    fn switch_to(&self, name: &str) {
        until(&format!("a switchover to {name}"), RECOVERY, || {
            let moved = self.hub.try_flt(&format!("admin failover switchover service/ledgerd --to {name}"));
            if moved.code == Some(0) { Ok(()) } else { Err(moved.stderr) }
        });
    }
}

#[test]
fn a_unit_runs_on_one_machine_whatever_ends_or_hangs() {
    let Some(stage) = Stage::set("a_unit_runs_on_one_machine_whatever_ends_or_hangs") else { return };
    let first = stage.writes().unwrap();
    let other = if first == "a" { "b" } else { "a" };
    until("the hook `promote`", DEADLINE, || stage.is_promoted(&first));
    assert_eq!(stage.node(other).unit_state("ledgerd.service"), "inactive");
    // Outside of the agent's unit: what ends that one does not end what watches.
    let group = stage.node(&first).ok("cat /proc/$(pgrep -f 'flt agent hold' | head -1)/cgroup");
    assert!(!group.contains("flotilla-agent.service"), "{group}");

    stage.switch_to(other);
    assert_eq!(stage.writer_but(&first), other);
    until("the hook `demote`", DEADLINE, || !stage.is_promoted(&first) && stage.is_promoted(other));
    assert_eq!(stage.node(&first).unit_state("ledgerd.service"), "inactive");
    stage.took_turns(1);

    // Its program dies: it writes again where it was, by systemd or by its driver.
    let pid = stage.node(other).ok("systemctl show --property=MainPID --value ledgerd.service");
    stage.node(other).ok("systemctl kill --kill-who=main --signal=KILL ledgerd.service");
    until("the unit again", RECOVERY, || {
        let now = stage.node(other).ok("systemctl show --property=MainPID --value ledgerd.service");
        let writes = stage.writes()?;
        if now.trim() != "0" && now != pid && writes == other { Ok(()) } else { Err(format!("{now}{writes}")) }
    });
    stage.took_turns(1);

    // Its agent dies: the supervisor ends the unit when the lease is over, and the other machine runs it.
    stage.node(other).ok("systemctl kill --kill-who=all --signal=KILL flotilla-agent.service");
    assert_eq!(stage.writer_but(other), first);
    stage.took_turns(2);
    assert_ne!(stage.node(other).unit_state("ledgerd.service"), "active");
    stage.node(other).ok("systemctl reset-failed flotilla-agent.service; systemctl start flotilla-agent.service");

    // Its agent hangs for longer than its lease.
    until("a candidate that follows", RECOVERY, || {
        let status = stage.hub.flt("admin failover status");
        if status.contains("following") { Ok(()) } else { Err(status) }
    });
    stage.node(&first).ok("systemctl kill --kill-who=all --signal=STOP flotilla-agent.service");
    assert_eq!(stage.writer_but(&first), other);
    stage.took_turns(3);
    assert_ne!(stage.node(&first).unit_state("ledgerd.service"), "active");
    stage.node(&first).ok("systemctl kill --kill-who=all --signal=CONT flotilla-agent.service");

    // Both agents end in order, and nothing runs any more.
    for node in &stage.nodes {
        node.ok("systemctl stop flotilla-agent.service");
        until("nothing to run", DEADLINE, || {
            let state = node.unit_state("ledgerd.service");
            if state == "inactive" || state == "failed" { Ok(()) } else { Err(state) }
        });
    }
}
