//! The SSH server: lets in who proves itself, and gives everyone a terminal.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{PrivateKey, PublicKey};
use russh::server::{
    self, Auth as Verdict, ChannelOpenHandle, Config, Handle, Msg, Response, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, MethodKind, MethodSet, Pty, SshId};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::algorithms;
use crate::netconf::Peer;
use crate::profile::{Auth, Nasty, Os, Profile};
use crate::sim::{Shared, StartError};
use crate::terminal::{State, Terminal};

/// What the server is set to, and its host key.
pub(crate) fn config(profile: &Profile) -> Result<(Config, PrivateKey), StartError> {
    let key = algorithms::host_key(profile)?;
    let method = match profile.auth {
        Auth::Password => MethodKind::Password,
        Auth::KeyboardInteractive => MethodKind::KeyboardInteractive,
        Auth::PublicKey(_) => MethodKind::PublicKey,
    };
    let config = Config {
        server_id: SshId::Standard("SSH-2.0-RomSShell_4.62".into()),
        methods: MethodSet::from(&[method][..]),
        auth_rejection_time: REJECTION,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![key.clone()],
        preferred: algorithms::preferred(&profile.algorithms)?,
        inactivity_timeout: Some(IDLE),
        nodelay: true,
        ..Config::default()
    };
    Ok((config, key))
}

/// Takes connections until it is stopped.
pub(crate) async fn accept(listener: TcpListener, config: Arc<Config>, login: Login) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, say: it may get better.
            tokio::time::sleep(REJECTION).await;
            continue;
        };
        let shared = Arc::clone(&login.shared);
        let Some((stream, id)) = admit(stream, &shared) else {
            continue;
        };
        let config = Arc::clone(&config);
        let handler = Login { id, ..login.clone() };
        tokio::spawn(async move {
            if let Ok(session) = server::run_stream(config, stream, handler).await {
                // How a client ends is its own affair.
                drop(session.await);
            }
            shared.wire().connections.remove(&id);
        });
    }
}

/// Takes note of a connection, unless there are too many.
fn admit(stream: tokio::net::TcpStream, shared: &Shared) -> Option<(tokio::net::TcpStream, u64)> {
    let stream = stream.into_std().ok()?;
    let copy = stream.try_clone().ok()?;
    let mut wire = shared.wire();
    if wire.connections.len() >= wire.limit {
        return None;
    }
    let id = wire.next;
    wire.next += 1;
    wire.connections.insert(id, copy);
    drop(wire);
    stream.set_nodelay(true).ok()?;
    Some((tokio::net::TcpStream::from_std(stream).ok()?, id))
}

/// One connection.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    shared: Arc<Shared>,
    id: u64,
    key: Option<PublicKey>,
    rows: usize,
    /// Whether there is NETCONF.
    netconf: bool,
    /// How many channels a connection may have.
    limit: usize,
    /// Channels that are open, and whether there is a shell or NETCONF on them.
    channels: HashMap<ChannelId, Option<Line>>,
}

/// What is spoken on a channel, and where goes what comes on it.
type Line = (Speech, mpsc::Sender<Vec<u8>>);

/// What is spoken on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    Lines,
    Netconf,
}

impl Login {
    pub(crate) fn new(profile: &Profile, shared: Arc<Shared>) -> Result<Self, StartError> {
        let key = match &profile.auth {
            Auth::PublicKey(line) => Some(PublicKey::from_openssh(line).map_err(StartError::LoginKey)?),
            Auth::Password | Auth::KeyboardInteractive => None,
        };
        let netconf = profile.netconf;
        // On FastIron one shell for one connection; Network OS has room for more.
        let limit = if profile.os == Os::Nos { 2 } else { 1 };
        Ok(Self { shared, id: 0, key, rows: ROWS, netconf, limit, channels: HashMap::new() })
    }

    fn verdict(&self, right: bool) -> Verdict {
        if right {
            self.shared.wire().logins += 1;
            return Verdict::Accept;
        }
        Verdict::reject()
    }

    /// Begins to speak on a channel, if nothing else speaks there and nobody speaks so on another.
    fn begin(&mut self, channel: ChannelId, speech: Speech) -> Option<mpsc::Receiver<Vec<u8>>> {
        let taken = self.channels.values().flatten().any(|(known, _)| *known == speech);
        let place = self.channels.get_mut(&channel).filter(|place| place.is_none() && !taken)?;
        let (keys, typed) = mpsc::channel(TYPED);
        *place = Some((speech, keys));
        Some(typed)
    }

    fn knows(&self, user: &str, password: &str) -> bool {
        let device = self.shared.device();
        user == device.user && password == device.password
    }
}

