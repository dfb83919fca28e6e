//! Keeps the settings of leases as the ledger declares them: who publishes other thresholds changes them in force.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use failover::{Answer, Attempt, Author, ClusterName, Phase, Refusal, Request, Settings};
use protocols::control::LeaseError;
use quorum::{Ask, Views};
use scores::failover::declared;
use tokio_util::sync::CancellationToken;

use crate::coordinator::Coordinator;

impl Coordinator {
    /// Configures what is declared, as long as this coordinator orders leases.
    pub(crate) async fn declared_loop(&self, stop: CancellationToken) {
        let mut states = self.order.watch();
        loop {
            states.mark_unchanged();
            if let Err(error) = self.configure_declared().await {
                tracing::debug!(%error, "the settings of leases are not compared now");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = states.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(COMPARE_EVERY) => {}
            }
        }
    }

    async fn configure_declared(&self) -> Result<(), LeaseError> {
        if !self.leads_leases() {
            return Ok(());
        }
        let Some(configured) = self.configured().await? else { return Ok(()) };
        // After the reading, which brought the ledger of a leader up to date: an old declaration must not win.
        let declared = declared(&self.state());
        for (name, cluster) in &declared.clusters {
            if configured.get(name).is_some_and(|known| known.settings == cluster.settings && !known.withdrawn) {
                continue;
            }
            let begun = configured.get(name).is_some_and(|known| known.begun);
            if cluster.first_left && !begun {
                // Who has the data is gone; another one would begin with nothing.
                tracing::warn!(cluster = %name, "who alone may write first has left the fleet: nobody begins");
                continue;
            }
            match self.ask_for(name, Request::Configure(Arc::clone(&cluster.settings))).await? {
                Ok(_) => tracing::info!(cluster = %name, generation = cluster.generation, "settings are in force"),
                Err(refusal) => tracing::warn!(cluster = %name, %refusal, "settings are refused"),
            }
        }
        for (name, known) in configured {
            // What is declared and cannot be made sense of goes on as it was.
            if known.withdrawn || declared.clusters.contains_key(&name) || declared.unclear.contains_key(&name) {
                continue;
            }
            match self.ask_for(&name, Request::Withdraw).await? {
                Ok(_) => tracing::info!(cluster = %name, "declared no more: its lease ends with its holder"),
                Err(refusal) => tracing::warn!(cluster = %name, %refusal, "the lease of a withdrawn cluster stays"),
            }
        }
        Ok(())
    }

    async fn ask_for(&self, cluster: &ClusterName, request: Request) -> Result<Result<Answer, Refusal>, LeaseError> {
        let ask = Ask { cluster: cluster.clone(), author: Author::Admin, attempt: Attempt::default(), request };
        Ok(self.order_lease(ask).await?.answer)
    }

    /// What is in force; nothing if that may be old.
    async fn configured(&self) -> Result<Option<BTreeMap<ClusterName, Known>>, LeaseError> {
        let mut found = BTreeMap::new();
        let mut after = None;
        loop {
            let page = self.read_leases(Views { after: after.take(), ..Views::default() }).await?;
            if !page.exact {
                return Ok(None);
            }
            let last = page.views.last().map(|(name, _)| name.clone());
            found.extend(page.views.into_iter().filter_map(|(name, view)| {
                let (withdrawn, begun) = (view.withdrawn, view.phase != Phase::Vacant);
                Some((name, Known { settings: view.settings?, withdrawn, begun }))
            }));
            match last.filter(|_| page.more) {
                Some(last) => after = Some(last),
                None => return Ok(Some(found)),
            }
        }
    }
}

/// What is in force for a cluster.
struct Known {
    settings: Arc<Settings>,
    withdrawn: bool,
    /// Whether anybody ever held it, or its data are known of.
    begun: bool,
}

/// How often what is declared is compared with what is in force, beside each change of the ledger.
const COMPARE_EVERY: Duration = Duration::from_secs(5);
