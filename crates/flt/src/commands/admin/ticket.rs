//! The ticket that reaches the fleet: stored once, used by every later command.

use std::io::Read as _;

use anyhow::Context as _;
use clap::Args;
use protocols::Ticket;
use protocols::ticket::TICKET_CHARS_MAX;
use serde::Serialize;

use super::context::{Admin, usage};
use crate::output::{Style, View};
use crate::report::Code;

/// `flt admin use`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin use flt1abc...\n  ssh coordinator cat /var/lib/flotilla/coordinator/ticket | flt admin use -"
)]
pub(crate) struct UseArgs {
    /// The ticket that `flt coordinator run` prints, or `-` to read it from stdin
    ticket: String,
    /// Only check the ticket
    #[arg(long)]
    dry_run: bool,
}

/// A stored ticket.
#[derive(Debug, Serialize)]
struct TicketView {
    fleet: String,
    fleet_id: String,
    ticket: String,
    coordinators: Vec<String>,
}

impl TicketView {
    fn new(ticket: &Ticket) -> Self {
        Self {
            fleet: ticket.name.to_string(),
            fleet_id: ticket.fleet.to_string(),
            ticket: ticket.to_string(),
            coordinators: ticket.coordinators.iter().map(|c| c.id.to_string()).collect(),
        }
    }
}

impl View for TicketView {
    const SCHEMA: &'static str = "flt.ticket/1";

    fn text(&self, _style: &Style) -> String {
        format!("{}\n", self.ticket)
    }
}

/// The ticket that a person gave, or `-` for the one on stdin.
pub(super) fn read(given: &str, admin: &Admin<'_>) -> anyhow::Result<Ticket> {
    let mut text = given.to_owned();
    if given == "-" {
        text.clear();
        let most = TICKET_CHARS_MAX as u64 + 2;
        std::io::stdin().lock().take(most).read_to_string(&mut text).context("cannot read the ticket from stdin")?;
    }
    let mut ticket: Ticket = text.parse().context("cannot use this ticket")?;
    if ticket.invite.take().is_some() {
        admin.out.warning("the ticket holds an invite for a node; it is not needed here and was left out");
    }
    Ok(ticket)
}

/// Refuses a ticket of another fleet than the folder's.
pub(super) fn check_fleet(ticket: &Ticket, admin: &Admin<'_>) -> anyhow::Result<()> {
    let known =
        admin.workspace.ledger(None).ok().and_then(|ledger| ledger.state().map(|s| (s.fleet(), s.name().clone())));
    if let Some((fleet, name)) = known
        && fleet != ticket.fleet
    {
        let text = format!("this data folder is of the fleet `{name}`, and the ticket of another, `{}`", ticket.name);
        return Err(usage(text, "give each fleet a folder of its own: --data DIR"));
    }
    Ok(())
}

pub(super) fn store(args: UseArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let ticket = read(&args.ticket, admin)?;
    check_fleet(&ticket, admin)?;
    if !args.dry_run {
        admin.workspace.set_ticket(&ticket).context("cannot store the ticket")?;
        admin.out.status(format!("Stored in {}", admin.workspace.ticket_file().display()));
    }
    admin.out.view(&TicketView::new(&ticket))?;
    admin.out.hint("see the fleet: flt admin status");
    Ok(Code::Done)
}

pub(super) fn show(admin: &Admin<'_>) -> anyhow::Result<Code> {
    let ticket = admin.ticket()?;
    admin.out.view(&TicketView::new(&ticket))?;
    Ok(Code::Done)
}
