//! Handing in a recovery: the one entry that a key without rights may bring.

use std::time::Duration;

use admin::author::{Author, Intent};
use admin::session::Session;
use admin::workspace::Workspace;
use anyhow::{Context as _, anyhow};
use protocols::enroll::{EnrollError, SubmitRecovery};
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
        session.sync().await.with_context(|| format!("it is entry {}, and cannot be fetched yet", head.seq))?;
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
    let mut head = known.unwrap_or(Head { seq: 0, hash: EntryHash::from_bytes(*ticket.fleet.as_bytes()) });
    for _ in 0..RACES_MAX {
        let entry = signed(author, intent, ticket, head)?;
        let call = link.enrollment().rpc(SubmitRecovery(entry));
        let answer = tokio::time::timeout(ANSWER_WITHIN, call).await;
        let answer = answer.map_err(|_| anyhow!("the coordinator does not answer within {ANSWER_WITHIN:?}"))?;
        match answer.context("cannot hand it in")? {
            Ok(enrolled) => return Ok(enrolled.head),
            Err(EnrollError::StaleHead { head: newest }) if newest != head => head = newest,
            Err(refused) => return Err(anyhow!(refused).context("the coordinator does not take it")),
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
