//! Custody of a device: of the agents that can reach it, one at a time sends it changes.

use std::sync::{Arc, PoisonError};

use scores::{BoxFuture, Custody, DeviceError, Grant};

use super::Device;
use crate::HostKey;

impl Device {
    /// Has custody from here on, and says by which grant. Nothing where nobody is to be asked.
    pub(super) async fn take_custody(&self) -> Result<Option<Grant>, DeviceError> {
        let Some(custodian) = &self.inner.custodian else { return Ok(None) };
        if let Some(custody) = self.custody().filter(|custody| custody.ensure().is_ok()) {
            return Ok(custody.grant());
        }
        self.give_back();
        let thing = format!("device/{}", self.host_key().await?);
        let taken: Arc<dyn Custody> = custodian.take(&thing, self.inner.declaration.exclusive).await?.into();
        let grant = taken.grant();
        *self.inner.custody.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
        Ok(grant)
    }

    pub(super) fn give_back(&self) {
        drop(self.inner.custody.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Does something that changes the device, as long as it is certain that no other agent does so.
    pub(super) async fn in_custody<R>(&self, work: BoxFuture<'_, Result<R, DeviceError>>) -> Result<R, DeviceError> {
        if self.inner.custodian.is_none() {
            return work.await;
        }
        if self.custody().is_none() {
            // A change that goes on after a restart.
            Box::pin(self.take_custody()).await?;
        }
        let Some(custody) = self.custody() else { return work.await };
        custody.ensure()?;
        tokio::select! {
            biased;
            lost = custody.lost() => Err(lost),
            done = work => done,
        }
    }

    fn custody(&self) -> Option<Arc<dyn Custody>> {
        self.inner.custody.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The fingerprint of its host key: by that all agents know it as the same, whatever they call it.
    async fn host_key(&self) -> Result<String, DeviceError> {
        match &self.inner.declaration.host_key {
            HostKey::Fingerprint(print) => Ok(print.clone()),
            HostKey::KnownHosts(_) => Ok(self.reading(async |live| Ok(live.session.host_key().to_owned())).await?),
        }
    }
}
