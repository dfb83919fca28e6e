//! What a bond asks of a switch beyond its configuration: who is at the other end of its cables.

use std::collections::{BTreeMap, BTreeSet};

use protocols::Mac;
use serde::{Deserialize, Serialize};

use crate::DeviceError;
use crate::switch::{Port, Switch};

/// A switch that tells what is plugged into it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not tell what is plugged into it",
    label = "needs the capability `Plugged`"
)]
pub trait Plugged: Switch {
    /// What it sees of its surroundings.
    fn surroundings(&self) -> impl Future<Output = Result<Surroundings, DeviceError>> + Send;
}

/// What a switch sees of its surroundings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Surroundings {
    /// The addresses that it has learnt, by port or port channel.
    pub addresses: BTreeMap<Port, BTreeSet<Mac>>,
    /// What says that it is at the other end of a port: its addresses and its name, as far as it tells.
    pub neighbours: BTreeMap<Port, BTreeSet<String>>,
    /// Whether members of port channels carry traffic; unknown where nothing is told.
    pub carrying: BTreeMap<Port, Option<bool>>,
}
