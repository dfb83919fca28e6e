//! Admins' own keys: a request to be let in, a workspace that joins, a key that takes another's place.

use std::path::PathBuf;
use std::time::Duration;

use admin::author::Author;
use admin::request::{JoinRequest, REQUEST_DOMAIN};
use admin::rotate::{RotateError, Rotation, rotate as rotate_key};
use admin::workspace::KeyFiles;
use anyhow::{Context as _, anyhow};
use clap::Args;
use protocols::key::KeyFormat;
use protocols::{FleetState, Millis, Name, NodeId, SecretKey, Ticket};
use serde::Serialize;
use tokio::time::Instant;

use super::context::{Admin, Online, told, usage};
use super::ticket;
use crate::compose;
use crate::output::{Style, View, format};
use crate::report::{Advise as _, Code};

/// `flt admin request`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin request --name ben\n  flt admin request --name ben --encrypt\n\nThe key stays on this machine. An admin of the fleet approves the request with: flt admin grant --request REQUEST"
)]
pub(crate) struct RequestArgs {
    /// Ask to be called so; your user name if nothing is said
    #[arg(long)]
    name: Option<Name>,
    /// Encrypt the new key with a passphrase
    #[arg(long)]
    encrypt: bool,
}

/// `flt admin join`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin join flt1abc...\n  flt admin join flt1abc... --data ~/fleets/acme\n\nAn admin prints the ticket when they approve your request."
)]
pub(crate) struct JoinArgs {
    /// The ticket that `flt admin grant --request` printed, or `-` to read it from stdin
    ticket: String,
}

/// `flt admin rotate`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin rotate\n  flt admin rotate --new-key-file ~/.ssh/id_ed25519\n\nName and rights go over to the new key; the old one is nobody's afterwards. Interrupted at any moment, the command is\nsimply run again."
)]
pub(crate) struct RotateArgs {
    /// Take this key; without it, a new one is made
    #[arg(long, value_name = "FILE")]
    new_key_file: Option<PathBuf>,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct RequestView {
    request: String,
    name: Name,
    key: NodeId,
    key_file: Option<PathBuf>,
}

impl View for RequestView {
    const SCHEMA: &'static str = "flt.request/1";

    fn text(&self, _style: &Style) -> String {
        format!("{}\n", self.request)
    }
}

/// What a user is called, if that can be an admin's name.
pub(super) fn own_name(given: Option<Name>, admin: &Admin<'_>) -> anyhow::Result<Name> {
    let user = || admin.app.env.get("USER").and_then(|user| user.to_ascii_lowercase().parse().ok());
    match given.or_else(user) {
        Some(name) => Ok(name),
        None => "admin".parse().context("cannot name the admin"),
    }
}

/// The admin's key, made now if there is none. Whether it was made.
pub(super) fn own_key(encrypt: bool, admin: &Admin<'_>) -> anyhow::Result<(SecretKey, bool)> {
    let path = admin.key_file();
    if path.exists() {
        return Ok((admin.key()?, false));
    }
    let key = SecretKey::generate();
    let passphrase = if encrypt { Some(admin.new_passphrase()?) } else { None };
    admin.workspace.create().context("cannot make the admin's data folder")?;
    match passphrase {
        Some(passphrase) => key.write_new_encrypted(&path, &passphrase, ""),
        None => key.write_new(&path, KeyFormat::Raw, ""),
    }
    .context("cannot write the admin's key")?;
    Ok((key, true))
}

pub(super) fn request(args: RequestArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let name = own_name(args.name, admin)?;
    let (request, key_file) = match admin.held()? {
        Some((agent, holds)) => {
            let signature = agent.sign(holds, REQUEST_DOMAIN, name.as_str().as_bytes())?;
            (JoinRequest::proven(holds, name.clone(), signature)?, None)
        }
        None => {
            let (key, made) = own_key(args.encrypt, admin)?;
            if made {
                admin.out.status(format!("Made a key in {}; it stays there.", admin.key_file().display()));
            }
            (JoinRequest::new(&key, name.clone()), Some(admin.key_file()))
        }
    };
    admin.out.view(&RequestView { request: request.to_string(), name, key: request.key(), key_file })?;
    admin.out.hint("an admin of the fleet approves it: flt admin grant --request REQUEST --role operator");
    admin.out.hint("then, here, with the ticket that this prints: flt admin join TICKET");
    Ok(Code::Done)
}

#[derive(Debug, Serialize)]
struct JoinView {
    fleet: String,
    fleet_id: String,
    name: Name,
    key: NodeId,
    rights: Vec<String>,
    ticket_file: PathBuf,
}

impl View for JoinView {
    const SCHEMA: &'static str = "flt.joined/1";

