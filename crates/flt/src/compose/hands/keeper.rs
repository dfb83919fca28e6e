//! The hands as a process of root's: a ledger of its own, two sockets, and no network.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent::hands::Admit;
use agent::{Keeper, KeeperOptions, Link, LinkedChecks};
use anyhow::Context as _;
use devices::checks::HostChecks;
use devices::network::HostNet;
use protocols::store::Store;
use protocols::{FleetId, FleetState, Name, NodeId, SecretKey};
use scores::{Artifacts, Checks};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::detached::{Detached, outside};
use super::lent::{self, Lent, LentDevice};
use super::{Host, check_path, former, is_confined, trusted_keys};

/// What the hands run with.
#[derive(Debug, Clone)]
pub struct KeeperParts {
    /// Their folder.
    pub data: PathBuf,
    /// The node's key.
    pub key: SecretKey,
    /// The fleet that they are pinned to.
    pub fleet: FleetId,
    /// Where they listen.
    pub socket: PathBuf,
    /// The user and group of the network half.
    pub peer: (u32, u32),
    /// The folder that files scores are confined to.
    pub files_root: PathBuf,
    /// The devices that the network half manages, which may be one end of a bond.
    pub devices: Vec<Name>,
    /// How long they wait at their start for the network half before they judge what was left open.
    pub patience: Duration,
}

/// How long the hands should wait at their start for the network half.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Hands that listen.
#[derive(Debug)]
pub struct Ready {
    keeper: Arc<Keeper>,
    listener: UnixListener,
    admit: Admit,
    lent: Arc<Lent>,
    lenders: UnixListener,
    users: Vec<u32>,
    former: Former,
}

impl Ready {
    /// Serves until the token that they were opened with is cancelled.
    pub async fn run(self) {
        // What is played to its end at the stop may need a device until then.
        let borrowing = self.lent.run(self.lenders, self.users, CancellationToken::new());
        tokio::select! {
            () = self.keeper.run(self.listener, self.admit) => {}
            () = self.former.let_go() => {}
            () = borrowing => {}
        }
    }
}

/// The keys that the node had before, which go when the ledger needs them no more.
#[derive(Debug)]
struct Former {
    data: PathBuf,
    node: NodeId,
    state: watch::Receiver<Option<Arc<FleetState>>>,
}

impl Former {
    /// Looks at each new state, for ever.
    async fn let_go(mut self) {
        let catalogue = scores::catalogue();
        loop {
            let state = self.state.borrow_and_update().clone();
            if let Some(state) = state {
                former::let_go(&self.data, &state, self.node, &catalogue);
            }
            if self.state.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// Opens the hands' ledger and their socket. The folder, `parts.data`, is open: who holds its lock may take the socket
/// away from one that is dead.
///
/// # Errors
/// If the folder, the ledger or the socket is not usable; the chain of causes says which.
pub fn open(store: Arc<Store>, parts: &KeeperParts, stop: CancellationToken) -> anyhow::Result<Ready> {
    let link = Link::new(&parts.data).context("cannot use the folder for blobs")?;
    let node = parts.key.id();
    let (state, seen) = watch::channel::<Option<Arc<FleetState>>>(None);
    let former = Former { data: parts.data.clone(), node, state: seen.clone() };
    let trusted = move || seen.borrow().as_ref().map(|state| trusted_keys(state, node)).unwrap_or_default();
    let drivers = crate::compose::failover::drivers_of_hands(&parts.data, &super::keys(&parts.key, &parts.data))?;
    let lent = Lent::new();
    let devices: Vec<LentDevice> = parts.devices.iter().map(|name| lent.device(name.clone())).collect();
    let host = Host {
        data: &parts.data,
        files_root: &parts.files_root,
        key: &parts.key,
        artifacts: Arc::clone(&link) as Arc<dyn Artifacts>,
        checks: Arc::new(LinkedChecks::new(Arc::clone(&link), here())),
        trusted: Arc::new(trusted),
        // Only root can switch.
        nixos: rustix::process::geteuid().is_root(),
        // They are the network half's, which lends them.
        devices: &[],
        groups: &[],
        lent: &devices,
        network: network(parts),
        workloads: drivers.topology(),
    };
    let (fleet, data, patience) = (parts.fleet, parts.data.clone(), parts.patience);
    let options = KeeperOptions { node, fleet, data, patience, clock: crate::compose::system_clock() };
    let keeper = Keeper::open(store, options, link, host.ensemble()?, state, stop)?;
    if keeper.drive(drivers).is_err() {
        anyhow::bail!("something drives the workloads of these hands already");
    }
    let listener = listen(&parts.socket, parts.peer.1);
    let listener = listener.with_context(|| format!("cannot listen at {}", parts.socket.display()))?;
    let lenders = lent::socket(&parts.socket);
    let lenders = listen(&lenders, parts.peer.1).with_context(|| format!("cannot listen at {}", lenders.display()))?;
    let users = vec![parts.peer.0, 0, rustix::process::geteuid().as_raw()];
    let admit = Admit::users(users.iter().copied());
    Ok(Ready { keeper, listener, admit, lent, lenders, users, former })
}

/// By which way they set this machine's network. Under systemd their unit is confined: the programs that set it must not
/// be, and a unit that sees no network says so, and not that there is none.
fn network(parts: &KeeperParts) -> Option<HostNet> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let confined = is_confined();
    if confined && !crate::compose::failover::has_network() {
        return Some(HostNet::Not(NO_NETWORK));
    }
    let found = HostNet::find(&parts.files_root, &check_path(), &parts.data)?;
    Some(if confined { found.run_by(&outside(&check_path().to_string_lossy())) } else { found })
}

/// What is said where a unit sees no network.
const NO_NETWORK: &str = "the hands' unit has a network namespace of its own: to make bonds it needs `PrivateNetwork=no` \
                          (docs/security.md)";

/// Checks that need no network. Under systemd the unit is confined, and what they run must not be.
fn here() -> Arc<dyn Checks> {
    let path = check_path();
    let text = path.to_string_lossy().into_owned();
    let checks: Arc<dyn Checks> = Arc::new(HostChecks::new(path));
    if is_confined() { Arc::new(Detached::new(checks, text)) } else { checks }
}

/// A socket that its group may use, and nobody else; the keeper asks the kernel besides who it is that does.
fn listen(path: &Path, group: u32) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::symlink_metadata(path) {
        // Left by a process that is gone.
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something that is no socket is in its place"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(path, None, Some(group))?;
    }
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    Ok(listener)
}