impl server::Handler for Login {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Verdict, Self::Error> {
        let right = self.knows(user, password);
        Ok(self.verdict(right))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Verdict, Self::Error> {
        let Some(mut response) = response else {
            let prompts = vec![("Password: ".into(), false)];
            return Ok(Verdict::Partial { name: "".into(), instructions: "".into(), prompts: prompts.into() });
        };
        let answer = response.next().unwrap_or_default();
        let right = self.knows(user, &String::from_utf8_lossy(&answer));
        Ok(self.verdict(right))
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Verdict, Self::Error> {
        let known = self.key.as_ref().is_some_and(|known| known.key_data() == key.public_key.key_data());
        let right = known && user == self.shared.device().user;
        Ok(self.verdict(right))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.channels.len() < self.limit {
            self.channels.insert(channel.id(), None);
            reply.accept().await;
        }
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.channels.remove(&channel);
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        rows: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.rows = usize::try_from(rows).unwrap_or(ROWS);
        session.channel_success(channel)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        let Some(typed) = self.begin(channel, Speech::Lines) else { return session.channel_failure(channel) };
        session.channel_success(channel)?;
        let mut terminal = Terminal::new(Arc::clone(&self.shared), self.rows);
        terminal.greet();
        tokio::spawn(serve(Speaker::Lines(Box::new(terminal)), session.handle(), channel, typed, self.id));
        Ok(())
    }

    async fn exec_request(&mut self, channel: ChannelId, _: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let typed = if self.netconf && name == "netconf" { self.begin(channel, Speech::Netconf) } else { None };
        let Some(typed) = typed else { return session.channel_failure(channel) };
        session.channel_success(channel)?;
        let mut peer = Peer::new(Arc::clone(&self.shared), self.id);
        peer.greet();
        tokio::spawn(serve(Speaker::Netconf(peer), session.handle(), channel, typed, self.id));
        Ok(())
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], _: &mut Session) -> Result<(), Self::Error> {
        match self.channels.get(&channel) {
            // Who types faster than is read is cut off: waiting here would stop the answers too.
            Some(Some((_, keys))) => keys.try_send(data.to_vec()).map_err(|_| russh::Error::Disconnect),
            _ => Ok(()),
        }
    }
}

/// Who speaks on a channel.
#[derive(Debug)]
enum Speaker {
    Lines(Box<Terminal>),
    Netconf(Peer),
}

impl Speaker {
    fn take(&mut self) -> (Vec<u8>, Nasty) {
        match self {
            Self::Lines(terminal) => terminal.take(),
            Self::Netconf(peer) => peer.take(),
        }
    }

    fn input(&mut self, bytes: &[u8]) {
        match self {
            Self::Lines(terminal) => terminal.input(bytes),
            Self::Netconf(peer) => peer.input(bytes),
        }
    }

    fn state(&self) -> State {
        match self {
            Self::Lines(terminal) => terminal.state(),
            Self::Netconf(peer) => peer.state(),
        }
    }

    fn shared(&self) -> &Shared {
        match self {
            Self::Lines(terminal) => terminal.shared(),
            Self::Netconf(peer) => peer.shared(),
        }
    }

    /// How its writes are cut.
    fn split(&self, nasty: &Nasty) -> Option<usize> {
        match self {
            Self::Lines(_) => nasty.split_bytes,
            Self::Netconf(_) => nasty.netconf.split_bytes,
        }
    }

    /// More of what never ends.
    fn goes_on(&self) -> Option<Vec<u8>> {
        match self {
            Self::Lines(_) => None,
            Self::Netconf(peer) => peer.goes_on(),
        }
    }
}

/// Prints and reads until either side has enough.
async fn serve(mut speaker: Speaker, handle: Handle, channel: ChannelId, mut typed: mpsc::Receiver<Vec<u8>>, id: u64) {
    loop {
        let (out, nasty) = speaker.take();
        if print(&handle, channel, &out, speaker.split(&nasty), &nasty).await.is_err() {
            return;
        }
        match speaker.state() {
            State::Closed => {
                let _ = handle.close(channel).await;
                // Whoever has a shell beside it goes on.
                if matches!(speaker, Speaker::Lines(_)) {
                    drop(handle.disconnect(russh::Disconnect::ByApplication, String::new(), String::new()).await);
                }
                return;
            }
            State::Cut => return speaker.shared().cut(id),
            _ => {}
        }
        while let Some(more) = speaker.goes_on() {
            if typed.is_closed() || print(&handle, channel, &more, speaker.split(&nasty), &nasty).await.is_err() {
                return;
            }
        }
        match typed.recv().await {
            Some(bytes) => speaker.input(&bytes),
            None => return,
        }
    }
}

async fn print(handle: &Handle, channel: ChannelId, out: &[u8], split: Option<usize>, nasty: &Nasty) -> Result<(), ()> {
    for chunk in out.chunks(split.unwrap_or(PACKET).max(1)) {
        handle.data(channel, chunk.to_vec()).await.map_err(drop)?;
        if let Some(delay) = nasty.delay {
            tokio::time::sleep(delay).await;
        }
    }
    Ok(())
}

/// How long a wrong password takes.
const REJECTION: Duration = Duration::from_millis(50);

/// Connections in which nothing happens end after this.
const IDLE: Duration = Duration::from_mins(10);

/// Rows of a terminal that says nothing of them.
const ROWS: usize = 24;

/// Packets typed ahead.
const TYPED: usize = 4096;

/// Bytes of a packet of output.
const PACKET: usize = 16 * 1024;
