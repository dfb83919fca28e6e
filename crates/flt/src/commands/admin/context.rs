//! What every command of an admin starts from: configuration, key, ticket, session.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use admin::author::{Author, Intent};
use admin::race;
use admin::session::{Session, SessionError, SubmitFailure, Submitted};
use admin::workspace::{KeyFiles, Workspace, WorkspaceError};
use anyhow::{Context as _, anyhow};
use protocols::control::Denied;
use protocols::key::KeyFormat;
use protocols::key::ssh_agent::SshAgent;
use protocols::{Body, FleetState, Millis, NodeId, SecretKey, Ticket};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::app::App;
use crate::compose;
use crate::compose::admin::AdminLink;
use crate::config::AdminConfig;
use crate::output::{Output, Style, View};
use crate::report::{Advise as _, Code};

/// Name of the file that remembers where the coordinator's folder was made.
pub(super) const BUNDLE_FILE: &str = "coordinator-folder";
/// The largest passphrase file, in bytes.
const PASSPHRASE_BYTES_MAX: u64 = 4096;

/// An admin at the command line.
#[derive(Debug)]
pub(super) struct Admin<'a> {
    pub(super) app: &'a App,
    pub(super) out: &'a Output,
    pub(super) config: AdminConfig,
    pub(super) workspace: Workspace,
    passphrase_file: Option<PathBuf>,
    /// The passphrase, once it was read or typed.
    passphrase: Mutex<Option<Zeroizing<String>>>,
    /// The key that an ssh-agent is to sign with.
    held: Option<String>,
}

/// An admin with a session.
pub(super) struct Online<'a> {
    pub(super) admin: &'a Admin<'a>,
    pub(super) session: Session,
    pub(super) link: AdminLink,
}

impl<'a> Admin<'a> {
    pub(super) fn new(
        config: AdminConfig,
        passphrase_file: Option<PathBuf>,
        held: Option<String>,
        app: &'a App,
    ) -> Self {
        let workspace = Workspace::new(&config.data).with_ticket_file(config.ticket_path());
        Self { app, out: &app.out, config, workspace, passphrase_file, passphrase: Mutex::default(), held }
    }

    /// Where the key is.
    pub(super) fn key_file(&self) -> PathBuf {
        self.config.key_path()
    }

    /// The key file and those beside it.
    pub(super) fn key_files(&self) -> KeyFiles {
        KeyFiles::at(self.key_file())
    }

    /// The admin's key.
    pub(super) fn key(&self) -> anyhow::Result<SecretKey> {
        let path = self.key_file();
        if !path.exists() && path == self.workspace.key_file() {
            return Err(anyhow!("there is no admin key in {}", self.workspace.dir().display())).hint(
                "found a fleet: flt admin init --name NAME; or ask the admin of one to let you in: flt admin request",
            );
        }
        self.read_key(&path)
    }

    /// A key in a file. An encrypted one is opened with the passphrase of the file that was named, or typed.
    pub(super) fn read_key(&self, path: &Path) -> anyhow::Result<SecretKey> {
        let mut failed = None;
        let ask = || match self.known_passphrase(&prompt(path)) {
            Ok(passphrase) => passphrase.map(|p| p.as_str().to_owned()),
            Err(error) => {
                failed = Some(error);
                None
            }
        };
        let read = SecretKey::read(path, ask);
        match failed {
            Some(error) => Err(error),
            None => read.with_context(|| format!("cannot use the key {}", path.display())),
        }
    }

