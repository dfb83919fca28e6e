//! What every command of an admin starts from: configuration, key, ticket, session.

use std::path::PathBuf;

use admin::author::{Author, Intent};
use admin::race;
use admin::session::{Session, SessionError, SubmitFailure, Submitted};
use admin::workspace::{Workspace, WorkspaceError};
use anyhow::{Context as _, anyhow};
use protocols::control::Denied;
use protocols::{Body, FleetState, Millis, SecretKey, Ticket};
use serde::Serialize;

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
}

/// An admin with a session.
pub(super) struct Online<'a> {
    pub(super) admin: &'a Admin<'a>,
    pub(super) session: Session,
    pub(super) link: AdminLink,
}

impl<'a> Admin<'a> {
    pub(super) fn new(config: AdminConfig, passphrase_file: Option<PathBuf>, app: &'a App) -> Self {
        let workspace = Workspace::new(&config.data).with_ticket_file(config.ticket_path());
        Self { app, out: &app.out, config, workspace, passphrase_file }
    }

    /// Where the key is.
    pub(super) fn key_file(&self) -> PathBuf {
        self.config.key_path()
    }

    /// The admin's key.
    pub(super) fn key(&self) -> anyhow::Result<SecretKey> {
        let path = self.key_file();
        if !path.exists() && path == self.workspace.key_file() {
            return Err(anyhow!("there is no admin key in {}", self.workspace.dir().display()))
                .hint("found a fleet: flt admin init --name NAME; or make a key that another admin can give rights: flt key new");
        }
        let stored = self.passphrase_file.as_deref().map(read_passphrase).transpose()?;
        let ask = || stored.or_else(|| self.out.passphrase(&prompt(&path)).map(|p| p.as_str().to_owned()));
        let read = SecretKey::read(&path, ask);
        read.with_context(|| format!("cannot use the key {}", path.display()))
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

    /// Joins the network and fetches the ledger.
    pub(super) async fn online(&'a self) -> anyhow::Result<Online<'a>> {
        let online = self.connect().await?;
        online.synced().await
    }

    /// Joins the network; nothing is fetched.
    pub(super) async fn connect(&'a self) -> anyhow::Result<Online<'a>> {
        let (key, ticket) = (self.key()?, self.ticket()?);
        self.workspace.create().context("cannot make the admin's data folder")?;
        let fleet = ticket.fleet;
        let link = compose::admin::connect(key.clone(), &ticket, self.workspace.dir(), &[], false).await?;
        let opened = Session::open(self.workspace.clone(), fleet, Author::new(key), link.control());
        match opened {
            Ok(session) => Ok(Online { admin: self, session, link }),
            Err(error) => {
                link.close().await;
                told(Err(error))
            }
        }
    }
}

impl Online<'_> {
    async fn synced(mut self) -> anyhow::Result<Self> {
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
        let what = race::summary(&intent.body(&state));
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

fn prompt(path: &std::path::Path) -> String {
    format!("Passphrase of {}: ", path.display())
}

fn read_passphrase(path: &std::path::Path) -> anyhow::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(PASSPHRASE_BYTES_MAX).read_to_string(&mut text));
    read.with_context(|| format!("cannot read the passphrase from {}", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// How the mesh ends when it says that a peer does not know us, whether that comes with the connection or after it.
const TURNED_AWAY: &str = ": not allowed";
