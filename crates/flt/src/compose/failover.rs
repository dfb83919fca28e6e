//! What drives workloads with one writer on this host: the kinds there are, and the supervisors that hold them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent::failover::{Drivers, DriversOptions, KeptHere};
use anyhow::Context as _;
use devices::hold::{HoldClient, HoldClientParts, OpenServices, unit_of};
use devices::postgres::OpenPostgres;
use scores::failover::Cluster;
use scores::postgres::PostgresScore;
use scores::service::ServiceScore;
use scores::workload::{Hold, OpenWorkload};
use scores::{Player, Registry};

/// Drivers that keep what they need below this folder.
pub(super) fn drivers(data: &Path) -> anyhow::Result<Arc<Drivers>> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let folder = std::path::absolute(data).context("cannot find the data folder")?.join("failover");
    let workloads: Vec<Arc<dyn OpenWorkload>> =
        vec![Arc::new(OpenServices::new(super::hands::check_path())), Arc::new(OpenPostgres)];
    let hold = move |folder: &Path, cluster: &Cluster| make_hold(program.clone(), folder, cluster);
    Ok(Drivers::new(DriversOptions { folder, hold: Arc::new(hold), workloads }))
}

/// Plays the kinds of scores that have one writer.
pub(super) fn player(drivers: &Drivers) -> Player<KeptHere> {
    Player::new(drivers.topology(), Registry::new().with::<ServiceScore>().with::<PostgresScore>())
}

fn make_hold(program: PathBuf, folder: &Path, cluster: &Cluster) -> Arc<dyn Hold> {
    let parts = HoldClientParts { socket: folder.join("hold"), unit: unit_of(&cluster.payload), program };
    Arc::new(HoldClient::new(parts))
}
