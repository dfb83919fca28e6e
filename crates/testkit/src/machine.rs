//! Machines: a real systemd as process 1, with its own network, disk, host name and processes, up in a second.

mod cgroup;
mod console;
mod disk;
mod spec;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use cgroup::mount_point as cgroup2;
pub use spec::MachineSpec;

use console::Console;
use disk::Disk;

use crate::wait::{DEADLINE, until};
use crate::{Namespace, Output, Proc, Program};

/// A machine that runs, or that was switched off and can be started again with the same disk.
///
/// It is a set of kernel namespaces, so it shares the kernel and the clock with the host and cannot load modules or
/// limit memory everywhere. Its disk is an overlay over a root file system; /run and /tmp are empty at every
/// start. Its network namespace, and so its addresses, outlive a restart. Dropping it kills it and removes everything.
#[derive(Debug)]
pub struct Machine {
    name: String,
    // Dropped in this order: what runs, then what it ran in.
    running: Option<Proc>,
    terminal: Option<Console>,
    disk: Disk,
    rootfs: PathBuf,
    network: Namespace,
}

impl Machine {
    /// Starts a machine over a root file system ([`crate::rootfs()`]) and waits until systemd has started everything.
    /// Panics if a unit failed or it takes too long.
    #[track_caller]
    pub fn boot(rootfs: impl AsRef<Path>, name: &str) -> Self {
        MachineSpec::new(rootfs, name).boot()
    }

    /// Starts several machines at the same time; they come back in the order of the names.
    #[track_caller]
    pub fn boot_all(rootfs: impl AsRef<Path>, names: &[&str]) -> Vec<Self> {
        MachineSpec::boot_all(names.iter().map(|name| MachineSpec::new(&rootfs, name)))
    }

    /// Its name, which is its host name too.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its network: attach it to a [`crate::Lan`]. It has `lo` at first.
    pub fn network(&self) -> &Namespace {
        &self.network
    }

    /// Runs a shell command as root; gives what it answered. Panics if it takes longer than [`DEADLINE`].
    #[track_caller]
    pub fn exec(&self, command: &str) -> Output {
        self.shell(command).run()
    }

    /// [`Machine::exec`] that must succeed; gives its standard output.
    #[track_caller]
    pub fn ok(&self, command: &str) -> String {
        self.shell(command).ok()
    }

    /// A shell command as a program: to give it input, a time limit, or to spawn it.
    #[track_caller]
    pub fn shell(&self, command: &str) -> Program {
        self.program("sh").args(["-c", command]).named(format!("{}: {command}", self.name))
    }

    /// A program of the machine by its path there. It runs as root with a plain environment, outside of every unit,
    /// and dies with the machine.
    #[track_caller]
    pub fn program(&self, path: &str) -> Program {
        let pid = self.pid().unwrap_or_else(|| panic!("{} is switched off", self.name));
        let enter = ["nsenter", "-t", &pid.to_string(), "-a", "--", "env", "-i", "HOME=/root", "LANG=C.UTF-8", PATH];
        Program::new(path).named(format!("{}: {path}", self.name)).within(enter.map(Into::into))
    }

    /// Waits until a shell command succeeds; gives its standard output.
    #[track_caller]
    pub fn wait_until(&self, command: &str, within: Duration) -> String {
        until(&format!("`{command}` to succeed on {}", self.name), within, || {
            let output = self.exec(command);
            if output.success() { Ok(output.stdout) } else { Err((output.code, output.stdout, output.stderr)) }
        })
    }

    /// Waits until a unit is active.
    #[track_caller]
    pub fn wait_for_unit(&self, unit: &str) {
        until(&format!("{unit} to be active on {}", self.name), DEADLINE, || match self.unit_state(unit) {
            state if state == "active" => Ok(()),
            state => Err(state),
        });
    }

    /// The state of a unit in systemd's words: active, inactive, failed, activating …
    #[track_caller]
    pub fn unit_state(&self, unit: &str) -> String {
        self.exec(&format!("systemctl is-active {unit}")).stdout.trim().to_owned()
    }

    /// The journal of a unit since the last start.
    #[track_caller]
    pub fn journal(&self, unit: &str) -> String {
        self.exec(&format!("journalctl -b -u {unit} --no-pager -o cat")).stdout
    }

    /// Writes a file, whole or not at all, with its folders; its mode is 0644.
    #[track_caller]
    pub fn write(&self, path: &str, content: impl Into<Vec<u8>>) {
        self.write_with_mode(path, content, 0o644);
    }

    /// [`Machine::write`] with a mode.
    #[track_caller]
    pub fn write_with_mode(&self, path: &str, content: impl Into<Vec<u8>>, mode: u32) {
        let script = "set -e; mkdir -p \"${1%/*}/\"; cat > \"$1.testkit-new\"; chmod \"$2\" \"$1.testkit-new\"; \
                      mv \"$1.testkit-new\" \"$1\"";
        let program = self.program("sh").args(["-c", script, "sh", path, &format!("{mode:o}")]);
        program.named(format!("{}: write {path}", self.name)).input(content).ok();
    }

