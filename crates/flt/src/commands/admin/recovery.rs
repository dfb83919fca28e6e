//! `flt admin recovery`: keys kept offline that can make an admin when all else is lost.

use admin::author::{Author, Intent};
use admin::recovery::{Approved, RecoveryRequest, Revoked, Wanted};
use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use protocols::entry::{Approval, Founder, Recovery};
use protocols::key::parse_public;
use protocols::state::Refusal;
use protocols::{Body, FleetState, Name, NodeId, Ticket};
use serde::Serialize;

use super::context::{Admin, Entered, usage};
use super::keys::{own_key, own_name};
use super::{Nothing, With, history, revoke};
use crate::compose;
use crate::output::{Style, Table, View};
use crate::report::{Advise as _, Code};

/// Recovery keys.
#[derive(Debug, Subcommand)]
pub(crate) enum RecoveryCommand {
    /// Show the recovery keys, and how many of them must agree
    Show(With<Nothing>),
    /// Set, replace or end the recovery keys
    Set(With<SetArgs>),
    /// Ask the recovery keys to make this machine's key an admin
    Request(With<RequestArgs>),
    /// Approve a request with a recovery key, on a machine that needs no network
    Approve(With<ApproveArgs>),
    /// Enter what enough recovery keys approved
    Submit(With<SubmitArgs>),
}

/// `flt admin recovery set`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin recovery set --recovery-key safe=KEY --recovery-key bank=KEY --recovery-threshold 2\n  flt admin recovery set --none\n\nWhere recovery keys are set already, enough of them must agree: this then prints a request for them, and\n`flt admin recovery submit` enters it."
)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    keys: RecoveryKeys,
    /// End the recovery keys: nothing can be recovered afterwards
    #[arg(long, conflicts_with_all = ["recovery_key", "recovery_threshold"])]
    none: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Only show what would be entered
    #[arg(long)]
    dry_run: bool,
}

/// Recovery keys by flag.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RecoveryKeys {
    /// Name a recovery key by its public key: KEY or NAME=KEY; may be given several times
    #[arg(long, value_name = "KEY", value_parser = parse_recovery_key)]
    recovery_key: Vec<(Option<Name>, NodeId)>,
    /// Let this many of the recovery keys decide; more than half of them if nothing is said
    #[arg(long, value_name = "COUNT", requires = "recovery_key")]
    recovery_threshold: Option<u8>,
}

impl RecoveryKeys {
    /// The keys, if any were named.
    pub(super) fn recovery(&self) -> anyhow::Result<Option<Recovery>> {
        if self.recovery_key.is_empty() {
            return Ok(None);
        }
        let named = |(i, (name, key)): (usize, &(Option<Name>, NodeId))| {
            let name = match name {
                Some(name) => name.clone(),
                None => format!("recovery-{}", i + 1).parse()?,
            };
            Ok(Founder { key: *key, name })
        };
        let keys: Vec<Founder> = self
            .recovery_key
            .iter()
            .enumerate()
            .map(named)
            .collect::<Result<_, protocols::ids::BadId>>()
            .context("cannot name a recovery key")?;
        let half = u8::try_from(keys.len() / 2 + 1).unwrap_or(u8::MAX);
        let recovery = Recovery { keys, threshold: self.recovery_threshold.unwrap_or(half) };
        match recovery.check() {
            Ok(()) => Ok(Some(recovery)),
            Err(why) => Err(usage(
                format!("the recovery {why}"),
                "give as many keys as can be kept apart, and a threshold below",
            )),
        }
    }
}

fn parse_recovery_key(text: &str) -> Result<(Option<Name>, NodeId), String> {
    let key =
        |text: &str| parse_public(text).map_err(|_| "expected KEY or NAME=KEY: 64 hex digits, or `ssh-ed25519 ...`");
    if let Ok(key) = key(text) {
        return Ok((None, key));
    }
    let Some((name, rest)) = text.split_once('=') else { return Err(key(text).err().unwrap_or_default().to_owned()) };
    Ok((Some(name.parse().map_err(|e: protocols::ids::BadId| e.to_string())?), key(rest)?))
}

