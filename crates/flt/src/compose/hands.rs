//! The topologies of this host: what an agent here can play.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent::{Agent, Fetcher};
use devices::checks::HostChecks;
use devices::linux::LinuxHost;
use devices::nixos::NixosHost;
use protocols::facts::{StableFacts, VolatileFacts};
use scores::files::FilesScore;
use scores::nixos::{NixosScore, TrustedKey};
use scores::{Artifacts, Ensemble, Player, Registry, Score as _, Trials};

use super::Late;
use super::agent::AgentParts;

/// Where checks look for programs, if the agent's own environment says nothing.
const CHECK_PATH: &str = "/run/current-system/sw/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All that this host can play: files everywhere, NixOS where it is NixOS and we are root.
pub(super) fn ensemble(
    parts: &AgentParts,
    fetcher: &Arc<Fetcher>,
    late: &Arc<Late<Agent>>,
) -> anyhow::Result<Ensemble> {
    let artifacts = Arc::clone(fetcher) as Arc<dyn Artifacts>;
    let trials = Trials::open(parts.data.join("trials"))?;
    let path = std::env::var_os("PATH").unwrap_or_else(|| CHECK_PATH.into());
    let mut ensemble = Ensemble::new(trials, Arc::new(HostChecks::new(path)));
    let files = LinuxHost::new(&parts.files_root, Arc::clone(&artifacts));
    ensemble = ensemble.with(Player::new(files, Registry::new().with::<FilesScore>()));
    if NixosHost::is_nixos(Path::new("/")) && rustix::process::geteuid().is_root() {
        let late = Arc::clone(late);
        let trusted = move || late.get().map(|agent| trusted_keys(&agent)).unwrap_or_default();
        let nixos = NixosHost::new(parts.data.join("nixos"), artifacts, Arc::new(trusted));
        ensemble = ensemble.with(Player::new(nixos, Registry::new().with::<NixosScore>()));
    }
    Ok(ensemble)
}

/// Exactly those who may publish a system for this node.
fn trusted_keys(agent: &Agent) -> Vec<TrustedKey> {
    let Some(state) = agent.state() else { return Vec::new() };
    state.publishers(&NixosScore::KIND, agent.id()).into_iter().map(TrustedKey::of_node).collect()
}

/// Facts that rarely change. The kinds are the agent's to add.
pub(super) async fn stable_facts() -> StableFacts {
    devices::facts::stable(Path::new("/"), env!("CARGO_PKG_VERSION"), Vec::new()).await
}

/// Facts that always change.
pub(super) async fn volatile_facts(data: PathBuf) -> VolatileFacts {
    devices::facts::volatile(Path::new("/"), &data, super::now()).await
}
