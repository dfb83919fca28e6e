//! A host of which every step can fail, or end the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use protocols::Mac;
use scores::bond::{AdMember, AdState, HostBond, HostLink, HostLinks, HostNetwork};
use scores::{DeviceError, Topology};
use tokio::sync::Notify;

use super::desk::Desk;

/// What becomes of a step of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It fails, and has done nothing.
    FailsBefore,
    /// It fails, and has done its work.
    FailsAfter,
    /// The agent ends before it.
    EndsBefore,
    /// The agent ends when it is done.
    EndsAfter,
}

/// A host with two interfaces. Clones are the same host.
#[derive(Debug, Clone, Default)]
pub(super) struct Host {
    pub(super) inner: Arc<Mutex<Inner>>,
    pub(super) ended: Arc<Notify>,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) running: Option<HostBond>,
    pub(super) startup: Option<HostBond>,
    /// Steps that were asked for so far.
    pub(super) steps: usize,
    /// What becomes of which one.
    pub(super) fate: Option<(usize, Fate)>,
    /// Nothing speaks LACP at the other end, as the host sees it.
    pub(super) deaf: bool,
    pub(super) addresses: BTreeSet<String>,
    /// Who has custody of the switch, where that is asked for: no step may be taken without it.
    pub(super) desk: Option<Arc<Desk>>,
}

impl Host {
    /// A step: `act` is what it does.
    async fn step(&self, act: impl FnOnce(&mut Inner) + Send) -> Result<(), DeviceError> {
        let fate = {
            let mut inner = self.inner.lock().unwrap();
            inner.steps += 1;
            assert!(inner.desk.as_ref().is_none_or(|desk| desk.is_taken()), "step {} without custody", inner.steps);
            let fate = inner.fate.filter(|(at, _)| *at == inner.steps).map(|(_, fate)| fate);
            if !matches!(fate, Some(Fate::FailsBefore | Fate::EndsBefore)) {
                act(&mut inner);
            }
            fate
        };
        match fate {
            None => Ok(()),
            Some(Fate::FailsBefore | Fate::FailsAfter) => Err(DeviceError::transient("reach the network's daemon")),
            Some(Fate::EndsBefore | Fate::EndsAfter) => {
                self.ended.notify_one();
                std::future::pending().await
            }
        }
    }

    pub(super) fn set_up(&self) -> (Option<HostBond>, Option<HostBond>) {
        let inner = self.inner.lock().unwrap();
        (inner.running.clone(), inner.startup.clone())
    }

    pub(super) fn steps(&self) -> usize {
        self.inner.lock().unwrap().steps
    }
}

pub(super) fn mac(n: u8) -> Mac {
    // What the simulated switch has plugged into its first ports.
    Mac::new([0x52, 0x54, 0, 0xaa, 0, n])
}

impl Topology for Host {
    fn name(&self) -> &str {
        "host"
    }
}

impl HostNetwork for Host {
    async fn look(&self, bond: &str) -> Result<HostLinks, DeviceError> {
        let inner = self.inner.lock().unwrap();
        let link =
            |n| HostLink { mac: Some(mac(n)), up: true, addresses: inner.addresses.clone(), ..HostLink::default() };
        let mut links = BTreeMap::from([("eth1".to_owned(), link(0)), ("eth2".to_owned(), link(1))]);
        let state = inner.running.as_ref().map(|set| {
            links.insert(bond.to_owned(), link(0));
            let member = AdMember { up: true, aggregator: Some(1) };
            let members = set.nics.iter().map(|nic| (nic.clone(), member.clone())).collect();
            let partner = if inner.deaf { None } else { Some(mac(200)) };
            AdState { lacp: true, aggregator: Some(1), partner, members }
        });
        let (running, startup) = (inner.running.clone(), inner.startup.clone());
        Ok(HostLinks { links, running, startup, foreign: None, state })
    }

    async fn record(&self, _bond: &str) -> Result<String, DeviceError> {
        Ok(serde_json::to_string(&self.set_up()).unwrap())
    }

    async fn set(&self, bond: &HostBond) -> Result<(), DeviceError> {
        self.step(|inner| inner.running = Some(bond.clone())).await
    }

    async fn keep(&self, bond: &HostBond) -> Result<(), DeviceError> {
        self.step(|inner| inner.startup = Some(bond.clone())).await
    }

    async fn put_back(&self, _bond: &str, record: &str) -> Result<(), DeviceError> {
        let (running, startup) = serde_json::from_str(record).unwrap();
        self.step(|inner| (inner.running, inner.startup) = (running, startup)).await
    }
}
