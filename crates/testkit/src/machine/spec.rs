//! What a machine is to be made of.

use std::path::{Path, PathBuf};

use super::{Disk, Machine};
use crate::Namespace;

/// A machine that is to be started: its root file system, its name, what it sees of the host.
#[derive(Debug, Clone)]
pub struct MachineSpec {
    rootfs: PathBuf,
    name: String,
    binds: Vec<(PathBuf, String)>,
    files: Vec<(String, Vec<u8>, u32)>,
}

impl MachineSpec {
    /// A machine over a root file system ([`crate::rootfs()`]), with a name made of a-z, 0-9 and `-`.
    #[track_caller]
    pub fn new(rootfs: impl AsRef<Path>, name: &str) -> Self {
        let fits = !name.is_empty() && name.len() <= 32;
        assert!(
            fits && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
            "{name:?} is no name for a machine: 1 to 32 of a-z 0-9 -"
        );
        Self { rootfs: rootfs.as_ref().to_owned(), name: name.to_owned(), binds: Vec::new(), files: Vec::new() }
    }

    /// Shows a file or folder of the host at a path of the machine, read-only: the `flt` binary, a Nix store.
    #[track_caller]
    pub fn bind(mut self, host: impl AsRef<Path>, path: &str) -> Self {
        let host = host.as_ref();
        assert!(path.starts_with('/'), "{path:?} is not absolute");
        match host.canonicalize() {
            Ok(host) => self.binds.push((host, path.to_owned())),
            Err(error) => panic!("cannot show {} to a machine: {error}", host.display()),
        }
        self
    }

    /// A file that it has from its first start on: a unit, a configuration.
    #[track_caller]
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        assert!(path.starts_with('/') && !path.contains("/../"), "{path:?} is not absolute");
        self.files.push((path.to_owned(), content.into(), mode));
        self
    }

    /// Starts it and waits until systemd has started everything. Panics if a unit failed or it takes too long.
    #[track_caller]
    pub fn boot(self) -> Machine {
        let network = Namespace::new(&self.name);
        let disk = Disk::new(&self.name, &self.binds);
        for (path, content, mode) in &self.files {
            if let Err(error) = place(&disk.folder.join("upper"), path, content, *mode) {
                panic!("cannot give {path} to {}: {error}", self.name);
            }
        }
        let mut machine =
            Machine { name: self.name, running: None, terminal: None, disk, rootfs: self.rootfs, network };
        machine.start();
        let failed = machine.failed_units();
        let journal = || machine.exec("journalctl -b --no-pager -o short-monotonic | tail -n 60").stdout;
        assert!(failed.is_empty(), "{} started with failed units {failed:?}:\n{}", machine.name, journal());
        machine
    }

    /// Starts several at the same time; they come back in their order.
    #[track_caller]
    pub fn boot_all(specs: impl IntoIterator<Item = Self>) -> Vec<Machine> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = specs.into_iter().map(|spec| scope.spawn(move || spec.boot())).collect();
            let joined: Vec<_> = threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            joined.into_iter().map(|machine| machine.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    }
}

/// Writes a file into the upper layer. Folders that it makes there are root's, with mode 0755, as a system's are.
fn place(upper: &Path, path: &str, content: &[u8], mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let file = upper.join(path.trim_start_matches('/'));
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&file, content)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode))
}