    fn text(&self, _style: &Style) -> String {
        let Self { fleet, fleet_id, name, key, rights, .. } = self;
        let rights = rights.join("\n          ");
        format!(
            "You are {name}, an admin of the fleet {fleet}\n  fleet   {fleet_id}\n  key     {key}\n  rights  {rights}\n"
        )
    }
}

pub(super) async fn join(args: JoinArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let ticket = ticket::read(&args.ticket, admin)?;
    ticket::check_fleet(&ticket, admin)?;
    let author = admin.author().hint("make a key and ask an admin to approve it: flt admin request")?;
    let id = author.id();
    let online = admin.connect_as(author, &ticket).await?;
    let online = online
        .synced()
        .await
        .with_context(|| format!("the fleet `{}` does not let the key {} in", ticket.name, id.short()))?;
    let joined = joined(&online, id, &ticket);
    online.close().await;
    let view = joined?;
    admin.workspace.set_ticket(&ticket).context("cannot store the ticket")?;
    admin.out.view(&JoinView { ticket_file: admin.workspace.ticket_file().to_owned(), ..view })?;
    admin.out.hint("see the fleet: flt admin status");
    Ok(Code::Done)
}

fn joined(online: &Online<'_>, id: NodeId, ticket: &Ticket) -> anyhow::Result<JoinView> {
    let state = online.state()?;
    let admin = state.admins().get(&id).ok_or_else(|| anyhow!("the key {id} has no rights in `{}`", ticket.name));
    let admin = admin.hint("ask an admin to approve your request: flt admin request")?;
    Ok(JoinView {
        fleet: state.name().to_string(),
        fleet_id: state.fleet().to_string(),
        name: admin.name.clone(),
        key: id,
        rights: rights(&state, id),
        ticket_file: PathBuf::new(),
    })
}

/// What an admin may do, one line for each right.
fn rights(state: &FleetState, id: NodeId) -> Vec<String> {
    let Some(admin) = state.admins().get(&id) else { return Vec::new() };
    let line = |capability: &protocols::state::Capability| {
        if capability.is_root() {
            return "everything".to_owned();
        }
        let verbs: Vec<String> = capability.verbs.iter().map(ToString::to_string).collect();
        let mut line = match protocols::state::GrantRole::of(&capability.verbs) {
            Some(role) => format!("{role} ({})", verbs.join(", ")),
            None => verbs.join(", "),
        };
        for scope in &capability.scopes {
            let kinds: Vec<&str> = scope.kinds.iter().map(protocols::entry::KindPattern::as_str).collect();
            if !scope.on.is_everything() {
                line.push_str(&format!(" on {}", scope.on));
            }
            if kinds != ["*"] {
                line.push_str(&format!(" with {}", kinds.join(", ")));
            }
        }
        if let Some(end) = capability.expires() {
            line.push_str(&format!(" until {}", format::moment(end)));
        }
        line
    };
    admin.capabilities.iter().map(line).collect()
}

#[derive(Debug, Serialize)]
struct RotateView {
    old: NodeId,
    new: NodeId,
    key_file: PathBuf,
    dry_run: bool,
}

impl View for RotateView {
    const SCHEMA: &'static str = "flt.rotated/1";

    fn text(&self, _style: &Style) -> String {
        let verb = if self.dry_run { "would rotate" } else { "rotated" };
        format!("{verb} {} to {}\n", self.old, self.new)
    }
}

pub(super) async fn rotate(args: RotateArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    if admin.held()?.is_some() {
        return Err(usage(
            "a key of an ssh-agent cannot take part in a rotation",
            "grant the new key the same rights, then revoke this one: flt admin grant, flt admin revoke",
        ));
    }
    let ticket = admin.ticket()?;
    let files = admin.key_files();
    // What an earlier run left behind may be all there is to do.
    if settle(admin, &ticket).await? && args.new_key_file.is_none() {
        let key = admin.key()?.id();
        admin.out.view(&Entered { key, key_file: admin.key_file() })?;
        return Ok(Code::Done);
    }
    let old = admin.key()?;
    let next = next_key(&args, admin, &files)?;
    let view = RotateView { old: old.id(), new: next.id(), key_file: admin.key_file(), dry_run: args.dry_run };
    if args.dry_run {
        admin.out.view(&view)?;
        return Ok(Code::Done);
    }
    let begun = files.next().exists();
    if !begun {
        admin.write_key_like(files.current(), &next, &files.next())?;
    }
    let mut online = admin.connect_as(Author::new(old.clone()), &ticket).await?.synced().await?;
    let sent = rotate_key(&mut online.session, &next, compose::now).await;
    online.close().await;
    let sent = match sent {
        Ok(sent) => sent,
        Err(error) => {
            if !begun {
                std::fs::remove_file(files.next()).context("cannot remove the key that is not needed")?;
            }
            return Err(match &error {
                RotateError::Session(session) => {
                    let hint = session.hint();
                    anyhow!(error).context(hint.to_owned())
                }
                _ => error.into(),
            })
            .context("the key was not rotated");
        }
    };
    admin.app.on_interrupt("the rotation may be entered already; run it again to see: flt admin rotate");
    let within = if sent == Rotation::Unknown { UNANSWERED_WITHIN } else { PROVEN_WITHIN };
    let seen = proven(admin, &ticket, old.id(), &next, within).await;
    match seen {
        Ok(true) => {}
        Ok(false) | Err(_) => {
            let why = if sent == Rotation::Unknown { "no answer came" } else { "the new key is not let in yet" };
            let error = anyhow!("it is not known whether the key was rotated: {why}; both keys are kept");
            return Err(error).hint("run it again, when the coordinator can be reached: flt admin rotate");
        }
    }
    files.install().context("the key was rotated in the ledger; the key file is not replaced yet")?;
    admin.out.view(&view)?;
    admin.out.hint("other machines with the old key need the new one, or a key of their own");
    Ok(Code::Done)
}

/// A rotation that an earlier run had begun, and that is finished now.
#[derive(Debug, Serialize)]
struct Entered {
    key: NodeId,
    key_file: PathBuf,
}

impl View for Entered {
    const SCHEMA: &'static str = "flt.rotated/1";

