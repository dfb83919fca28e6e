//! What scores ask of a switch.

use protocols::secret::Place;
use protocols::{Name, SealedText, SecretValue, Subject};
use scores::secrets::open_with;
use scores::switch::{Change, Config, Snapshot, SnmpSecrets, Switch};
use scores::{DeviceError, Grant, OpenSecrets, Topology};

use super::Device;
use crate::dialect;
use crate::parse::System;

impl Topology for Device {
    fn name(&self) -> &str {
        self.inner.declaration.name.as_str()
    }

    async fn ensure_ready(&self) -> Result<(), DeviceError> {
        Ok(self.reading(async |_live| Ok(())).await?)
    }
}

impl Switch for Device {
    fn device(&self) -> &Name {
        &self.inner.declaration.name
    }

    async fn read(&self) -> Result<Snapshot, DeviceError> {
        let mut found = self.reading(async |live| live.read().await).await?;
        let recalled = self.inner.memory.recall(&mut found.running, &mut found.startup).await;
        recalled.map_err(|error| DeviceError::io("read which secrets the device was given", error))?;
        Ok(found)
    }

    async fn change(&self, change: &Change, secrets: Option<&SnmpSecrets>) -> Result<(), DeviceError> {
        let note = |error| DeviceError::io("note which secrets the device was given", error);
        if let Change::User { name, .. } = change {
            // Until it is done, it is not known which ones it has.
            self.inner.memory.note(name, None).await.map_err(note)?;
        }
        let changed = self.alone(async |live| {
            let snapshot = match live.snapshot.take() {
                Some(snapshot) => snapshot,
                None => live.read().await?,
            };
            let change = from_here(change, &snapshot.running);
            let commands = dialect::commands(snapshot.family, &snapshot.running, &change, secrets)?;
            if commands.is_empty() {
                live.snapshot = Some(snapshot);
                return Ok(());
            }
            live.session.configure(&commands).await?;
            // What else a change brings about is seen only on the device.
            live.snapshot = None;
            Ok(())
        });
        self.in_custody(Box::pin(async { Ok(changed.await?) })).await?;
        match change {
            Change::User { name, to: Some(user), .. } => {
                self.inner.memory.note(name, user.keys.clone()).await.map_err(note)
            }
            _ => Ok(()),
        }
    }

    async fn save(&self) -> Result<(), DeviceError> {
        let saved = self.alone(async |live| match live.version.system {
            System::FastIron => live.session.save("write memory", "done").await,
            System::NetworkOs => live.session.save("copy running-config startup-config", "").await,
        });
        self.in_custody(Box::pin(async { Ok(saved.await?) })).await?;
        self.inner.memory.saved().await.map_err(|error| DeviceError::io("note that it was saved", error))
    }

    async fn claim(&self, subject: &Subject) -> Result<Option<Grant>, DeviceError> {
        self.inner.turn.claim(subject).await?;
        let taken = Box::pin(self.take_custody()).await;
        if taken.is_err() {
            self.inner.turn.release(subject);
        }
        taken
    }

    fn release(&self, subject: &Subject) {
        if self.inner.turn.release(subject) {
            self.give_back();
        }
    }
}

/// The same change from what is there now: it may have been made already, as a whole or in part.
fn from_here(change: &Change, running: &Config) -> Change {
    let mut change = change.clone();
    match &mut change {
        Change::Lag { id, from, .. } => *from = running.lags.get(id).cloned(),
        Change::Port { port, from, .. } => *from = running.port(*port),
        Change::Vlan { id, from, .. } => *from = running.vlans.get(id).cloned(),
        Change::Group { name, from, .. } => *from = running.groups.get(name).cloned(),
        Change::User { name, from, .. } => *from = running.users.get(name).cloned(),
    }
    change
}

impl OpenSecrets for Device {
    async fn open(&self, secret: &SealedText, place: Place<'_>) -> Result<SecretValue, DeviceError> {
        open_with(&self.inner.keys, secret, place).await
    }
}