    /// Copies a file of the host to the machine, with its mode. For large ones prefer [`MachineSpec::bind`].
    #[track_caller]
    pub fn put(&self, host: impl AsRef<Path>, path: &str) {
        use std::os::unix::fs::PermissionsExt;

        let host = host.as_ref();
        let read = std::fs::read(host).and_then(|content| Ok((content, std::fs::metadata(host)?.permissions().mode())));
        match read {
            Ok((content, mode)) => self.write_with_mode(path, content, mode & 0o7777),
            Err(error) => panic!("cannot read {}: {error}", host.display()),
        }
    }

    /// The text of a file of the machine.
    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        self.program("cat").args(["--", path]).ok()
    }

    /// Everything that was printed to its console since it was first started.
    pub fn console(&self) -> String {
        self.disk.console()
    }

    /// Whether it is switched on.
    pub fn is_on(&self) -> bool {
        self.running.as_ref().is_some_and(Proc::is_running)
    }

    /// How often it has started so far; a machine that restarts by itself is counted too.
    pub fn boots(&self) -> usize {
        self.console().matches(BOOT_LINE).count()
    }

    /// Cuts the power: everything in it is killed at once. What it wrote stays, as after a crash of its processes
    /// (the host's page cache is not lost, so this says nothing about missing fsyncs).
    pub fn power_cut(&mut self) {
        drop(self.running.take());
        drop(self.terminal.take());
    }

    /// Starts it again after [`Machine::power_cut`] or [`Machine::shut_down`], and waits until systemd has started
    /// what it could; units may have failed ([`Machine::failed_units`]).
    #[track_caller]
    pub fn start(&mut self) {
        assert!(!self.is_on(), "{} is switched on already", self.name);
        self.power_cut();
        self.disk.forget_pid();
        let log = self.disk.folder.join("console.log");
        let console = match Console::open(&log) {
            Ok(console) => console,
            Err(error) => panic!("cannot open a terminal for {}: {error}", self.name),
        };
        let terminal = console.terminal.to_string_lossy().into_owned();
        self.terminal = Some(console);
        let cgroup = self.disk.cgroup.to_string_lossy().into_owned();
        let folder = self.disk.folder.to_string_lossy().into_owned();
        let rootfs = self.rootfs.to_string_lossy().into_owned();
        let program = Program::new("sh")
            .args(["-c", BOOT, "boot", &folder, &rootfs, &cgroup, self.network.name(), &terminal, &self.name])
            .env("BOOT", INIT)
            .named(format!("machine {}", self.name));
        self.running = Some(program.spawn());
        self.wait_until_booted();
    }

    /// A power cut and a start.
    #[track_caller]
    pub fn reboot(&mut self) {
        self.power_cut();
        self.start();
    }

    /// Lets systemd stop everything in order and switch the machine off.
    #[track_caller]
    pub fn shut_down(&mut self) {
        // The command can be cut off by what it asks for, so what counts is whether the machine goes off.
        let asked = self.exec("systemctl poweroff");
        if let Some(running) = &self.running {
            until(&format!("{} to switch itself off", self.name), DEADLINE, || {
                if running.is_running() { Err(format!("{asked:?}; console: {}", self.console_end())) } else { Ok(()) }
            });
        }
        self.power_cut();
    }

    /// Waits until systemd has started everything it can; it waits through a restart that is under way.
    #[track_caller]
    pub fn wait_until_booted(&self) {
        until(&format!("{} to boot", self.name), BOOT_LIMIT, || {
            assert!(self.is_on(), "{} did not boot; its console says:\n{}", self.name, self.console_end());
            let state = match self.pid() {
                Some(_) => self.exec("systemctl is-system-running --wait 2>&1").stdout,
                None => "no process 1 yet".to_owned(),
            };
            match state.trim() {
                "running" | "degraded" => Ok(()),
                _ => Err(format!("{}; console: {}", state.trim(), self.console_end())),
            }
        });
    }

    /// The units that failed.
    #[track_caller]
    pub fn failed_units(&self) -> Vec<String> {
        let listed = self.ok("systemctl list-units --failed --plain --no-legend");
        listed.lines().filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
    }

    /// The number that the host knows its process 1 by.
    pub fn pid(&self) -> Option<u32> {
        if self.is_on() { self.disk.pid() } else { None }
    }

    /// The folder on the host with everything that it changed on its disk (the upper layer of the overlay). Read it
    /// only while the machine is switched off.
    pub fn changes(&self) -> PathBuf {
        self.disk.folder.join("upper")
    }

    fn console_end(&self) -> String {
        let launcher = self.running.as_ref().map(Proc::stderr).unwrap_or_default();
        let console = self.console() + &launcher;
        let lines: Vec<&str> = console.lines().collect();
        lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
    }
}

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const BOOT: &str = include_str!("machine/boot.sh");
const INIT: &str = include_str!("machine/init.sh");
/// Printed once at every start, before systemd.
const BOOT_LINE: &str = "flotilla-testkit: starting";
/// How long systemd may take on a machine that is overloaded many times.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
