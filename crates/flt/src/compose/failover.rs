//! What drives workloads with one writer on this host: the kinds there are, and the supervisors that hold them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent::failover::{Drivers, DriversOptions, KeptHere};
use anyhow::Context as _;
use devices::hold::{HoldClient, HoldClientParts, OpenServices, unit_of};
use devices::postgres::OpenPostgres;
use protocols::SecretKey;
use scores::failover::Cluster;
use scores::postgres::PostgresScore;
use scores::service::ServiceScore;
use scores::workload::{Hold, OpenWorkload};
use scores::{Player, Registry};

/// Drivers that keep what they need below this folder, and open secrets with the node's keys.
pub(super) fn drivers(data: &Path, keys: &[SecretKey]) -> anyhow::Result<Arc<Drivers>> {
    made(data, keys, Place { detached: detaches(), networkless: false })
}

/// The same for hands in a process of their own, which systemd may have confined.
pub(super) fn drivers_of_hands(data: &Path, keys: &[SecretKey]) -> anyhow::Result<Arc<Drivers>> {
    made(data, keys, Place { detached: detaches(), networkless: super::hands::is_confined() && !has_network() })
}

/// Whether systemd is to start supervisors: with the unit that the agent is, systemd ends everything in it.
fn detaches() -> bool {
    super::hands::is_confined() && rustix::process::geteuid().is_root()
}

/// Where workloads are driven.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// In a unit whose bonds and whose end must not be the workload's.
    detached: bool,
    /// Where no client could reach a route.
    networkless: bool,
}

fn made(data: &Path, keys: &[SecretKey], place: Place) -> anyhow::Result<Arc<Drivers>> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let folder = std::path::absolute(data).context("cannot find the data folder")?.join("failover");
    let keys: Arc<[SecretKey]> = Arc::from(keys);
    let services = OpenServices::new(super::hands::check_path()).with_keys(Arc::clone(&keys));
    let mut workloads: Vec<Arc<dyn OpenWorkload>> = vec![Arc::new(services)];
    if !place.networkless {
        workloads.push(Arc::new(OpenPostgres::new(keys)));
    }
    let hold = move |folder: &Path, cluster: &Cluster| make_hold(program.clone(), folder, cluster, place.detached);
    Ok(Drivers::new(DriversOptions { folder, hold: Arc::new(hold), workloads }))
}

/// Plays the kinds of scores that have one writer, and that are driven on this topology.
pub(super) fn player(topology: KeptHere) -> Player<KeptHere> {
    Player::new(topology, Registry::new().with::<ServiceScore>().with::<PostgresScore>())
}

/// Whether there is anything here but a loopback.
fn has_network() -> bool {
    let devices = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
    devices.lines().skip(2).filter_map(|line| line.split(':').next()).any(|name| name.trim() != "lo")
}

fn make_hold(program: PathBuf, folder: &Path, cluster: &Cluster, detached: bool) -> Arc<dyn Hold> {
    let parts = HoldClientParts { socket: folder.join("hold"), unit: unit_of(&cluster.payload), program, detached };
    Arc::new(HoldClient::new(parts))
}
