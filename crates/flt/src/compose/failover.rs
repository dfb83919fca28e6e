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
    made(data, keys, Place { detached: detaches(), without_databases: false })
}

/// The same for hands in a process of their own, which systemd may have confined.
pub(super) fn drivers_of_hands(data: &Path, keys: &[SecretKey]) -> anyhow::Result<Arc<Drivers>> {
    let lacks = if super::hands::is_confined() { lacks_for_databases() } else { None };
    if let Some(lacks) = lacks {
        tracing::info!(lacks, "postgres/1 is not offered here");
    }
    made(data, keys, Place { detached: detaches(), without_databases: lacks.is_some() })
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
    /// Where a database could not be led to, or not be seen to have ended.
    without_databases: bool,
}

fn made(data: &Path, keys: &[SecretKey], place: Place) -> anyhow::Result<Arc<Drivers>> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let folder = std::path::absolute(data).context("cannot find the data folder")?.join("failover");
    let keys: Arc<[SecretKey]> = Arc::from(keys);
    let services = OpenServices::new(super::hands::check_path()).with_keys(Arc::clone(&keys));
    let mut workloads: Vec<Arc<dyn OpenWorkload>> = vec![Arc::new(services)];
    if !place.without_databases {
        workloads.push(Arc::new(OpenPostgres::new(keys)));
    }
    let hold = move |folder: &Path, cluster: &Cluster| make_hold(program.clone(), folder, cluster, place.detached);
    Ok(Drivers::new(DriversOptions { folder, hold: Arc::new(hold), workloads }))
}

/// Plays the kinds of scores that have one writer, and that are driven on this topology.
pub(super) fn player(topology: KeptHere) -> Player<KeptHere> {
    Player::new(topology, Registry::new().with::<ServiceScore>().with::<PostgresScore>())
}

/// What the unit of this process has not that keeping a database takes.
fn lacks_for_databases() -> Option<&'static str> {
    if !has_network() {
        // No client could reach a route.
        return Some("a network");
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    let has = |capability: u32| effective.is_some_and(|all| all & (1 << capability) != 0);
    // Who cannot see another account's processes would take what runs for gone.
    match (has(CAP_SYS_PTRACE), has(CAP_KILL)) {
        (false, _) => Some("the capability CAP_SYS_PTRACE"),
        (_, false) => Some("the capability CAP_KILL"),
        _ => None,
    }
}

/// The numbers of capabilities (`capabilities(7)`).
const CAP_KILL: u32 = 5;
const CAP_SYS_PTRACE: u32 = 19;

/// Whether there is anything here but a loopback.
pub(super) fn has_network() -> bool {
    let devices = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
    devices.lines().skip(2).filter_map(|line| line.split(':').next()).any(|name| name.trim() != "lo")
}

fn make_hold(program: PathBuf, folder: &Path, cluster: &Cluster, detached: bool) -> Arc<dyn Hold> {
    let parts = HoldClientParts { socket: folder.join("hold"), unit: unit_of(&cluster.payload), program, detached };
    Arc::new(HoldClient::new(parts))
}
