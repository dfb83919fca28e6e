//! `switch.…/1`: what network switches shall be, declared for agents that manage them from afar.
//!
//! Every score here edits a [`Config`]: what it does not name is left alone. One plan serves them all, the difference
//! between what runs and what is declared; one way back, the difference between what runs and what was. A change is made
//! in the running configuration, read back, judged by the checks of the policy, and only then saved. What would make a
//! switch refuse it, or hurt something else, is looked for before the first command is sent.

mod config;
mod interface;
mod play;
mod port;
mod port_channel;
mod port_fence;
mod snapshot;
mod snmp;
mod text;
mod vlan;

use protocols::{Name, SecretValue, Subject};

pub use config::{
    Change, Config, Lag, LagMode, Membership, PortConfig, SnmpAuth, SnmpGroup, SnmpKeys, SnmpPrivacy, SnmpUser,
    Touched, Vlan,
};
pub use interface::{InterfaceScore, PortMode};
pub use play::SwitchStep;
pub(crate) use play::{bring_back_channel, is_as_before};
pub use port::{Media, Port};
pub use port_channel::PortChannelScore;
pub use port_fence::PortFenceScore;
pub use snapshot::{Family, Link, Snapshot};
pub use snmp::{SnmpAccess, SnmpAuthKey, SnmpPrivacyKey, SnmpScore};
pub use vlan::VlanScore;

use crate::{DeviceError, Grant, Topology};

/// A switch whose configuration can be read and changed.
#[diagnostic::on_unimplemented(message = "`{Self}` is no switch", label = "needs the capability `Switch`")]
pub trait Switch: Topology {
    /// The name that declarations know it by.
    fn device(&self) -> &Name;

    /// Reads both configurations and the state of the links.
    fn read(&self) -> impl Future<Output = Result<Snapshot, DeviceError>> + Send;

    /// Makes one change in the running configuration. Secrets are passed for a change that sets a user, and go nowhere
    /// but to the device.
    fn change(
        &self,
        change: &Change,
        secrets: Option<&SnmpSecrets>,
    ) -> impl Future<Output = Result<(), DeviceError>> + Send;

    /// Saves the running configuration, so that it is there after a boot.
    fn save(&self) -> impl Future<Output = Result<(), DeviceError>> + Send;

    /// Waits until no other subject has a change on probation here, because saving saves all there is, and no other agent
    /// changes the same device. The same subject may claim it again. Says by which grant this agent may change it, if any
    /// was needed.
    fn claim(&self, subject: &Subject) -> impl Future<Output = Result<Option<Grant>, DeviceError>> + Send;

    /// Lets others change it, if it was this subject that had claimed it.
    fn release(&self, subject: &Subject);
}

/// The secrets of an SNMPv3 user, opened.
#[derive(Debug)]
pub struct SnmpSecrets {
    /// For authentication.
    pub auth: SecretValue,
    /// For privacy.
    pub privacy: Option<SecretValue>,
}

#[cfg(test)]
mod tests;
