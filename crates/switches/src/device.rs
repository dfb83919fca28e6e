//! A switch that an agent manages: one session, shared and in turn, and what scores ask of it.

mod custody;
mod facts;
mod live;
mod memory;
mod play;
mod plugged;
mod spoken;
mod turn;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex as Slot};
use std::time::Duration;

use protocols::SecretKey;
use scores::{Custodian, Custody};
use tokio::sync::{Mutex, Semaphore};

pub use facts::{Inventory, NetconfFound, Probe, probe};

use self::live::Live;
use self::memory::Memory;
use self::spoken::Shunned;
use self::turn::Turn;
use crate::parse::{self, Version};
use crate::session::{Session, SessionError};
use crate::{Declaration, Patience};

/// A switch. Clones share one session.
#[derive(Clone)]
pub struct Device {
    inner: Arc<Inner>,
}

struct Inner {
    declaration: Declaration,
    keys: Arc<[SecretKey]>,
    session: Mutex<Option<Live>>,
    waiting: Semaphore,
    turn: Turn,
    memory: Memory,
    shunned: Shunned,
    patience: Patience,
    custodian: Option<Arc<dyn Custodian>>,
    custody: Slot<Option<Arc<dyn Custody>>>,
}

impl Device {
    /// A device that is connected to when it is first needed. What it has to remember goes into this folder.
    ///
    /// # Errors
    /// What is wrong with the declaration.
    pub fn new(declaration: Declaration, state: impl Into<PathBuf>) -> Result<Self, String> {
        Self::with_keys(declaration, state, Vec::new())
    }

    /// The same with the node's key, which secrets are sealed to, and those that it had before.
    ///
    /// # Errors
    /// What is wrong with the declaration.
    pub fn with_keys(
        declaration: Declaration,
        state: impl Into<PathBuf>,
        keys: Vec<SecretKey>,
    ) -> Result<Self, String> {
        Self::with_patience(declaration, state, keys, Patience::default())
    }

    /// The same for a device that is waited for as long as this.
    ///
    /// # Errors
    /// What is wrong with the declaration.
    pub fn with_patience(
        declaration: Declaration,
        state: impl Into<PathBuf>,
        keys: Vec<SecretKey>,
        patience: Patience,
    ) -> Result<Self, String> {
        Self::build(declaration, state.into(), keys, patience, None)
    }

    /// The same with keys, where other agents may change the device too: who is asked before it is changed.
    ///
    /// # Errors
    /// What is wrong with the declaration.
    pub fn with_custodian(
        declaration: Declaration,
        state: impl Into<PathBuf>,
        keys: Vec<SecretKey>,
        custodian: Arc<dyn Custodian>,
    ) -> Result<Self, String> {
        Self::build(declaration, state.into(), keys, Patience::default(), Some(custodian))
    }

    fn build(
        declaration: Declaration,
        state: PathBuf,
        keys: Vec<SecretKey>,
        patience: Patience,
        custodian: Option<Arc<dyn Custodian>>,
    ) -> Result<Self, String> {
        declaration.check()?;
        let memory = Memory::new(state.join(format!("{}.json", declaration.name)));
        let inner = Inner {
            declaration,
            keys: keys.into(),
            session: Mutex::new(None),
            waiting: Semaphore::new(WAITING_MAX),
            turn: Turn::default(),
            memory,
            shunned: Shunned::default(),
            patience,
            custodian,
            custody: Slot::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Its declaration.
    pub fn declaration(&self) -> &Declaration {
        &self.inner.declaration
    }

    /// The pattern of the subjects that are played on it, for [`scores::Player::only`].
    pub fn subjects(&self) -> String {
        format!("switch/{}/*", self.inner.declaration.name)
    }

    /// Ends the session, if there is one.
    pub async fn close(&self) {
        let live = self.inner.session.lock().await.take();
        if let Some(live) = live {
            live.session.close().await;
        }
    }

    /// Does something with the session, alone. Whatever is dropped or fails in the middle of it ends the session.
    async fn alone<R>(&self, work: impl AsyncFnOnce(&mut Live) -> Result<R, SessionError>) -> Result<R, SessionError> {
        let _place = self.inner.waiting.try_acquire().map_err(|_| SessionError::Crowded(WAITING_MAX))?;
        let mut held = self.inner.session.lock().await;
        let mut live = match held.take() {
            Some(live) => self.revive(live).await?,
            None => self.open().await?,
        };
        let done = work(&mut live).await;
        match &done {
            Err(error) if !error.keeps_session() => {
                tracing::info!(device = %self.inner.declaration.name, error = %scores::chain(error), "the session ends");
                live.session.close().await;
            }
            _ => {
                *held = Some(live);
                self.close_when_idle();
            }
        }
        done
    }

    /// Like [`alone`](Self::alone) for what only reads: once more, where the connection ended or lost step.
    async fn reading<R>(&self, work: impl AsyncFn(&mut Live) -> Result<R, SessionError>) -> Result<R, SessionError> {
        match self.alone(&work).await {
            Err(error) if error.lost_touch() => {
                tracing::info!(device = %self.inner.declaration.name, %error, "asking again on a new connection");
                self.alone(&work).await
            }
            done => done,
        }
    }

    async fn revive(&self, mut live: Live) -> Result<Live, SessionError> {
        let fresh = live.session.idle() < CHECK_AFTER;
        if !live.session.is_closed() && (fresh || live.session.check().await.is_ok()) {
            return Ok(live);
        }
        live.session.close().await;
        self.open().await
    }

    async fn open(&self) -> Result<Live, SessionError> {
        let (mut session, mut version) = self.greet().await?;
        let declared = self.inner.declaration.netconf;
        let spoken = self.inner.shunned.open(declared, version.system, &session).await?;
        if session.is_closed() {
            // Some end the connection when they are asked for what they do not have.
            (session, version) = self.greet().await?;
        }
        Ok(Live { session, version, spoken, asked: None, snapshot: None })
    }

    /// Connects, and finds out what it is.
    async fn greet(&self) -> Result<(Session, Version), SessionError> {
        let mut session = Session::open(&self.inner.declaration, self.inner.patience).await?;
        let lines = session.show("show version").await?;
        let version = parse::version(&lines).map_err(|_| {
            let first = lines.iter().find(|line| !line.trim().is_empty()).cloned().unwrap_or_default();
            SessionError::UnknownSystem(protocols::outcome::shorten(&first, 120))
        })?;
        let name = &self.inner.declaration.name;
        tracing::debug!(device = %name, system = %version.system, version = version.version, "connected");
        Ok((session, version))
    }

    /// A session that nobody uses takes one of the few that a device has.
    fn close_when_idle(&self) {
        let device = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            tokio::time::sleep(CLOSE_AFTER).await;
            let Some(inner) = device.upgrade() else { return };
            let mut held = inner.session.lock().await;
            let idle = held.as_ref().is_some_and(|live| live.session.idle() >= CLOSE_AFTER);
            let live = if idle { held.take() } else { None };
            drop(held);
            if let Some(live) = live {
                live.session.close().await;
            }
        });
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("declaration", &self.inner.declaration).finish_non_exhaustive()
    }
}

/// The most tasks that may wait for one device.
const WAITING_MAX: usize = 32;
/// How long a session may be unused before it is asked whether it is still there.
const CHECK_AFTER: Duration = Duration::from_secs(10);
/// How long a session may be unused before it is closed.
const CLOSE_AFTER: Duration = Duration::from_secs(60);
