//! A running simulator: starting it, looking into it, being unkind to it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::algorithms;
use crate::device::Device;
use crate::model::Learnt;
use crate::ports::PortId;
use crate::profile::{Nasty, Profile};
use crate::server;
use crate::shell::{Mode, Shell};

/// A switch that listens on loopback until it is dropped.
#[derive(Debug)]
pub struct Sim {
    addr: SocketAddr,
    fingerprint: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// Why a simulator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port is taken, or not ours to take.
    #[error("listening on 127.0.0.1:{port}")]
    Listen {
        /// Which port.
        port: u16,
        /// What the system says.
        source: std::io::Error,
    },
    /// No such algorithm.
    #[error("an SSH algorithm called {0:?} is not known")]
    Algorithm(String),
    /// The host key.
    #[error("making a host key")]
    Key(#[source] russh::keys::ssh_key::Error),
    /// The key that may log in.
    #[error("reading the public key that may log in")]
    LoginKey(#[source] russh::keys::ssh_key::Error),
}

impl Sim {
    /// Starts a switch on loopback.
    pub async fn start(profile: Profile) -> Result<Self, StartError> {
        let (config, key) = server::config(&profile)?;
        let fingerprint = algorithms::fingerprint(&key);
        let listen = |source| StartError::Listen { port: profile.port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, profile.port)).await.map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        let shared = Arc::new(Shared::new(&profile));
        let login = server::Login::new(&profile, Arc::clone(&shared))?;
        let accepting = tokio::spawn(server::accept(listener, Arc::new(config), login));
        Ok(Self { addr, fingerprint, shared, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its host key: `SHA256:…`.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What it is set to, as it prints it.
    #[must_use]
    pub fn running_config(&self) -> String {
        let device = self.shared.device();
        device.render(&device.running)
    }

    /// What it will be set to when it starts again.
    #[must_use]
    pub fn startup_config(&self) -> String {
        let device = self.shared.device();
        device.render(&device.startup)
    }

    /// Every command that was received, in all sessions; answers to questions are not commands.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        self.shared.wire().commands.clone()
    }

    /// How many have logged in so far.
    #[must_use]
    pub fn logins(&self) -> usize {
        self.shared.wire().logins
    }

    /// How many connections there are now.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.shared.wire().connections.len()
    }

    /// The n-th command from now on is carried out, and instead of its answer the connection is lost, once. With 0 all
    /// connections are lost at once.
    pub fn drop_after(&self, commands: usize) {
        self.drop_at(commands, true);
    }

    /// As [`drop_after`](Self::drop_after), but the n-th command is not carried out.
    pub fn drop_before(&self, commands: usize) {
        self.drop_at(commands, false);
    }

    /// Is as nasty as this from now on; the session limit and the port names stay as they are.
    pub fn set_nasty(&self, nasty: Nasty) {
        self.shared.device().set_nasty(&nasty);
        let drop_after = nasty.drop_after_commands;
        self.shared.wire().nasty = nasty;
        if let Some(commands) = drop_after {
            self.drop_after(commands);
        }
    }

    /// Somebody else types these lines in configuration mode, at the console. Gives what is answered.
    pub fn configure(&self, lines: &[&str]) -> String {
        let mut device = self.shared.device();
        let mut shell = Shell { mode: Mode::Config, paging: false, user_name: None };
        lines.iter().map(|line| device.execute(&mut shell, line).text).collect()
    }

    /// What is set is what will be set when it starts again.
    pub fn save(&self) {
        let mut device = self.shared.device();
        device.startup = device.running.clone();
    }

    /// Loses power and comes back: unsaved settings and all connections are gone.
    pub fn power_cycle(&self) {
        let mut device = self.shared.device();
        device.running = device.startup.clone();
        drop(device);
        self.shared.cut_all();
    }

    /// Plugs a host's NIC into a port, or nothing.
    pub fn plug(&self, port: PortId, mac: Option<[u8; 6]>) {
        let mut device = self.shared.device();
        device.learnt.retain(|entry| entry.port != port && Some(entry.mac) != mac);
        if let Some(mac) = mac {
            device.learnt.push(Learnt { mac, port, vlan: crate::model::DEFAULT_VLAN });
        }
        if let Some(far) = device.neighbours.get_mut(&port) {
            far.mac = mac.unwrap_or(far.mac);
        }
        if let Some(port) = device.running.ports.get_mut(&port) {
            port.link = mac.is_some();
        }
    }

    fn drop_at(&self, commands: usize, carried_out: bool) {
        if commands == 0 {
            return self.shared.cut_all();
        }
        self.shared.wire().fuse = Some(Fuse { commands, carried_out });
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.cut_all();
    }
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    device: Mutex<Device>,
    wire: Mutex<Wire>,
}

/// Connections and what happens to them.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) nasty: Nasty,
    pub(crate) limit: usize,
    pub(crate) commands: Vec<String>,
    pub(crate) logins: usize,
    pub(crate) connections: HashMap<u64, TcpStream>,
    pub(crate) next: u64,
    fuse: Option<Fuse>,
}

#[derive(Clone, Copy, Debug)]
struct Fuse {
    commands: usize,
    carried_out: bool,
}

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// Carried out, then the connection is lost.
    LostAfter,
    /// The connection is lost.
    LostBefore,
    /// Never answered.
    Mute,
}

impl Shared {
    pub(crate) fn new(profile: &Profile) -> Self {
        let nasty = profile.nasty.clone();
        let fuse = nasty.drop_after_commands.map(|commands| Fuse { commands, carried_out: true });
        let limit = nasty.session_limit.unwrap_or(SESSIONS);
        let wire = Wire { nasty, limit, commands: Vec::new(), logins: 0, connections: HashMap::new(), next: 0, fuse };
        Self { device: Mutex::new(Device::new(profile)), wire: Mutex::new(wire) }
    }

    pub(crate) fn device(&self) -> MutexGuard<'_, Device> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a command.
    pub(crate) fn received(&self, command: &str) -> Fate {
        let mut wire = self.wire();
        wire.commands.push(command.to_owned());
        if let Some(mut fuse) = wire.fuse.take() {
            fuse.commands = fuse.commands.saturating_sub(1);
            if fuse.commands == 0 {
                return if fuse.carried_out { Fate::LostAfter } else { Fate::LostBefore };
            }
            wire.fuse = Some(fuse);
        }
        let mute = wire.nasty.mute.iter().any(|prefix| command.starts_with(prefix.as_str()));
        if mute { Fate::Mute } else { Fate::Answered }
    }

    /// Cuts one connection, as if its cable were cut.
    pub(crate) fn cut(&self, id: u64) {
        if let Some(stream) = self.wire().connections.remove(&id) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    fn cut_all(&self) {
        for (_, stream) in self.wire().connections.drain() {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

/// Connections at a time, when nothing else is said.
const SESSIONS: usize = 5;
