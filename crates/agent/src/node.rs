//! What admins and coordinators ask of this node directly.

use std::sync::Arc;

use protocols::NodeId;
use protocols::control::{Denied, Echoed, TailBatch};
use protocols::entry::Head;
use protocols::node::{Draft, NodeMessage, Planned};
use scores::Assignment;

use crate::agent::Agent;

/// The longest text that is said back.
const ECHO_BYTES_MAX: usize = 64 * 1024;

impl Agent {
    /// Answers a request on the node protocol. Failing to send an answer means that the caller has gone.
    pub async fn node(self: Arc<Self>, caller: NodeId, message: NodeMessage) {
        let sent = match message {
            NodeMessage::Echo(m) => {
                let mut text = m.inner.0;
                text.truncate(text.floor_char_boundary(ECHO_BYTES_MAX));
                m.tx.send(Echoed { text, caller }).await
            }
            NodeMessage::Plan(m) => {
                let answer = self.plan(caller, m.inner.0).await;
                m.tx.send(answer).await
            }
            NodeMessage::Tail(m) => m.tx.send(self.give(caller, m.inner.after)).await,
            NodeMessage::Witness(m) => m.tx.send(self.testify(caller)).await,
            NodeMessage::Chain(m) => m.tx.send(self.chain(caller, m.inner.from)).await,
            NodeMessage::Promise(m) => {
                let answer = self.promise(caller, m.inner).await;
                m.tx.send(answer).await
            }
            NodeMessage::Drivers(m) => {
                let answer = self.driver_reports(caller, m.inner.cluster).await;
                m.tx.send(answer).await
            }
            NodeMessage::ShutPort(m) => {
                let answer = self.shut_port(caller, m.inner).await;
                m.tx.send(answer).await
            }
        };
        if let Err(error) = sent {
            tracing::debug!(node = %caller, %error, "the caller went away");
        }
    }

    /// This node's copy of the ledger, for a coordinator that lacks some of it.
    fn give(&self, caller: NodeId, after: Option<Head>) -> Result<TailBatch, Denied> {
        let state = self.state().ok_or_else(|| Denied::Unavailable("the node has no ledger yet".into()))?;
        if !state.is_coordinator(caller) {
            return Err(Denied::NotAllowed("order this fleet's ledger".into()));
        }
        let tail = self.tail(after).map_err(|e| Denied::Unavailable(e.to_string()))?;
        let tail = tail.ok_or_else(|| Denied::Unavailable("the node has no ledger yet".into()))?;
        Ok(TailBatch { entries: tail.entries, head: tail.head, claim: None, end: None })
    }

    async fn plan(&self, caller: NodeId, draft: Draft) -> Result<Planned, Denied> {
        let state = self.state().ok_or_else(|| Denied::Unavailable("the node has no ledger yet".into()))?;
        if !self.is_reader(&state, caller) {
            return Err(Denied::NotAllowed("read what this node has".into()));
        }
        let policy = draft.policy().map_err(|e| Denied::Bounds(e.to_string()))?;
        let assignment = Assignment {
            name: draft.name,
            generation: state.head().seq + 1,
            kind: draft.kind,
            subject: draft.subject,
            payload: draft.payload,
            policy,
        };
        Ok(match self.hands.preview(&assignment).await {
            Ok(steps) => Planned::Steps(steps),
            Err(error) => Planned::Cannot(scores::chain(&error)),
        })
    }
}