/// `flt admin recovery request`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin recovery request --name anna --revoke anna-laptop\n  flt admin recovery request --name anna --revoke KEY --compromised-since 1207\n  flt admin recovery request --name anna --ticket flt1abc...\n\nWithout a copy of the ledger on this machine, a ticket says which fleet is meant; any agent's data folder has one."
)]
pub(crate) struct RequestArgs {
    /// Call the new admin so; your user name if nothing is said
    #[arg(long)]
    name: Option<Name>,
    /// Take the rights of this admin, whose key is lost or stolen: a name or a key
    #[arg(long, value_name = "ADMIN")]
    revoke: Vec<String>,
    /// Make void what these admins signed from this entry on
    #[arg(long, value_name = "ENTRY", requires = "revoke")]
    compromised_since: Option<u64>,
    /// Ask for the fleet of this ticket, where no copy of its ledger is here
    #[arg(long)]
    ticket: Option<Ticket>,
    /// The entry that set the recovery keys, where no copy of the ledger is here
    #[arg(long, value_name = "ENTRY", default_value_t = 0, requires = "ticket")]
    set_by: u64,
    /// Encrypt the new key with a passphrase
    #[arg(long)]
    encrypt: bool,
}

/// `flt admin recovery approve`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin recovery approve fltrec1abc... --key-file /media/safe/recovery.key\n  flt admin recovery approve fltrec1abc... --ssh-agent safe\n\nNeeds no network and no data folder. Read what it says: whoever is named gets the whole fleet."
)]
pub(crate) struct ApproveArgs {
    /// The request, as `flt admin recovery request` printed it
    #[arg(value_parser = parse_request)]
    request: RecoveryRequest,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// `flt admin recovery submit`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin recovery submit fltrec1abc... fltapp1abc... fltapp1def...\n  flt admin recovery submit fltrec1abc... fltapp1abc... --ticket flt1abc..."
)]
pub(crate) struct SubmitArgs {
    /// The request
    #[arg(value_parser = parse_request)]
    request: RecoveryRequest,
    /// The approvals, as `flt admin recovery approve` printed them
    #[arg(value_name = "APPROVAL", required = true, value_parser = parse_approval)]
    approvals: Vec<Approved>,
    /// Reach the fleet with this ticket, and keep it
    #[arg(long)]
    ticket: Option<Ticket>,
}

fn parse_request(text: &str) -> Result<RecoveryRequest, String> {
    text.parse().map_err(|error: admin::BadText| error.to_string())
}

fn parse_approval(text: &str) -> Result<Approved, String> {
    text.parse().map_err(|error: admin::BadText| error.to_string())
}

#[derive(Debug, Serialize)]
struct RecoveryView {
    threshold: Option<u8>,
    since_entry: Option<u64>,
    keys: Vec<Founder>,
}

impl View for RecoveryView {
    const SCHEMA: &'static str = "flt.recovery/1";

    fn text(&self, style: &Style) -> String {
        let (Some(threshold), Some(since)) = (self.threshold, self.since_entry) else {
            return "this fleet has no recovery keys\n".into();
        };
        let mut table = Table::new(&["NAME", "KEY"]);
        for Founder { name, key } in &self.keys {
            table.row([name.to_string(), key.to_string()]);
        }
        format!("{threshold} of {} must agree (entry {since})\n{}", self.keys.len(), table.text(style))
    }
}

#[derive(Debug, Serialize)]
struct RequestView {
    request: String,
    words: Vec<String>,
    threshold: u8,
}

impl View for RequestView {
    const SCHEMA: &'static str = "flt.recovery-request/1";

    fn text(&self, _style: &Style) -> String {
        format!("{}\n", self.request)
    }
}

#[derive(Debug, Serialize)]
struct ApprovalView {
    approval: String,
    by: NodeId,
    words: Vec<String>,
}

impl View for ApprovalView {
    const SCHEMA: &'static str = "flt.recovery-approval/1";

    fn text(&self, _style: &Style) -> String {
        format!("{}\n", self.approval)
    }
}

pub(super) async fn show(admin: &Admin<'_>) -> anyhow::Result<Code> {
    history::fetch(admin).await?;
    let state = admin.local_state()?;
    let set = state.recovery();
    admin.out.view(&RecoveryView {
        threshold: set.map(|set| set.recovery.threshold),
        since_entry: set.map(|set| set.since),
        keys: set.map(|set| set.recovery.keys.clone()).unwrap_or_default(),
    })?;
    if set.is_none() {
        admin.out.hint("set some, and keep them apart and offline: flt admin recovery set --help");
    }
    Ok(Code::Done)
}

