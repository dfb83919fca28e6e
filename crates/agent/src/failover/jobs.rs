//! What goes on beside the driver's loop: one order at a time to the workload, the rungs of a fence, and what watches it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use failover::settings::{Remote, Rung};
use failover::{ClusterName, Epoch, Event, LocalTime, SyncSet};
use scores::failover::{Cluster, SWITCH_PORT};
use scores::workload::{Ended, Peer, StartOrder, Workload};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{Boxed, Carrier, Inbox, now, ports};

/// The jobs of one driver.
pub(super) struct Jobs {
    pub(super) cluster: ClusterName,
    pub(super) workload: Arc<dyn Workload>,
    pub(super) inbox: mpsc::Sender<Inbox>,
    work: Option<(Work, JoinHandle<()>)>,
    rungs: Vec<JoinHandle<()>>,
    sync: Option<JoinHandle<()>>,
    watch: Option<JoinHandle<()>>,
}

/// What the workload is told, one after the other.
enum Work {
    Detach(Arc<AtomicU64>),
    Other,
}

impl Jobs {
    pub(super) fn new(cluster: ClusterName, workload: Arc<dyn Workload>, inbox: mpsc::Sender<Inbox>) -> Self {
        Self { cluster, workload, inbox, work: None, rungs: Vec::new(), sync: None, watch: None }
    }

    /// Ends everything, and waits until it has ended.
    pub(super) async fn end_all(&mut self) {
        self.end_rungs().await;
        self.end_work().await;
    }

    async fn end_work(&mut self) {
        if let Some((_, job)) = self.work.take() {
            end(job).await;
        }
        for job in [self.sync.take(), self.watch.take()].into_iter().flatten() {
            end(job).await;
        }
    }

    async fn end_rungs(&mut self) {
        for rung in std::mem::take(&mut self.rungs) {
            end(rung).await;
        }
    }

