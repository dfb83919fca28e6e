//! The topologies of this host: what an agent here can play, in its own process or in one of root's.

mod detached;
mod errand;
pub(crate) mod former;
pub mod keeper;
mod lend;
mod lent;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent::failover::{Drivers, KeptHere};
use agent::{Agent, AskedCustodian, Beside, FarHands, Fetcher, Hands};
use devices::checks::HostChecks;
use devices::linux::LinuxHost;
use devices::network::HostNet;
use devices::nixos::NixosHost;
use protocols::facts::{StableFacts, VolatileFacts};
use protocols::{FleetState, NodeId, SecretKey};
use scores::bond::{BondScore, Plugged};
use scores::files::FilesScore;
use scores::nixos::{NixosScore, TrustedKey};
use scores::topology::{Pair, Redundant};
use scores::{Artifacts, Checks, Custodian, Ensemble, Player, Registry, Score as _, Trials};

use lend::Lending;
use lent::LentDevice;

use super::Late;
use super::agent::AgentParts;

/// Where checks look for programs, if the agent's own environment says nothing.
const CHECK_PATH: &str = "/run/current-system/sw/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the topologies of a host are made from.
pub(super) struct Host<'a> {
    /// The folder for their records.
    pub(super) data: &'a Path,
    /// The folder that files scores are confined to.
    pub(super) files_root: &'a Path,
    /// The node's key, which secrets are sealed to.
    pub(super) key: &'a SecretKey,
    /// Where blobs come from.
    pub(super) artifacts: Arc<dyn Artifacts>,
    /// Who runs checks.
    pub(super) checks: Arc<dyn Checks>,
    /// Whose signatures on store paths are believed.
    pub(super) trusted: Arc<dyn Fn() -> Vec<TrustedKey> + Send + Sync>,
    /// Whether systems can be switched to, or at least looked at.
    pub(super) nixos: bool,
    /// Devices that are managed from here.
    pub(super) devices: &'a [switches::Device],
    /// Which of these are changed as one.
    pub(super) groups: &'a [switches::Group],
    /// Devices that another process speaks to, which may be one end of a bond.
    lent: &'a [LentDevice],
    /// By which way the other end is set, if that can be done here.
    network: Option<HostNet>,
    /// Workloads with one writer, as far as they are driven or seen here.
    pub(super) workloads: KeptHere,
}

impl Host<'_> {
    /// All that this host can play: files everywhere, NixOS where it is NixOS.
    pub(super) fn ensemble(self) -> anyhow::Result<Ensemble> {
        super::cores::none();
        let trials = Trials::open(self.data.join("trials"))?;
        let mut ensemble = Ensemble::new(trials, self.checks);
        let keys = keys(self.key, self.data);
        for device in self.devices {
            ensemble = ensemble.with(switches::player(device.clone()));
        }
        if let Some(network) = &self.network {
            ensemble = self.devices.iter().fold(ensemble, |all, device| all.with(bonds(network, device.clone())));
            ensemble = self.lent.iter().fold(ensemble, |all, device| all.with(bonds(network, device.clone())));
        }
        for group in group_players(self.groups, self.devices)? {
            ensemble = ensemble.with(group);
        }
        let files = LinuxHost::new(self.files_root, Arc::clone(&self.artifacts)).with_keys(keys);
        ensemble = ensemble.with(Player::new(files, Registry::new().with::<FilesScore>()));
        if self.nixos && NixosHost::is_nixos(Path::new("/")) {
            let nixos = NixosHost::new(self.data.join("nixos"), self.artifacts, self.trusted);
            ensemble = ensemble.with(Player::new(nixos, Registry::new().with::<NixosScore>()));
        }
        Ok(ensemble.with(super::failover::player(self.workloads)))
    }
}

/// Plays bonds of this host with a device.
fn bonds<W: Plugged>(network: &HostNet, device: W) -> Player<Pair<HostNet, W>> {
    let subjects = format!("bond/{}/*", device.device());
    Player::new(Pair::new(network.clone(), device), Registry::new().with::<BondScore>()).only(subjects)
}

/// The devices that are managed from here. Their sessions are shared by all that is done with them; who else manages them is
/// asked before they are changed.
pub(super) fn devices(parts: &AgentParts, late: &Arc<Late<Agent>>) -> anyhow::Result<Vec<switches::Device>> {
    let keys = keys(&parts.key, &parts.data);
    let late = Arc::clone(late);
    let custodian: Arc<dyn Custodian> = AskedCustodian::new(move || late.get());
    let open = |declaration: &switches::Declaration| {
        let (state, custodian) = (parts.data.join("devices"), Arc::clone(&custodian));
        let device = switches::Device::with_custodian(declaration.clone(), state, keys.clone(), custodian);
        device.map_err(|why| anyhow::anyhow!("the device `{}`: {why}", declaration.name))
    };
    parts.devices.iter().map(open).collect()
}