pub(super) async fn set(args: SetArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let recovery = args.keys.recovery()?;
    if recovery.is_none() && !args.none {
        return Err(usage("no recovery key is named", "name some: --recovery-key NAME=KEY; or end them: --none"));
    }
    let mut online = admin.online().await?;
    let result = async {
        let state = online.state()?;
        let wanted = Wanted::Replace { recovery: recovery.clone() };
        if let Some(request) = RecoveryRequest::of(&state, wanted) {
            print_request(&request, admin)?;
            admin.out.status("Nothing is changed yet: the fleet has recovery keys, and they must agree.");
            return Ok(());
        }
        if recovery.is_none() {
            admin.out.status("Nothing to change: this fleet has no recovery keys.");
            return Ok(());
        }
        let body = Body::SetRecovery(protocols::entry::SetRecovery { recovery, approvals: Vec::new() });
        if !args.dry_run {
            let question = "Whoever holds enough of these keys can take over the whole fleet.";
            admin.out.confirm_name(question, state.name().as_str(), args.yes)?;
        }
        online.enter(body, args.dry_run).await
    }
    .await;
    online.close().await;
    result.map(|()| Code::Done)
}

fn print_request(request: &RecoveryRequest, admin: &Admin<'_>) -> anyhow::Result<()> {
    for line in request.words() {
        admin.out.status(line);
    }
    admin.out.view(&RequestView {
        request: request.to_string(),
        words: request.words(),
        threshold: request.threshold,
    })?;
    admin.out.hint(format!(
        "{} of the recovery keys approve it: flt admin recovery approve REQUEST --key-file FILE",
        request.threshold
    ));
    admin.out.hint("then, here: flt admin recovery submit REQUEST APPROVAL...");
    Ok(())
}

pub(super) fn request(args: RequestArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let name = own_name(args.name, admin)?;
    let state = match &args.ticket {
        None => Some(admin.local_state().hint("or say which fleet is meant: --ticket TICKET")?),
        Some(ticket) => admin.local_state().ok().filter(|state| state.fleet() == ticket.fleet),
    };
    let revoke = args.revoke.iter().map(|who| lost(who, state.as_deref())).collect::<anyhow::Result<Vec<_>>>()?;
    if let Some(state) = &state {
        if state.recovery().is_none() {
            return Err(Refusal::NoRecovery).context("cannot ask for a recovery");
        }
        if let Some((_, taken)) =
            state.admins().iter().find(|(key, a)| a.name == name && revoke.iter().all(|r| r.key != **key))
        {
            return Err(anyhow!("an admin is called `{}` already", taken.name))
                .hint(format!("revoke that one: --revoke {}; or choose another name: --name NAME", taken.name));
        }
    }
    let (key, made) = own_key(args.encrypt, admin)?;
    if made {
        admin.out.status(format!("Made a key in {}; it stays there.", admin.key_file().display()));
    }
    let what = Wanted::Recover { to: key.id(), name, revoke, compromised_since: args.compromised_since };
    let request = match (&state, &args.ticket) {
        (Some(state), _) => RecoveryRequest::of(state, what).ok_or(Refusal::NoRecovery)?,
        (None, Some(ticket)) => RecoveryRequest {
            fleet: ticket.fleet,
            fleet_name: ticket.name.clone(),
            set_by: args.set_by,
            threshold: 1,
            what,
        },
        (None, None) => return Err(anyhow!("it is not known which fleet is meant")).hint("say it: --ticket TICKET"),
    };
    print_request(&request, admin)?;
    Ok(Code::Done)
}

/// An admin whose key is lost or stolen.
fn lost(who: &str, state: Option<&FleetState>) -> anyhow::Result<Revoked> {
    let Some(state) = state else {
        let key = parse_public(who).with_context(|| format!("`{who}` is no key"));
        let key = key.hint("without a copy of the ledger here, an admin is named by the key")?;
        return Ok(Revoked { key, name: None });
    };
    let (key, what) = revoke::find(state, who)?;
    match state.admins().get(&key) {
        Some(admin) => Ok(Revoked { key, name: Some(admin.name.clone()) }),
        None => Err(anyhow!("{what} is no admin")).hint("see the admins: flt admin who-can read --offline"),
    }
}