    /// The passphrase: of the file that was named, or typed; asked for once.
    fn known_passphrase(&self, prompt: &str) -> anyhow::Result<Option<Zeroizing<String>>> {
        let mut known = self.passphrase.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = match &self.passphrase_file {
                Some(file) => Some(read_passphrase(file)?),
                None => self.out.passphrase(prompt),
            };
        }
        Ok(known.clone())
    }

    /// A passphrase for a new key: of the file that was named, or typed twice.
    pub(super) fn new_passphrase(&self) -> anyhow::Result<Zeroizing<String>> {
        if let Some(file) = &self.passphrase_file {
            return read_passphrase(file);
        }
        self.out.new_passphrase()
    }

    /// Writes a new key like an older one: encrypted with the same passphrase if that one is, else in the same format.
    pub(super) fn write_key_like(&self, like: &Path, key: &SecretKey, path: &Path) -> anyhow::Result<()> {
        let shown = path.display();
        let written = match SecretKey::read(like, || None) {
            Err(protocols::key::KeyError::NeedsPassphrase) => {
                let passphrase = self.known_passphrase(&prompt(like))?;
                let passphrase =
                    passphrase.ok_or_else(|| anyhow!("the passphrase of {} is not known", like.display()))?;
                key.write_new_encrypted(path, &passphrase, "")
            }
            _ => {
                let text = std::fs::read(like).unwrap_or_default();
                let openssh = text.starts_with(b"-----BEGIN OPENSSH");
                key.write_new(path, if openssh { KeyFormat::OpenSsh } else { KeyFormat::Raw }, "")
            }
        };
        written.with_context(|| format!("cannot write the new key {shown}"))
    }

    /// Who signs: the admin's key, or the key that an ssh-agent holds, while the admin's own speaks with the coordinator.
    pub(super) fn author(&self) -> anyhow::Result<Author> {
        let key = self.key()?;
        match self.held()? {
            None => Ok(Author::new(key)),
            Some((agent, holds)) => Ok(Author::with_agent(key, agent, holds)),
        }
    }

    /// The key of an ssh-agent that was named, if one was.
    pub(super) fn held(&self) -> anyhow::Result<Option<(SshAgent, NodeId)>> {
        let Some(which) = &self.held else { return Ok(None) };
        let Some(socket) = self.app.env.get("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty()) else {
            return Err(usage("no ssh-agent is known here: SSH_AUTH_SOCK is not set", "start one: eval $(ssh-agent)"));
        };
        let agent = SshAgent::new(socket);
        let keys = agent.keys().hint("see what it holds: ssh-add -L")?;
        let from_file = std::fs::read_to_string(which).ok();
        let public = protocols::key::parse_public(from_file.as_deref().unwrap_or(which)).ok();
        let meant: Vec<_> = keys.iter().filter(|key| public == Some(key.id) || key.comment == *which).collect();
        match meant.as_slice() {
            [key] => Ok(Some((agent, key.id))),
            [] => Err(anyhow!("the ssh-agent holds no ed25519 key `{}`", protocols::outcome::shorten(which, 80)))
                .hint("add it: ssh-add FILE; see what it holds: ssh-add -L"),
            _ => Err(usage(
                format!("the ssh-agent holds {} keys with the comment `{which}`", meant.len()),
                "name the public key instead: ssh-add -L",
            )),
        }
    }

    /// The fleet's ticket: the stored one, or that of the coordinator whose folder was made here.
    pub(super) fn ticket(&self) -> anyhow::Result<Ticket> {
        match self.workspace.ticket() {
            Err(WorkspaceError::NoTicket(_)) => {}
            other => return told(other.map_err(SessionError::from)),
        }
        let bundle = std::fs::read_to_string(self.workspace.dir().join(BUNDLE_FILE)).ok();
        if let Some(bundle) = bundle {
            let beside = self.workspace.clone().with_ticket_file(PathBuf::from(bundle.trim()).join("data/ticket"));
            match beside.ticket() {
                Err(WorkspaceError::NoTicket(path)) => {
                    let folder = bundle.trim();
                    let error = anyhow!("no ticket is stored, and the coordinator left none at {}", path.display());
                    return Err(error).hint(format!(
                        "start it: flt coordinator run --config {folder}/coordinator.toml; \
                         or store the ticket that it prints elsewhere: flt admin use TICKET"
                    ));
                }
                other => return told(other.map_err(SessionError::from)),
            }
        }
        told(Err(SessionError::from(WorkspaceError::NoTicket(self.workspace.ticket_file().to_owned()))))
    }

    /// Joins the network, fetches the ledger, does something, and leaves however that ends.
    pub(super) async fn while_online<T>(
        &'a self,
        act: impl AsyncFnOnce(&mut Online<'a>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut online = self.online().await?;
        let result = act(&mut online).await;
        online.close().await;
        result
    }

    /// Joins the network and fetches the ledger.
    pub(super) async fn online(&'a self) -> anyhow::Result<Online<'a>> {
        let online = self.connect().await?;
        online.synced().await
    }

    /// Joins the network; nothing is fetched.
    pub(super) async fn connect(&'a self) -> anyhow::Result<Online<'a>> {
        let ticket = self.ticket()?;
        super::keys::settle(self, &ticket).await?;
        self.connect_as(self.author()?, &ticket).await
    }

    /// The same with a given key.
    pub(super) async fn connect_as(&'a self, author: Author, ticket: &Ticket) -> anyhow::Result<Online<'a>> {
        self.workspace.create().context("cannot make the admin's data folder")?;
        let fleet = ticket.fleet;
        let link = compose::admin::connect(author.key().clone(), ticket, self.workspace.dir(), &[], false).await?;
        let opened = Session::open(self.workspace.clone(), fleet, author, link.control());
        match opened {
            Ok(session) => {
                let mut online = Online { admin: self, session, link };
                match super::coordinator::find(&mut online, ticket).await {
                    Ok(()) => Ok(online),
                    Err(error) => {
                        online.close().await;
                        Err(error)
                    }
                }
            }
            Err(error) => {
                link.close().await;
                told(Err(error))
            }
        }
    }

    /// The fleet's state as the copy on this machine has it.
    pub(super) fn local_state(&self) -> anyhow::Result<std::sync::Arc<FleetState>> {
        let ledger = self.workspace.ledger(None).context("cannot read the copy of the ledger")?;
        let state = ledger.state().cloned().ok_or_else(|| anyhow!("the copy of the ledger is empty"));
        state.hint("fetch it from the coordinator: flt admin log")
    }
}

impl Online<'_> {
    pub(super) async fn synced(mut self) -> anyhow::Result<Self> {
        let progress = self.admin.out.progress("Fetching the ledger from the coordinator");
        let synced = self.session.sync().await;
        drop(progress);
        match synced {
            Ok(_) => Ok(self),
            Err(error) => {
                self.close().await;
                told(Err(error))
            }
        }
    }

    /// The state that the command looks at.
    pub(super) fn state(&self) -> anyhow::Result<std::sync::Arc<FleetState>> {
        told(self.session.state().cloned())
    }

    /// Leaves the network.
    pub(super) async fn close(self) {
        self.link.close().await;
    }

    /// Submits one entry, and says what came between.
    pub(super) async fn submit(&mut self, planned: &FleetState, intent: &Intent) -> anyhow::Result<Submitted> {
        let submitted = self.session.submit(planned, intent, compose::now).await;
        let submitted = submitted.map_err(|failure| self.explain(failure))?;
        for line in &submitted.between {
            self.admin.out.status(format!("meanwhile: {line}"));
        }
        Ok(submitted)
    }

    fn explain(&self, failure: SubmitFailure) -> anyhow::Error {
        let hint = match &failure {
            SubmitFailure::Overtaken { between, .. } => {
                for line in between {
                    self.admin.out.status(format!("meanwhile: {line}"));
                }
                Some("nothing was entered; look at what it is now and run the command again".to_owned())
            }
            SubmitFailure::Crowded => Some("run the command again in a moment".to_owned()),
            SubmitFailure::Unknown(_) => {
                Some("look whether it is there before you repeat the command: flt admin log".to_owned())
            }
            SubmitFailure::Session(error) => Some(error.hint().to_owned()),
            SubmitFailure::Rejected(_) | SubmitFailure::Author(_) => None,
        };
        match hint {
            Some(hint) => advise(failure, &hint),
            None => failure.into(),
        }
    }

    /// Enters one body, or only tries it, and prints what was done.
    pub(super) async fn enter(&mut self, body: Body, dry_run: bool) -> anyhow::Result<()> {
        self.enter_intent(Intent::Enter(body), dry_run).await
    }

    /// Enters one entry, or only tries it, and prints what was done.
    pub(super) async fn enter_intent(&mut self, intent: Intent, dry_run: bool) -> anyhow::Result<()> {
        let state = self.state()?;
        let what = race::summary_in(&intent.body(&state), &state);
        let seq = if dry_run {
            let (entry, _) = self.session.author().sign(&state, &intent, compose::now())?;
            entry.seq()
        } else {
            self.submit(&state, &intent).await?.entry.seq()
        };
        self.admin.out.view(&Entered { entry: seq, what, dry_run })
    }
}

/// An entry that was made.
#[derive(Debug, Serialize)]
pub(super) struct Entered {
    /// Its place.
    pub(super) entry: u64,
    /// What it does.
    pub(super) what: String,
    /// Whether it was only tried.
    pub(super) dry_run: bool,
}

impl View for Entered {
    const SCHEMA: &'static str = "flt.entered/1";

    fn text(&self, _style: &Style) -> String {
        let Self { entry, what, dry_run } = self;
        if *dry_run { format!("would be entry {entry}: {what}\n") } else { format!("entry {entry}: {what}\n") }
    }
}

/// Adds to a session's error what to do about it.
pub(super) fn told<T>(result: Result<T, SessionError>) -> anyhow::Result<T> {
    // Refusals of a coordinator have their hint wherever they turn up.
    result.map_err(|error| match &error {
        SessionError::Denied(Denied::NotAMember(_) | Denied::NotAllowed(_)) => error.into(),
        // Whoever the fleet does not know is turned away before anything can be answered.
        SessionError::Lost { why, .. } if why.contains(TURNED_AWAY) => advise(
            error,
            "this key has no rights in the fleet: an admin gives it some, flt admin grant; or use another, --key-file",
        ),
        _ => {
            let hint = error.hint();
            advise(error, hint)
        }
    })
}

fn advise(error: impl Into<anyhow::Error>, hint: &str) -> anyhow::Error {
    match Err::<(), anyhow::Error>(error.into()).hint(hint) {
        Err(error) => error,
        Ok(()) => anyhow!("{hint}"),
    }
}

/// An error of usage.
pub(super) fn usage(text: impl std::fmt::Display, hint: impl std::fmt::Display) -> anyhow::Error {
    let error = advise(anyhow!("{text}"), &hint.to_string());
    match Err::<(), _>(error).code(Code::Usage) {
        Err(error) => error,
        Ok(()) => anyhow!("{text}"),
    }
}

/// This moment after a span.
pub(super) fn after(span: std::time::Duration) -> Millis {
    compose::now().plus(span)
}

fn prompt(path: &Path) -> String {
    format!("Passphrase of {}: ", path.display())
}

fn read_passphrase(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    use std::io::Read as _;
    let mut text = Zeroizing::new(String::new());
    let read = std::fs::File::open(path).and_then(|file| file.take(PASSPHRASE_BYTES_MAX).read_to_string(&mut text));
    read.with_context(|| format!("cannot read the passphrase from {}", path.display()))?;
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// How the mesh ends when it says that a peer does not know us, whether that comes with the connection or after it.
const TURNED_AWAY: &str = ": not allowed";
