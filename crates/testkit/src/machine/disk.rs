//! The folder of a machine on the host: the layers of its disk, its console, its control group.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Undo;

/// A folder and a control group with a name that no other machine has; both go when it is dropped.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) folder: PathBuf,
    pub(super) cgroup: PathBuf,
    _undo: Undo,
}

impl Disk {
    #[track_caller]
    pub(super) fn new(name: &str, binds: &[(PathBuf, String)]) -> Self {
        let base = std::env::var_os("FLT_TEST_STATE").map_or_else(|| PathBuf::from(STATE), PathBuf::from);
        let unique = format!("flt-{}-{}-{name}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = base.join(&unique);
        let groups = super::cgroup2().unwrap_or_else(|| panic!("this machine has no cgroup2 file system mounted"));
        let cgroup = groups.join(&unique);
        let undo = Undo::later(&UNDO.replace("CGROUP", &quote(&cgroup)).replace("FOLDER", &quote(&folder)));
        prepare(&folder, binds).unwrap_or_else(|error| panic!("cannot prepare {}: {error}", folder.display()));
        Self { folder, cgroup, _undo: undo }
    }

    pub(super) fn console(&self) -> String {
        let bytes = fs::read(self.folder.join("console.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The number of process 1 of the machine, once it has one.
    pub(super) fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.folder.join("pid")).ok()?.trim().parse().ok()
    }

    /// Forgets the number of a process 1 that is dead.
    #[track_caller]
    pub(super) fn forget_pid(&self) {
        match fs::remove_file(self.folder.join("pid")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("cannot forget a dead process: {error}"),
            _ => {}
        }
    }
}

fn prepare(folder: &std::path::Path, binds: &[(PathBuf, String)]) -> io::Result<()> {
    for part in ["upper", "work", "root"] {
        fs::create_dir_all(folder.join(part))?;
    }
    fs::write(folder.join("console.log"), "")?;
    let lines: String = binds.iter().map(|(host, guest)| format!("{}\t{guest}\n", host.display())).collect();
    fs::write(folder.join("binds"), lines)
}

fn quote(path: &std::path::Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

static COUNT: AtomicU32 = AtomicU32::new(0);
/// Not in /tmp, which may be memory, and not in /run: a disk can grow.
const STATE: &str = "/var/tmp/flotilla-testbed";
/// Kills what is left of the machine, then removes its control groups, innermost first, and its folder.
const UNDO: &str = r#"
for round in 1 2 3 4 5 6 7 8 9 10; do
    [ -d CGROUP ] || break
    find CGROUP -name cgroup.procs -exec cat {} + 2>/dev/null | xargs -r kill -9 2>/dev/null
    find CGROUP -depth -type d -exec rmdir {} + 2>/dev/null
    [ -d CGROUP ] || break
    sleep 0.1
done
rm -rf FOLDER
[ ! -d CGROUP ] && [ ! -d FOLDER ]
"#;