    fn text(&self, _style: &Style) -> String {
        format!("the rotation that was begun is finished: the key is {}\n", self.key)
    }
}

/// The key that is to follow: the one that an interrupted run made, the one that was named, or a new one.
fn next_key(args: &RotateArgs, admin: &Admin<'_>, files: &KeyFiles) -> anyhow::Result<SecretKey> {
    let named = args.new_key_file.as_deref().map(|file| admin.read_key(file)).transpose()?;
    if !files.next().exists() {
        return Ok(named.unwrap_or_else(SecretKey::generate));
    }
    let begun = admin.read_key(&files.next())?;
    match named {
        Some(named) if named.id() != begun.id() => Err(usage(
            format!("a rotation to another key, {}, was begun and is not finished", begun.id().short()),
            format!("finish that one first: flt admin rotate; or, if you are sure, remove {}", files.next().display()),
        )),
        _ => Ok(begun),
    }
}

/// Finishes a rotation that an earlier run had begun, if the ledger has it. Says whether it did.
pub(super) async fn settle(admin: &Admin<'_>, ticket: &Ticket) -> anyhow::Result<bool> {
    let files = admin.key_files();
    if !files.next().exists() || !files.current().exists() {
        return Ok(false);
    }
    let (current, next) = (admin.key()?, admin.read_key(&files.next())?);
    if current.id() == next.id() {
        std::fs::remove_file(files.next()).context("cannot remove a copy of the key")?;
        return Ok(false);
    }
    let known = admin.local_state().is_ok_and(|state| state.successor(current.id()) == Some(next.id()));
    if !known && !proven(admin, ticket, current.id(), &next, Duration::ZERO).await.unwrap_or(false) {
        admin.out.warning(format!(
            "a rotation of the key was begun and is not in the ledger; {} is still the key: go on with flt admin rotate",
            current.id().short()
        ));
        return Ok(false);
    }
    files.install().context("the key was rotated in the ledger; the key file is not replaced yet")?;
    admin.out.status(format!("The key was rotated; it is {} now.", next.id().short()));
    Ok(true)
}

/// Whether the ledger has the rotation, as the new key sees it.
async fn proven(
    admin: &Admin<'_>,
    ticket: &Ticket,
    old: NodeId,
    new: &SecretKey,
    within: Duration,
) -> anyhow::Result<bool> {
    let deadline = Instant::now() + within;
    loop {
        let mut online = admin.connect_as(Author::new(new.clone()), ticket).await?;
        let synced = online.session.sync().await;
        let seen = online.session.state().is_ok_and(|state| state.successor(old) == Some(new.id()));
        online.close().await;
        if seen {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return told(synced).map(|_| false);
        }
        tokio::time::sleep(PROVEN_AGAIN).await;
    }
}

/// How long the coordinator may take to let the new key in.
const PROVEN_WITHIN: Duration = Duration::from_secs(30);
/// The same where no answer came, so that it may have been refused as well.
const UNANSWERED_WITHIN: Duration = Duration::from_secs(8);
/// The pause between two tries.
const PROVEN_AGAIN: Duration = Duration::from_millis(500);

/// A place in the ledger: its number, or a moment (`2026-03-01T12:00:00Z`) or age (`2h`) that it was at or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// This entry.
    Entry(u64),
    /// The first entry of then or later.
    At(Millis),
}

impl std::str::FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(seq) = text.parse() {
            return Ok(Self::Entry(seq));
        }
        if let Ok(stamp) = text.parse::<jiff::Timestamp>()
            && let Ok(millis) = u64::try_from(stamp.as_millisecond())
        {
            return Ok(Self::At(Millis(millis)));
        }
        let span = format::parse_span(text).map_err(|_| {
            "write an entry's number, a moment like 2026-03-01T12:00:00Z, or an age like 2h or 7d".to_owned()
        })?;
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Ok(Self::At(Millis(compose::now().0.saturating_sub(millis))))
    }
}
