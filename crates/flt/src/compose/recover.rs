//! Handing in a recovery: the one entry that a key without rights may bring.

use std::time::Duration;

use admin::author::{Author, Intent};
use admin::session::Session;
use admin::workspace::Workspace;
use anyhow::{Context as _, anyhow};
use protocols::enroll::{EnrollError, Enrollment, SubmitRecovery};
use protocols::entry::Head;
use protocols::{Entry, EntryHash, SignedEntry, Ticket};

/// How long the coordinator may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How often the entry is signed anew because another one came first.
const RACES_MAX: usize = 10;

/// Enters a recovery with the new admin's own key, fetches the ledger, and says which entry it is.
///
/// # Errors
/// If the coordinator cannot be reached or does not take it; the chain of causes says why.
pub async fn recover(author: &Author, intent: &Intent, ticket: &Ticket, workspace: &Workspace) -> anyhow::Result<u64> {
    workspace.create().context("cannot make the admin's data folder")?;
    let link = super::admin::connect(author.key().clone(), ticket, workspace.dir(), &[], false).await?;
    let entered = async {
        let head = hand_in(author, intent, ticket, workspace, &link).await?;
        let mut session =
            Session::open(workspace.clone(), ticket.fleet, author.clone(), link.control()).context("it is entered")?;
        session.sync().await.with_context(|| {
            format!("it is entry {} and cannot be fetched yet: flt admin join TICKET goes on", head.seq)
        })?;
        anyhow::ensure!(
            session.state()?.admins().contains_key(&author.id()),
            "the coordinator says that it is entry {}, and its ledger does not have it",
            head.seq
        );
        Ok(head.seq)
    }
    .await;
    link.close().await;
    entered
}

async fn hand_in(
    author: &Author,
    intent: &Intent,
    ticket: &Ticket,
    workspace: &Workspace,
    link: &super::admin::AdminLink,
) -> anyhow::Result<Head> {
    // The copy here may be old, and may be none: the genesis entry's hash is the fleet's id, and whoever orders the ledger
    // says what is newest. What follows a wrong head is simply not taken.
    let known = workspace.ledger(Some(ticket.fleet)).ok().and_then(|ledger| ledger.head());
    let head = known.unwrap_or_else(|| Head { seq: 0, hash: EntryHash::from_bytes(*ticket.fleet.as_bytes()) });
    let mut unreachable = None;
    for coordinator in ticket.coordinators.iter().map(|c| c.id) {
        match hand_to(author, intent, ticket, head, &link.enrollment(coordinator)).await {
            Err(error) if error.downcast_ref::<Unreachable>().is_some() => unreachable = Some(error),
            other => return other,
        }
    }
    Err(unreachable.unwrap_or_else(|| anyhow!("the ticket names no coordinator")))
}

/// The coordinator was not heard; another one may be.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach a coordinator")]
struct Unreachable;

async fn hand_to(
    author: &Author,
    intent: &Intent,
    ticket: &Ticket,
    mut head: Head,
    client: &protocols::Client<Enrollment>,
) -> anyhow::Result<Head> {
    for _ in 0..RACES_MAX {
        let entry = signed(author, intent, ticket, head)?;
        match tokio::time::timeout(ANSWER_WITHIN, client.rpc(SubmitRecovery(entry))).await {
            Ok(Ok(Ok(enrolled))) => return Ok(enrolled.head),
            Ok(Ok(Err(EnrollError::StaleHead { head: newest }))) if newest != head => head = newest,
            Ok(Ok(Err(refused))) => return Err(anyhow!(refused).context("the coordinator does not take it")),
            Ok(Err(error)) => return Err(anyhow!(error).context(Unreachable)),
            Err(_) => return Err(anyhow!("no answer within {ANSWER_WITHIN:?}").context(Unreachable)),
        }
    }
    Err(anyhow!("other entries came first {RACES_MAX} times in a row"))
}

fn signed(author: &Author, intent: &Intent, ticket: &Ticket, head: Head) -> anyhow::Result<SignedEntry> {
    let Intent::Enter(body) = intent else { return Err(anyhow!("a recovery is no checkpoint")) };
    let entry = Entry {
        fleet: Some(ticket.fleet),
        seq: head.seq.saturating_add(1),
        prev: Some(head.hash),
        at: super::now(),
        not_after: None,
        author: author.id(),
        body: body.clone(),
    };
    entry.sign(author.key()).context("cannot sign the recovery")
}