    /// A job that tells its event when it has ended.
    fn begin(&self, work: impl Future<Output = Option<Event>> + Send + 'static) -> JoinHandle<()> {
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            if let Some(event) = work.await {
                // The driver has ended, and wants to hear nothing more.
                drop(inbox.send(Inbox::Event(event)).await);
            }
        })
    }

    pub(super) async fn start(&mut self, order: StartOrder) {
        self.end_all().await;
        let (workload, cluster) = (Arc::clone(&self.workload), self.cluster.clone());
        let job = self.begin(async move {
            let epoch = order.epoch;
            if now() >= order.until {
                return Some(Event::Died);
            }
            match workload.start(&order).await {
                Ok(()) => Some(Event::Started { epoch }),
                Err(error) => {
                    tracing::error!(%cluster, %epoch, error = scores::chain(&error), "the workload does not start");
                    Some(Event::Died)
                }
            }
        });
        self.work = Some((Work::Other, job));
    }

    /// Tells when a workload ends that was not told to.
    pub(super) fn watch(&mut self) {
        let (workload, cluster) = (Arc::clone(&self.workload), self.cluster.clone());
        let job = self.begin(async move {
            Some(match workload.ended().await {
                Ended::Gone(why) => {
                    tracing::error!(%cluster, why, "the workload ended unasked");
                    Event::Ended
                }
                Ended::Ill(why) => {
                    tracing::error!(%cluster, why, "the workload is ill");
                    Event::Died
                }
            })
        });
        self.watch = Some(job);
    }

    pub(super) async fn stop(&mut self, epoch: Epoch, by: LocalTime) {
        // Its rungs, if there are any, are of an earlier fence; that one was verified.
        self.end_work().await;
        let (workload, cluster) = (Arc::clone(&self.workload), self.cluster.clone());
        let job = self.begin(async move {
            match workload.stop(epoch, by).await {
                Ok(position) => Some(Event::Stopped { epoch, position }),
                Err(error) => {
                    tracing::error!(%cluster, error = scores::chain(&error), "the workload does not stop in order");
                    None
                }
            }
        });
        self.work = Some((Work::Other, job));
    }

    pub(super) async fn fence(&mut self, fence: u64, rung: Rung, by: LocalTime) {
        self.end_work().await;
        let (workload, cluster) = (Arc::clone(&self.workload), self.cluster.clone());
        // It may be verified late, while the next rung is tried already.
        let job = self.begin(async move {
            let done = workload.fence(&rung, by).await;
            if let Some(why) = &done.why {
                tracing::warn!(%cluster, %rung, verified = done.verified, why, "a rung of the fence ladder ended");
            }
            Some(Event::FenceResult { fence, rung, verified: done.verified, position: done.position })
        });
        self.rungs.retain(|rung| !rung.is_finished());
        self.rungs.push(job);
    }

    pub(super) async fn detach(&mut self, serial: u64) {
        if let Some((Work::Detach(asked), job)) = &self.work
            && !job.is_finished()
        {
            asked.store(serial, Ordering::Release);
            return;
        }
        self.end_all().await;
        let asked = Arc::new(AtomicU64::new(serial));
        let latest = Arc::clone(&asked);
        let (workload, cluster) = (Arc::clone(&self.workload), self.cluster.clone());
        let job = self.begin(async move {
            let position = match workload.detach().await {
                Ok(position) => position,
                Err(error) => {
                    tracing::warn!(%cluster, error = scores::chain(&error), "the standby does not let go");
                    return None;
                }
            };
            Some(Event::Detached { serial: latest.load(Ordering::Acquire), position })
        });
        self.work = Some((Work::Detach(asked), job));
    }

    pub(super) async fn attach(&mut self, primary: Peer, epoch: Epoch) {
        self.end_all().await;
        let (workload, cluster) = (Arc::clone(&self.workload), self.cluster.clone());
        let job = self.begin(async move {
            // Soon at first: until a standby follows, a primary with a sync gate acknowledges nothing.
            let mut pause = SOON;
            while let Err(error) = workload.attach(&primary, epoch).await {
                let error = scores::chain(&error);
                tracing::warn!(%cluster, primary = %primary.name, %epoch, error, "cannot follow the primary yet");
                sleep(pause).await;
                pause = (pause * 3 / 2).min(AGAIN);
            }
            None
        });
        self.work = Some((Work::Other, job));
    }

    pub(super) async fn rebuild(&mut self, serial: u64, primary: Peer, epoch: Epoch) {
        self.end_all().await;
        let (workload, cluster) = (Arc::clone(&self.workload), self.cluster.clone());
        let job = self.begin(async move {
            while let Err(error) = workload.rebuild(&primary, epoch).await {
                let error = scores::chain(&error);
                tracing::warn!(%cluster, primary = %primary.name, %epoch, error, "the standby is not built anew yet");
                sleep(AGAIN).await;
            }
            Some(Event::Rebuilt { epoch, serial })
        });
        self.work = Some((Work::Other, job));
    }

    pub(super) async fn apply_sync(&mut self, serial: u64, set: SyncSet) {
        if let Some(job) = self.sync.take() {
            end(job).await;
        }
        let (workload, cluster) = (Arc::clone(&self.workload), self.cluster.clone());
        self.sync = Some(self.begin(async move {
            while let Err(error) = workload.apply_sync(&set).await {
                let error = scores::chain(&error);
                tracing::warn!(%cluster, error, "writes are not acknowledged by the new set yet");
                sleep(AGAIN).await;
            }
            Some(Event::SyncInForce { serial })
        }));
    }

    /// Waits until the set that the workload was started with has acknowledged a write.
    pub(super) fn sync_from_start(&mut self, serial: u64, set: SyncSet) {
        let workload = Arc::clone(&self.workload);
        self.sync = Some(self.begin(async move {
            while workload.apply_sync(&set).await.is_err() {
                sleep(AGAIN).await;
            }
            Some(Event::SyncInForce { serial })
        }));
    }

    pub(super) fn act(
        &self,
        (epoch, target, remote): (Epoch, Peer, Remote),
        carrier: &Arc<dyn Carrier>,
        declared: &Arc<Cluster>,
    ) {
        let (declared, inbox) = (Arc::clone(declared), self.inbox.clone());
        let shut = carrier.shut_ports(Arc::clone(&declared), epoch, target.clone());
        let (workload, cluster) = (Arc::clone(&self.workload), self.cluster.clone());
        let within = Duration::from_micros(remote.within.as_micros());
        drop(self.begin(async move {
            let act = async {
                if remote.action != SWITCH_PORT {
                    return workload.act(&remote, &target).await;
                }
                match shut.await {
                    Ok(()) => {
                        drop(inbox.send(Inbox::Note(ports::notice(&declared, &target))).await);
                        true
                    }
                    Err(why) => {
                        tracing::error!(%cluster, target = %target.name, why, "a port that leads to a silent holder is not shut");
                        false
                    }
                }
            };
            let verified = tokio::time::timeout(within, act).await.unwrap_or(false);
            tracing::warn!(%cluster, action = remote.action, target = %target.name, verified, "acted against a silent holder");
            Some(Event::Acted { epoch, verified })
        }));
    }

    /// Asks what the workload holds.
    pub(super) fn progress(&self) -> Boxed<Option<failover::Position>> {
        let workload = Arc::clone(&self.workload);
        Box::pin(async move {
            // One that hangs must not keep the driver.
            tokio::time::timeout(AGAIN, workload.progress()).await.ok().flatten()
        })
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        let work = self.work.take().map(|(_, job)| job);
        let others = [work, self.sync.take(), self.watch.take()].into_iter().flatten();
        others.chain(std::mem::take(&mut self.rungs)).for_each(|job| job.abort());
    }
}

/// Ends a job, and waits until nothing of it goes on.
async fn end(job: JoinHandle<()>) {
    job.abort();
    if let Err(error) = job.await
        && !error.is_cancelled()
    {
        tracing::error!(%error, "a job of a failover driver ended in a bug of flt");
    }
}

/// How soon what failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How soon it is tried again to follow a primary that may be about to become one.
const SOON: Duration = Duration::from_millis(100);
