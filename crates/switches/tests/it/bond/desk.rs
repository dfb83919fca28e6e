//! Custody of a switch, given out as the coordinators do.

use std::sync::{Arc, Mutex};

use scores::{BoxFuture, Custodian, Custody, DeviceError, Grant};

/// Who has it.
#[derive(Debug, Default)]
pub(super) struct Desk {
    inner: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    epoch: u64,
    since: u64,
    taken: Option<u64>,
}

#[derive(Debug)]
struct Lease {
    desk: Arc<Desk>,
    grant: Grant,
}

#[derive(Debug)]
pub(super) struct Asked(pub(super) Arc<Desk>);

impl Desk {
    pub(super) fn is_taken(&self) -> bool {
        self.inner.lock().unwrap().taken.is_some()
    }

    pub(super) fn grants(&self) -> u64 {
        self.inner.lock().unwrap().epoch
    }

    /// Another agent has had it, and gave it back.
    pub(super) fn overtake(&self) {
        let mut inner = self.inner.lock().unwrap();
        inner.epoch += 1;
        inner.since = inner.epoch + 1;
        inner.taken = None;
    }
}

impl Custodian for Asked {
    fn take<'a>(&'a self, thing: &'a str, _exclusive: bool) -> BoxFuture<'a, Result<Box<dyn Custody>, DeviceError>> {
        assert!(thing.starts_with("device/"), "{thing}");
        let mut inner = self.0.inner.lock().unwrap();
        inner.epoch += 1;
        inner.since = inner.since.max(1);
        inner.taken = Some(inner.epoch);
        let grant = Grant { epoch: inner.epoch, since: inner.since };
        let lease: Box<dyn Custody> = Box::new(Lease { desk: Arc::clone(&self.0), grant });
        Box::pin(async move { Ok(lease) })
    }
}

impl Custody for Lease {
    fn grant(&self) -> Option<Grant> {
        Some(self.grant)
    }

    fn ensure(&self) -> Result<(), DeviceError> {
        let taken = self.desk.inner.lock().unwrap().taken == Some(self.grant.epoch);
        if taken { Ok(()) } else { Err(DeviceError::transient("custody has ended")) }
    }

    fn lost(&self) -> BoxFuture<'_, DeviceError> {
        Box::pin(std::future::pending())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut inner = self.desk.inner.lock().unwrap();
        if inner.taken == Some(self.grant.epoch) {
            inner.taken = None;
        }
    }
}
