//! One PostgreSQL instance on this node, with everything that is done to it.
//!
//! It is always started as a standby that receives from nobody or from one named primary; the only way to become writable
//! is the promotion in [`Instance::start`]. The file that makes it a standby is put back right after a promotion, so no
//! restart, by whomever, makes it writable again.

mod attach;
mod begin;
mod health;
mod place;
mod resume;
mod room;
mod start;
mod stop;
mod strangers;
mod sync;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use failover::Span;
use protocols::SecretKey;
use scores::DeviceError;
use scores::workload::Hold;

use room::Room;
pub use start::Acks;

use super::config::{self, State};
use super::setup::{Account, Layout, Setup};
use super::sql::Session;
use super::tools::AT_LEAST;
use super::{clock, processes, tls};

/// One instance.
pub struct Instance {
    setup: RwLock<Arc<Setup>>,
    account: Account,
    hold: Arc<dyn Hold>,
    state: Mutex<State>,
    /// Says that this node has held a copy. It is kept with the node's key, so it outlives the disk of the data.
    held: std::path::PathBuf,
    /// The node's keys, which passwords are sealed to.
    keys: Arc<[SecretKey]>,
    room: Arc<Mutex<Room>>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("cluster", &self.setup().score.name).finish_non_exhaustive()
    }
}

impl Instance {
    /// Opens an instance: its folders are made, nothing is started or ended. `kept` is a folder that is lost with the
    /// node's key alone.
    ///
    /// # Errors
    /// When the account is missing, or the folders or keys cannot be made.
    pub async fn open(setup: Setup, kept: &Path, hold: Arc<dyn Hold>) -> Result<Self, DeviceError> {
        let account = Account::find(&setup.score.account).await?;
        setup.address()?;
        let layout = setup.layout();
        layout.make(&account)?;
        tls::prepare(&setup, &account)?;
        let path = layout.conf().join(config::STATE);
        let state = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| DeviceError::permanent(format!("read {}", path.display())).because(error))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(DeviceError::io(format!("read {}", path.display()), error)),
        };
        let instance = Self {
            setup: RwLock::new(Arc::new(setup)),
            account,
            hold,
            state: Mutex::new(state),
            held: kept.join(HELD),
            keys: Arc::new([]),
            room: Arc::default(),
        };
        instance.configure(|_| {})?;
        Ok(instance)
    }

    /// The same with the node's keys, which open passwords.
    #[must_use]
    pub fn with_keys(self, keys: Arc<[SecretKey]>) -> Self {
        Self { keys, ..self }
    }

    /// The declaration has changed. What can change in a running instance does so, the rest at its next start.
    ///
    /// # Errors
    /// When the change cannot be made at all, or PostgreSQL refuses it.
    pub async fn reconfigure(&self, setup: Setup) -> Result<(), DeviceError> {
        let now = self.setup();
        if setup.score.folder != now.score.folder || setup.score.account != now.score.account {
            let doing = format!("move postgres/{} to another folder or account", setup.score.name);
            let why = "a cluster stays where it is; withdraw it, move its folder, and publish it anew";
            return Err(DeviceError::permanent(doing).because(why));
        }
        setup.address()?;
        tls::prepare(&setup, &self.account)?;
        let raised = AT_LEAST.iter().any(|(name, _)| config::declared(&setup, name) > config::declared(&now, name));
        *self.setup.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(setup);
        self.configure(|_| {})?;
        if self.hold.is_running().await? {
            self.reload().await?;
            let session = self.session().await?;
            if let Err(error) = self.part_from_strangers(&session).await {
                // A primary tries again.
                tracing::warn!(error = scores::chain(&error), "who receives could not be looked at");
            }
            if !Self::in_recovery(&session).await? {
                self.make_roles(&session).await?;
            } else if raised {
                // A primary may have more from its next start on, and standbys must have as much by then.
                self.halt(clock::now() + Span::from_secs(RESTART_SECONDS)).await?;
                self.start_standby().await?;
            }
        }
        Ok(())
    }

    /// The declaration.
    pub fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.setup.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    pub(super) fn hold(&self) -> &Arc<dyn Hold> {
        &self.hold
    }

    /// Where everything of it is.
    pub fn layout(&self) -> Layout {
        self.setup().layout()
    }

    pub(super) fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the state and writes it and the configuration, all in one go: who is dropped while waiting has done all of
    /// it or nothing.
    pub(super) fn configure(&self, change: impl FnOnce(&mut State)) -> Result<(), DeviceError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = state.clone();
        change(&mut new);
        let (setup, conf) = (self.setup(), self.layout().conf());
        let json = serde_json::to_vec(&new);
        let json = json.map_err(|error| DeviceError::permanent("write the state").because(error))?;
        self.account.write(&conf.join(config::HBA), config::hba(&setup, &new)?.as_bytes())?;
        self.account.write(&conf.join(config::IDENT), config::ident(&setup).as_bytes())?;
        self.account.write(&conf.join(config::MAIN), config::postgresql(&setup, &new)?.as_bytes())?;
        self.account.write(&conf.join(config::STATE), &json)?;
        *state = new;
        Ok(())
    }

    pub(super) async fn session(&self) -> Result<Session, DeviceError> {
        Session::open(&self.layout().socket(), self.setup().address()?.port()).await
    }

    /// How it stands, on a line.
    pub fn describe(&self) -> String {
        let state = self.state();
        let text = match &state.upstream {
            Some(upstream) => format!("follows {} on timeline {}", upstream.node, state.timeline),
            None => format!("on timeline {}, acknowledges by {}", state.timeline, state.sync.setting()),
        };
        match self.lacks_room() {
            Some(lack) => format!("{lack}; {text}"),
            None => text,
        }
    }

    /// Whether this node has ever held a copy.
    pub(super) fn has_held(&self) -> bool {
        // Who cannot look must not say that it never has.
        self.held.try_exists().unwrap_or(true)
    }

    /// Notes that this node holds a copy from now on.
    pub(super) fn will_hold(&self) -> Result<(), DeviceError> {
        self.account.write(&self.held, b"")
    }

    /// Whether any process of it is there, whoever started it.
    pub fn has_processes(&self) -> bool {
        !processes::of(&self.layout().data()).is_empty()
    }
}

/// How long a standby may take to stop for a restart.
const RESTART_SECONDS: u64 = 120;
/// The note that a copy has been held here.
const HELD: &str = "postgres-held";