/// What plays on groups of devices. Their members' sessions are those of the devices.
fn group_players(
    groups: &[switches::Group],
    devices: &[switches::Device],
) -> anyhow::Result<Vec<Player<Redundant<switches::Member>>>> {
    let player = |group: &switches::Group| {
        let player = switches::group_player(group, devices);
        player.map_err(|why| anyhow::anyhow!("the group `{}` of devices: {why}", group.name))
    };
    groups.iter().map(player).collect()
}

/// The hands in the agent's own process.
pub(super) fn near(
    parts: &AgentParts,
    devices: &[switches::Device],
    fetcher: &Arc<Fetcher>,
    late: &Arc<Late<Agent>>,
    drivers: &Drivers,
) -> anyhow::Result<Arc<dyn Hands>> {
    let late = Arc::clone(late);
    let trusted = move || {
        let known = late.get().and_then(|agent| Some((agent.state()?, agent.id())));
        known.map(|(state, id)| trusted_keys(&state, id)).unwrap_or_default()
    };
    let root = rustix::process::geteuid().is_root();
    let host = Host {
        data: &parts.data,
        files_root: &parts.files_root,
        key: &parts.key,
        artifacts: Arc::clone(fetcher) as Arc<dyn Artifacts>,
        checks: Arc::new(HostChecks::new(check_path())),
        trusted: Arc::new(trusted),
        // Only root can switch.
        nixos: root,
        devices,
        groups: &parts.device_groups,
        lent: &[],
        // Only root can set it.
        network: if root { HostNet::find(&parts.files_root, &check_path(), &parts.data) } else { None },
        workloads: drivers.topology(),
    };
    Ok(Arc::new(host.ensemble()?))
}

/// The hands behind a socket. What is not published is planned here, by what an unprivileged process can see.
/// Devices are played by this process itself: it has the network, and neither it nor they need root. It lends them to the
/// hands, which make the bonds whose other end is this machine.
pub(super) fn far(
    parts: &AgentParts,
    devices: &[switches::Device],
    fetcher: &Arc<Fetcher>,
    socket: PathBuf,
) -> anyhow::Result<Arc<dyn Hands>> {
    let artifacts = Arc::clone(fetcher) as Arc<dyn Artifacts>;
    let checks = Arc::new(HostChecks::new(check_path()));
    let preview = parts.data.join("preview");
    let host = Host {
        data: &preview,
        files_root: &parts.files_root,
        key: &parts.key,
        artifacts: Arc::clone(&artifacts),
        checks: Arc::clone(&checks) as Arc<dyn Checks>,
        trusted: Arc::new(Vec::new),
        nixos: true,
        devices,
        groups: &[],
        lent: &[],
        network: HostNet::find(&parts.files_root, &check_path(), &preview),
        workloads: KeptHere::unseen(),
    };
    let lent = lent::socket(&socket);
    let far = FarHands::new(socket, Arc::new(host.ensemble()?), artifacts, Arc::clone(&checks) as Arc<dyn Checks>);
    if devices.is_empty() {
        return Ok(far);
    }
    let ensemble = Ensemble::new(Trials::open(parts.data.join("trials"))?, checks);
    let players = devices.iter().map(|device| switches::player(device.clone()));
    let groups = group_players(&parts.device_groups, devices)?;
    let ensemble = groups.into_iter().fold(players.fold(ensemble, Ensemble::with), Ensemble::with);
    Ok(Lending::new(Beside::new(far, ensemble), devices, lent))
}

/// The node's keys: its own, and then those that it had before.
pub(super) fn keys(key: &SecretKey, data: &Path) -> Vec<SecretKey> {
    std::iter::once(key.clone()).chain(former::keys(data)).collect()
}

/// Whether this is a unit of systemd's, whose bonds what it runs for others must not have.
pub(super) fn is_confined() -> bool {
    std::env::var_os("INVOCATION_ID").is_some() && Path::new("/run/systemd/system").is_dir()
}

pub(super) fn check_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| CHECK_PATH.into())
}

/// Exactly those who may publish a system for a node.
fn trusted_keys(state: &FleetState, node: NodeId) -> Vec<TrustedKey> {
    state.publishers(&NixosScore::KIND, node).into_iter().map(TrustedKey::of_node).collect()
}

/// Facts that rarely change. The kinds are the agent's to add.
pub(super) async fn stable_facts() -> StableFacts {
    devices::facts::stable(Path::new("/"), env!("CARGO_PKG_VERSION"), Vec::new()).await
}

/// Facts that always change.
pub(super) async fn volatile_facts(data: PathBuf) -> VolatileFacts {
    devices::facts::volatile(Path::new("/"), &data, super::now()).await
}
