//! A host whose network systemd-networkd sets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use scores::bond::{AdState, HostBond, HostLinks, HostNetwork};
use scores::{DeviceError, Topology};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::files::{self, Lasts};
use super::program::Program;
use super::{blocking, links, program};

/// A host whose network is set by files that systemd-networkd reads. What is on probation is below `/run`, and gone after
/// a boot; what has passed is below `/etc`.
#[derive(Debug, Clone)]
pub struct NetworkdHost {
    root: PathBuf,
    control: Program,
}

/// What was there of a bond.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Before {
    now: BTreeMap<String, String>,
    always: BTreeMap<String, String>,
    /// The members, where there was a bond.
    members: Option<Vec<String>>,
}

impl NetworkdHost {
    /// `root` stands for `/`, and `control` is the program `networkctl`.
    pub fn new(root: impl Into<PathBuf>, control: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), control: Program::new(control.into()) }
    }

    /// Has the program run by another one, whose words these are.
    #[must_use]
    pub fn run_by(self, before: &[String]) -> Self {
        Self { control: self.control.run_by(before), ..self }
    }

    async fn reload(&self) -> Result<(), DeviceError> {
        let reloaded = program::run(&self.control, &["reload"], "").await;
        // It may be starting anew just now; what it cannot read it says nowhere but in its log.
        reloaded.map(drop).map_err(|error| DeviceError::transient(scores::chain(&error)))
    }

    async fn files(&self, bond: &str) -> Result<(BTreeMap<String, String>, BTreeMap<String, String>), DeviceError> {
        let (root, bond) = (self.root.clone(), bond.to_owned());
        let read = move || Ok((files::found(&root, Lasts::Now, &bond)?, files::found(&root, Lasts::Always, &bond)?));
        blocking("read the files of systemd-networkd", read).await
    }

    async fn write(&self, bond: &str, lasts: Lasts, files: BTreeMap<String, String>) -> Result<(), DeviceError> {
        let (root, bond) = (self.root.clone(), bond.to_owned());
        let write = move || files::replace(&root, lasts, &bond, &files);
        blocking("write the files of systemd-networkd", write).await
    }

    /// Waits until the bond has the members of before, or is gone.
    async fn is_back(&self, bond: &str, before: &Before) -> Result<(), DeviceError> {
        let until = Instant::now() + BACK_WITHIN;
        loop {
            let (now, exists) = self.state(bond).await?;
            let members = now.map(|state| state.members.into_keys().collect::<Vec<_>>());
            let back = match &before.members {
                None => !exists,
                Some(_) => members == before.members,
            };
            if back {
                return Ok(());
            }
            if Instant::now() >= until {
                let within = BACK_WITHIN.as_secs();
                return Err(DeviceError::transient(format!("see {bond} as it was within {within} seconds")));
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    async fn state(&self, bond: &str) -> Result<(Option<AdState>, bool), DeviceError> {
        let (root, bond) = (self.root.clone(), bond.to_owned());
        blocking("see how the bond fares", move || Ok((links::state(&root, &bond)?, links::exists(&root, &bond)))).await
    }
}

impl Topology for NetworkdHost {
    fn name(&self) -> &'static str {
        "host"
    }

    async fn ensure_ready(&self) -> Result<(), DeviceError> {
        // It lists what there is also where systemd-networkd does not run, and then complains.
        match program::heard(&self.control, &["--no-pager", "--no-legend", "list"], "").await {
            Ok((_, complaint)) if complaint.contains("not running") => {
                Err(DeviceError::transient("ask systemd-networkd, which does not run here"))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(DeviceError::transient("ask systemd-networkd").because(scores::chain(&error))),
        }
    }
}

impl HostNetwork for NetworkdHost {
    async fn look(&self, bond: &str) -> Result<HostLinks, DeviceError> {
        let (now, always) = self.files(bond).await?;
        let (root, name) = (self.root.clone(), bond.to_owned());
        let read = move || Ok((links::links(&root)?, links::state(&root, &name)?, files::foreign(&root, &name)?));
        let (links, state, foreign) = blocking("look at the interfaces", read).await?;
        let startup = files::declared(&always, bond);
        let running = if now.is_empty() { startup.clone() } else { files::declared(&now, bond) };
        let told = |path: &Path| format!("`{}` makes an interface {bond} already", path.display());
        Ok(HostLinks { links, running, startup, foreign: foreign.as_deref().map(told), state })
    }

    async fn record(&self, bond: &str) -> Result<String, DeviceError> {
        let (now, always) = self.files(bond).await?;
        let (state, _) = self.state(bond).await?;
        let members = state.map(|state| state.members.into_keys().collect());
        let before = Before { now, always, members };
        serde_json::to_string(&before).map_err(|error| DeviceError::permanent("record what was before").because(error))
    }

    async fn set(&self, bond: &HostBond) -> Result<(), DeviceError> {
        let (_, always) = self.files(&bond.name).await?;
        let files = files::render_for_now(bond, &always).map_err(|error| DeviceError::io("declare a bond", error))?;
        self.write(&bond.name, Lasts::Now, files).await?;
        self.reload().await
    }

    async fn keep(&self, bond: &HostBond) -> Result<(), DeviceError> {
        let files = files::render(bond).map_err(|error| DeviceError::io("declare a bond", error))?;
        self.write(&bond.name, Lasts::Always, files).await?;
        self.write(&bond.name, Lasts::Now, BTreeMap::new()).await?;
        self.reload().await
    }

    async fn put_back(&self, bond: &str, record: &str) -> Result<(), DeviceError> {
        let before: Before = serde_json::from_str(record)
            .map_err(|error| DeviceError::permanent("read what was before").because(error))?;
        self.write(bond, Lasts::Now, before.now.clone()).await?;
        self.write(bond, Lasts::Always, before.always.clone()).await?;
        self.reload().await?;
        if before.members.is_none() && self.state(bond).await?.1 {
            // What is not declared any more stays, until it is removed.
            program::run(&self.control, &["delete", bond], "").await?;
        }
        self.is_back(bond, &before).await
    }
}

/// How long systemd-networkd has to bring back what was.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// The pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
