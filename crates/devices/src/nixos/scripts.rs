//! The two small programs that run outside the agent: the switch, and the way back.
//!
//! They use a shell and three coreutils, from the system that is gone back to, so that they work when the new system, or
//! the agent in it, does not.

use std::path::{Path, PathBuf};

use scores::nixos::StorePath;
use scores::{DeviceError, durable};

/// A program in a trial's folder, and the file that its exit status is written to.
#[derive(Debug, Clone)]
pub(super) struct Script {
    /// The program.
    pub(super) file: PathBuf,
    /// Where it writes its process id while it runs.
    pub(super) pid: PathBuf,
    /// Where it writes the exit status of the switch, in one piece, at its end.
    pub(super) status: PathBuf,
    /// Where the switch's own words go.
    pub(super) log: PathBuf,
}

impl Script {
    pub(super) fn new(dir: &Path, name: &str) -> Self {
        let file = |end: &str| dir.join(format!("{name}.{end}"));
        Self { file: file("sh"), pid: file("pid"), status: file("status"), log: file("log") }
    }

    /// The exit status, once it is there.
    pub(super) fn exit_status(&self) -> Option<i32> {
        std::fs::read_to_string(&self.status).ok()?.trim().parse().ok()
    }

    /// Forgets an earlier run.
    pub(super) fn clear(&self) {
        for file in [&self.status, &self.pid, &self.log] {
            drop(std::fs::remove_file(file));
        }
    }
}

/// Writes the program that does `action` (`test` or `boot`) with a system, and nothing else.
pub(super) fn write_action(
    script: &Script,
    root: &Path,
    system: &StorePath,
    action: &str,
    tools: Option<&StorePath>,
) -> Result<(), DeviceError> {
    let text = format!(
        "{head}\
         {stc} {action} >>{log} 2>&1 </dev/null\n\
         status=$?\n\
         {tail}",
        head = head(script, root, tools),
        stc = quoted(&switcher(system)),
        log = quoted(&script.log),
        tail = tail(script),
    );
    save(script, &text)
}

/// Writes the program that goes back to `target`, unless the change was confirmed. Called with `decided` it does not ask.
pub(super) fn write_back(script: &Script, root: &Path, target: &StorePath, stop: &str) -> Result<(), DeviceError> {
    let dir = script.file.parent().unwrap_or(root);
    let text = format!(
        "{head}\
         if [ \"${{1:-}}\" != decided ]; then\n\
         \x20 printf {BY_TIMER} >{mine} && ln {mine} {decision} || exit 0\n\
         fi\n\
         {stop}\n\
         tries=0\n\
         while :; do\n\
         \x20 NIXOS_NO_CHECK=1 {stc} test >>{log} 2>&1 </dev/null\n\
         \x20 status=$?\n\
         \x20 tries=$((tries + 1))\n\
         \x20 if [ \"$status\" != {LOCKED} ] || [ \"$tries\" -ge {LOCK_TRIES} ]; then break; fi\n\
         \x20 sleep 2\n\
         done\n\
         {tail}",
        head = head(script, root, Some(target)),
        mine = quoted(&dir.join("decision.timer")),
        decision = quoted(&dir.join("decision")),
        stc = quoted(&switcher(target)),
        log = quoted(&script.log),
        tail = tail(script),
    );
    save(script, &text)
}

/// A path as one word of a shell.
pub(super) fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

/// The program of a system that switches to it.
fn switcher(system: &StorePath) -> PathBuf {
    Path::new(system.as_str()).join("bin/switch-to-configuration")
}

fn head(script: &Script, root: &Path, target: Option<&StorePath>) -> String {
    let mut path = Vec::new();
    if let Some(target) = target {
        path.push(format!("{target}/sw/bin"));
    }
    path.push(root.join("run/current-system/sw/bin").to_string_lossy().into_owned());
    path.extend(["/usr/bin".to_owned(), "/bin".to_owned()]);
    format!(
        "#!/bin/sh\n\
         PATH={path}\n\
         export PATH\n\
         printf '%s\\n' $$ >{pid}\n",
        path = quoted(Path::new(&path.join(":"))),
        pid = quoted(&script.pid)
    )
}

fn tail(script: &Script) -> String {
    let new = script.status.with_extension("status.new");
    format!(
        "printf '%s\\n' \"$status\" >{new} && mv {new} {status}\n",
        new = quoted(&new),
        status = quoted(&script.status)
    )
}

fn save(script: &Script, text: &str) -> Result<(), DeviceError> {
    durable::write(&script.file, text.as_bytes())
        .map_err(|error| DeviceError::io(format!("write {}", script.file.display()), error))
}

/// The exit status of a switch that finds another one going on.
pub(super) const LOCKED: i32 = 11;
/// What the way back writes when it decides by itself.
pub(super) const BY_TIMER: &str = "reverted-by-timer";
/// How often the way back tries again while another switch is going on; with pauses of two seconds.
const LOCK_TRIES: u32 = 150;
