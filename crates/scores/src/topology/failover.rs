//! `Failover<T>`: what is played on it is played on the first member that is ready.

use protocols::Subject;

use super::members::{Members, MembersError, told};
use super::one::{One, on_one};
use crate::{DeviceError, Interpret, Resume, Stage, Topology, Trial};

/// Several ways to one thing, the preferred one first: two addresses of a switch, two entrances to a cluster.
///
/// What is played goes to the first member that is ready. A change stays with the member that it was begun on, also when
/// it is undone: it never ends on another one than it began on. For what may be written in one place only, see
/// [`crate::failover`]: a lease decides there, and this does not replace it.
///
/// ```
/// use scores::files::{FileTree, FilesScore};
/// use scores::topology::{Each, Failover, Redundant};
/// use scores::{OpenSecrets, Registry};
///
/// fn by_two_ways<T: FileTree + OpenSecrets>() -> Registry<Failover<T>> {
///     Registry::new().with::<FilesScore>()
/// }
///
/// fn they_compose<T: FileTree + OpenSecrets>() -> Registry<Redundant<Failover<T>>> {
///     Registry::new().with::<Each<FilesScore>>()
/// }
/// ```
///
/// ```compile_fail,E0277
/// use scores::Registry;
/// use scores::files::FilesScore;
/// use scores::topology::{Failover, Topology};
///
/// struct Lamp;
/// impl Topology for Lamp {
///     fn name(&self) -> &str {
///         "lamp"
///     }
/// }
///
/// Registry::<Failover<Lamp>>::new().with::<FilesScore>();
/// ```
#[derive(Debug)]
pub struct Failover<T> {
    members: Members<T>,
}

impl<T: Topology> Failover<T> {
    /// Puts topologies together under a name of their own, the preferred one first.
    ///
    /// # Errors
    /// If there are none, too many, or two with one name.
    pub fn new(name: impl Into<String>, members: Vec<T>) -> Result<Self, MembersError> {
        Ok(Self { members: Members::new(name, members)? })
    }

    /// Its members, in order of preference.
    pub fn members(&self) -> &[T] {
        &self.members.all
    }

    /// The first that is ready, or why the preferred one is not.
    pub async fn ready(&self) -> Result<&T, DeviceError> {
        let mut why = None;
        for member in &self.members.all {
            match member.ensure_ready().await {
                Ok(()) => return Ok(member),
                Err(error) => {
                    tracing::info!(topology = %self.members.name, member = member.name(), %error, "not ready");
                    why.get_or_insert_with(|| told(member.name(), error));
                }
            }
        }
        Err(why.unwrap_or_else(|| DeviceError::permanent("find a member")))
    }

    async fn choose(&self, _: &Subject) -> Result<&T, DeviceError> {
        self.ready().await
    }
}

impl<T: Topology> Topology for Failover<T> {
    fn name(&self) -> &str {
        &self.members.name
    }

    async fn ensure_ready(&self) -> Result<(), DeviceError> {
        self.ready().await.map(drop)
    }
}

on_one!(Failover, moves: true);
