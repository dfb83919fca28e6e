//! What other coordinators ask of this one. The caller is whoever the connection belongs to.

use std::sync::Arc;

use openraft::error::RaftError;
use openraft::raft::AppendEntriesResponse;
use protocols::NodeId;

use super::{Group, Running};
use crate::batch::BATCH_MAX;
use crate::call::{Call, ProposeError, Reply, Said, What};
use crate::types::{Item, Member};

impl Group {
    /// Answers a coordinator of this fleet.
    pub async fn handle(self: &Arc<Self>, caller: NodeId, call: Call) -> Reply {
        Reply(match call.0 {
            What::Append { to, from, rpc } => match self.member(caller, to, from) {
                Ok(running) => match running.raft.append_entries(rpc).await {
                    Ok(response) => {
                        if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
                            running.led.notify_one();
                        }
                        Said::Append(response)
                    }
                    Err(error) => failed(error),
                },
                Err(said) => *said,
            },
            What::Vote { to, from, rpc } => match self.member(caller, to, from) {
                Ok(running) => running.raft.vote(rpc).await.map_or_else(failed, Said::Vote),
                Err(said) => *said,
            },
            What::Snapshot { to, from, rpc } => match self.member(caller, to, from) {
                Ok(running) => match running.raft.install_snapshot(rpc).await {
                    Ok(response) => Said::Snapshot(Ok(response)),
                    Err(RaftError::APIError(error)) => Said::Snapshot(Err(error)),
                    Err(error) => failed(error),
                },
                Err(said) => *said,
            },
            What::Prepare { renew } => match self.prepare(renew).await {
                Ok(member) => Said::Prepared(member),
                Err(error) => Said::Failed(error.to_string()),
            },
            What::Propose(items) => self.proposed(self.has(caller), items).await,
            What::Views(views) => match self.running().filter(|r| r.is_member()) {
                // Handed on by another member already: read here, whoever leads by now.
                Some(running) if self.has(caller) => Said::Views(Ok(running.read_here(&views).await)),
                Some(running) => Said::Views(running.views(views).await),
                None => Said::NotAMember,
            },
            What::Status => match self.running().filter(|r| r.is_member()) {
                Some(running) if self.has(caller) => Said::Status(Some(running.status())),
                Some(_) => Said::Status(self.status().await),
                None => Said::Status(None),
            },
            What::Change { add, remove } if self.has(caller) => {
                Said::Changed(self.change_as_leader(&add, &remove).await)
            }
            What::Change { .. } => Said::NotAMember,
        })
    }

    /// The member that is meant, if the caller is one too.
    fn member(&self, caller: NodeId, to: Member, from: Member) -> Result<Arc<Running>, Box<Said>> {
        let running = self.running().filter(|running| running.me == to).ok_or_else(|| Box::new(Said::OtherDisk))?;
        if from.key() != caller {
            return Err(Box::new(Said::NotAMember));
        }
        if running.machine.read(|state| state.removed.contains(&from)) {
            return Err(Box::new(Said::Removed));
        }
        let known = {
            let metrics = running.raft.metrics();
            let metrics = metrics.borrow();
            let members = metrics.membership_config.membership();
            // One that has no members yet is told them by whoever added it. One that hears no leader may have missed that
            // somebody was added, and would otherwise never be told.
            members.nodes().next().is_none() || members.get_node(&from).is_some() || metrics.current_leader.is_none()
        };
        if !known {
            return Err(Box::new(Said::NotAMember));
        }
        running.heard.note(caller);
        Ok(running)
    }

    /// What a member hands on is not handed on again; what others do, may be once.
    async fn proposed(&self, by_member: bool, items: Vec<Item>) -> Said {
        let Some(running) = self.running().filter(|r| r.is_member()) else { return Said::NotAMember };
        // Only what members' clients ask; the clock and the beginning are the leader's own.
        let foreign = |item: &Item| matches!(item, Item::Entry(_) | Item::Ask(_));
        if items.len() > BATCH_MAX || !items.iter().all(foreign) {
            return Said::Failed("the proposal is out of bounds".into());
        }
        let waiting: Vec<_> = items
            .into_iter()
            .map(|item| {
                let running = Arc::clone(&running);
                tokio::spawn(async move { running.enqueue(item, by_member).await })
            })
            .collect();
        let mut results = Vec::with_capacity(waiting.len());
        for task in waiting {
            results.push(task.await.unwrap_or_else(|e| Err(ProposeError::Lost(e.to_string()))));
        }
        Said::Proposed(results)
    }
}

fn failed<E: std::fmt::Display>(error: E) -> Said {
    Said::Failed(error.to_string())
}
