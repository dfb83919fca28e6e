//! The network of this host, as bonds need it: by systemd-networkd's files, or by nmstate.

mod bonding;
mod files;
mod links;
mod networkd;
mod nmstate;
mod program;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use scores::bond::{HostBond, HostLinks, HostNetwork};
use scores::{DeviceError, Topology};

pub use networkd::NetworkdHost;
pub use nmstate::NmstateHost;

/// The network of this host, by whichever way it is set here.
#[derive(Debug, Clone)]
pub enum HostNet {
    /// By systemd-networkd.
    Networkd(NetworkdHost),
    /// By nmstate, over NetworkManager.
    Nmstate(NmstateHost),
    /// Not at all, for this reason.
    Not(&'static str),
}

impl HostNet {
    /// By nmstate where its program is in this search path, and else by systemd-networkd if that one's is. `root` stands
    /// for `/`, `data` is a folder to remember what was set in.
    pub fn find(root: &Path, search: &OsStr, data: &Path) -> Option<Self> {
        let program = |name: &str| std::env::split_paths(search).map(|dir| dir.join(name)).find(|path| path.is_file());
        if let Some(program) = program("nmstatectl") {
            return Some(Self::Nmstate(NmstateHost::new(root, program, data)));
        }
        program("networkctl").map(|program| Self::Networkd(NetworkdHost::new(root, program)))
    }

    /// Has the program run by another one, whose words these are.
    #[must_use]
    pub fn run_by(self, before: &[String]) -> Self {
        match self {
            Self::Networkd(host) => Self::Networkd(host.run_by(before)),
            Self::Nmstate(host) => Self::Nmstate(host.run_by(before)),
            Self::Not(why) => Self::Not(why),
        }
    }
}

impl Topology for HostNet {
    fn name(&self) -> &str {
        match self {
            Self::Networkd(host) => host.name(),
            Self::Nmstate(host) => host.name(),
            Self::Not(_) => "host",
        }
    }

    async fn ensure_ready(&self) -> Result<(), DeviceError> {
        match self {
            Self::Networkd(host) => host.ensure_ready().await,
            Self::Nmstate(host) => host.ensure_ready().await,
            Self::Not(why) => Err(cannot(why)),
        }
    }
}

impl HostNetwork for HostNet {
    async fn look(&self, bond: &str) -> Result<HostLinks, DeviceError> {
        match self {
            Self::Networkd(host) => host.look(bond).await,
            Self::Nmstate(host) => host.look(bond).await,
            Self::Not(why) => Err(cannot(why)),
        }
    }

    async fn record(&self, bond: &str) -> Result<String, DeviceError> {
        match self {
            Self::Networkd(host) => host.record(bond).await,
            Self::Nmstate(host) => host.record(bond).await,
            Self::Not(why) => Err(cannot(why)),
        }
    }

    async fn set(&self, bond: &HostBond) -> Result<(), DeviceError> {
        match self {
            Self::Networkd(host) => host.set(bond).await,
            Self::Nmstate(host) => host.set(bond).await,
            Self::Not(why) => Err(cannot(why)),
        }
    }

    async fn keep(&self, bond: &HostBond) -> Result<(), DeviceError> {
        match self {
            Self::Networkd(host) => host.keep(bond).await,
            Self::Nmstate(host) => host.keep(bond).await,
            Self::Not(why) => Err(cannot(why)),
        }
    }

    async fn put_back(&self, bond: &str, record: &str) -> Result<(), DeviceError> {
        match self {
            Self::Networkd(host) => host.put_back(bond, record).await,
            Self::Nmstate(host) => host.put_back(bond, record).await,
            Self::Not(why) => Err(cannot(why)),
        }
    }
}

fn cannot(why: &str) -> DeviceError {
    DeviceError::permanent(format!("set the network: {why}"))
}

/// Does something with the disk, off the runtime's threads.
async fn blocking<R: Send + 'static>(
    doing: &'static str,
    act: impl FnOnce() -> std::io::Result<R> + Send + 'static,
) -> Result<R, DeviceError> {
    match tokio::task::spawn_blocking(act).await {
        Ok(done) => done.map_err(|error| DeviceError::io(doing, error)),
        Err(error) => Err(DeviceError::transient(doing).because(error)),
    }
}

/// Reads a file that may not be there, and no more of it than this.
fn read(path: &Path) -> std::io::Result<Option<String>> {
    use std::io::Read as _;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(Some(text))
}

fn under(root: &Path, path: &str) -> PathBuf {
    root.join(path)
}

/// The most that is read of any file, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;