pub(super) fn approve(args: ApproveArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let (domain, message) = args.request.signed();
    let words = args.request.words();
    let asked = format!("You are asked to approve:\n  {}\n", words.join("\n  "));
    let approved = match admin.held()? {
        Some((agent, holds)) => {
            confirm(&asked, holds, &args, admin)?;
            args.request.approved(holds, agent.sign(holds, domain, &message)?)
        }
        None => {
            let file = admin.key_file();
            if file == admin.workspace.key_file() {
                return Err(usage("no recovery key is named", "name its file: --key-file FILE; or --ssh-agent KEY"));
            }
            let key = admin.key()?;
            confirm(&asked, key.id(), &args, admin)?;
            args.request.approve(&key)
        }
    };
    admin.out.view(&ApprovalView { approval: approved.to_string(), by: approved.by(), words })?;
    admin.out.hint("give the approval to whoever asked: flt admin recovery submit REQUEST APPROVAL...");
    Ok(Code::Done)
}

fn confirm(asked: &str, by: NodeId, args: &ApproveArgs, admin: &Admin<'_>) -> anyhow::Result<()> {
    let asked = format!("{asked}With the recovery key {by}. Nothing but your own knowledge says that this is right.");
    if args.yes {
        admin.out.status(&asked);
    }
    admin.out.confirm_name(&asked, args.request.fleet_name.as_str(), args.yes)
}

pub(super) async fn submit(args: SubmitArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let mut approvals: Vec<Approval> = Vec::new();
    for approved in &args.approvals {
        let approval = args.request.check(approved).context("cannot use an approval")?;
        if approvals.iter().all(|known| known.key != approval.key) {
            approvals.push(approval);
        }
    }
    let ticket = match args.ticket {
        Some(mut ticket) => {
            ticket.invite = None;
            ticket
        }
        None => admin.ticket().hint("or give it here: --ticket TICKET")?,
    };
    if ticket.fleet != args.request.fleet {
        return Err(usage(
            format!("the request is for another fleet than `{}`", ticket.name),
            "use that fleet's ticket: --ticket TICKET",
        ));
    }
    super::ticket::check_fleet(&ticket, admin)?;
    match &args.request.what {
        Wanted::Replace { .. } => replace(&args.request, approvals, admin).await,
        Wanted::Recover { to, .. } => recover(&args.request, *to, approvals, &ticket, admin).await,
    }
}

async fn replace(request: &RecoveryRequest, approvals: Vec<Approval>, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let mut online = admin.online().await?;
    let entered = online.enter(request.body(approvals), false).await;
    online.close().await;
    entered.map(|()| Code::Done)
}

/// Enters a recovery: by a stranger, for the fleet does not know the new admin's key yet.
async fn recover(
    request: &RecoveryRequest,
    to: NodeId,
    approvals: Vec<Approval>,
    ticket: &Ticket,
    admin: &Admin<'_>,
) -> anyhow::Result<Code> {
    let key = admin.key()?;
    if key.id() != to {
        return Err(usage(
            format!("the request is for the key {to}, and the one here is {}", key.id().short()),
            "submit it where it was made, or name that key: --key-file FILE",
        ));
    }
    let author = Author::new(key);
    let intent = Intent::Enter(request.body(approvals));
    let progress = admin.out.progress("Handing in what the recovery keys approved");
    let entered = compose::recover::recover(&author, &intent, ticket, &admin.workspace).await;
    drop(progress);
    let seq = entered?;
    admin.workspace.set_ticket(ticket).context("cannot store the ticket")?;
    let state = admin.local_state()?;
    admin.out.view(&Entered {
        entry: seq,
        what: admin::race::summary_in(&intent.body(&state), &state),
        dry_run: false,
    })?;
    admin.out.hint("you may do everything now; look at who else may: flt admin who-can grant");
    admin.out.hint("and at what was done meanwhile: flt admin log");
    Ok(Code::Done)
}
