//! `Pair<A, B>`: two topologies of different kinds that are changed as one.

use super::members::{part, seat, told};
use crate::{DeviceError, Topology, Trial};

/// A host and the switch that it is plugged into; anything else of which one side is no good without the other.
///
/// A score for a pair asks each side for a capability of its own, and has one trial over both. It records what it takes
/// to undo each side before it changes either.
///
/// ```
/// use scores::Registry;
/// use scores::bond::{BondScore, HostNetwork, Plugged};
/// use scores::topology::Pair;
///
/// fn bonds<H: HostNetwork, W: Plugged>() -> Registry<Pair<H, W>> {
///     Registry::new().with::<BondScore>()
/// }
/// ```
///
/// Each side must have the capability that the score asks of it:
///
/// ```compile_fail,E0277
/// use scores::Registry;
/// use scores::bond::{BondScore, HostNetwork};
/// use scores::topology::{Pair, Topology};
///
/// struct Lamp;
/// impl Topology for Lamp {
///     fn name(&self) -> &str {
///         "lamp"
///     }
/// }
///
/// fn bonds<H: HostNetwork>() -> Registry<Pair<H, Lamp>> {
///     Registry::new().with::<BondScore>()
/// }
/// ```
#[derive(Debug)]
pub struct Pair<A, B> {
    name: String,
    first: A,
    second: B,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    First,
    Second,
}

impl<A: Topology, B: Topology> Pair<A, B> {
    /// Puts two topologies together.
    pub fn new(first: A, second: B) -> Self {
        Self { name: format!("{} and {}", first.name(), second.name()), first, second }
    }

    /// The first of them.
    pub const fn first(&self) -> &A {
        &self.first
    }

    /// The second.
    pub const fn second(&self) -> &B {
        &self.second
    }

    /// Says of an error which side it is of.
    pub(crate) fn told(&self, side: Side, error: DeviceError) -> DeviceError {
        let name = match side {
            Side::First => self.first.name(),
            Side::Second => self.second.name(),
        };
        told(name, error)
    }
}

impl Side {
    /// The part of a trial that is this side's own. It exists once [`seat`](Self::seat) was asked for it.
    pub(crate) fn part(self, trial: &Trial) -> Trial {
        part(trial, self.name())
    }

    /// Makes that part, durably.
    pub(crate) async fn seat(self, trial: &Trial) -> Result<Trial, DeviceError> {
        seat(trial, self.name()).await
    }

    const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
        }
    }
}

impl<A: Topology, B: Topology> Topology for Pair<A, B> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn ensure_ready(&self) -> Result<(), DeviceError> {
        self.first.ensure_ready().await.map_err(|error| self.told(Side::First, error))?;
        self.second.ensure_ready().await.map_err(|error| self.told(Side::Second, error))
    }
}
