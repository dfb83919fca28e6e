//! Whose change is on probation on a device: one at a time, because saving saves all there is.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use protocols::Subject;
use scores::DeviceError;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

#[derive(Debug, Default)]
pub(super) struct Turn {
    holder: Mutex<Option<Subject>>,
    free: Notify,
}

impl Turn {
    /// Waits until it is free, or held by the same subject.
    pub(super) async fn claim(&self, subject: &Subject) -> Result<(), DeviceError> {
        let until = Instant::now() + WAIT;
        loop {
            let freed = self.free.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            let holder = {
                let mut holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
                match holder.as_ref() {
                    Some(other) if other != subject => other.clone(),
                    _ => {
                        *holder = Some(subject.clone());
                        return Ok(());
                    }
                }
            };
            if timeout_at(until, freed).await.is_err() {
                let why = format!("wait for `{holder}`, whose change is on probation on this device");
                return Err(DeviceError::transient(why));
            }
        }
    }

    /// Gives it up, if it was this subject's. Whether nobody has it now.
    pub(super) fn release(&self, subject: &Subject) -> bool {
        let mut holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
        if holder.as_ref() == Some(subject) {
            *holder = None;
            self.free.notify_waiters();
        }
        holder.is_none()
    }
}

/// How long is waited for another change to end.
const WAIT: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_subject_at_a_time() {
        let turn = Turn::default();
        let (one, two): (Subject, Subject) = ("switch/a/vlan/1".parse().unwrap(), "switch/a/vlan/2".parse().unwrap());
        turn.claim(&one).await.unwrap();
        turn.claim(&one).await.unwrap();
        let error = turn.claim(&two).await.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("switch/a/vlan/1"), "{error}");
        assert!(!turn.release(&two));
        let (claimed, ()) = tokio::join!(turn.claim(&two), async { assert!(turn.release(&one)) });
        claimed.unwrap();
    }
}
