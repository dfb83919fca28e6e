//! `Sharded<T>`: what is played on it is played on one member, which the subject decides.

use protocols::Subject;

use super::members::{Members, MembersError, told};
use super::one::{One, on_one};
use crate::{DeviceError, Interpret, Resume, Stage, Topology, Trial};

/// Topologies that share the work: every subject belongs to one of them, always the same as long as the members are.
///
/// The member is found by rendezvous hashing of the subject and the members' names: one that is added takes over its
/// share of the subjects and no other moves. What had been played for a subject that moves stays where it was.
///
/// Every score that a member plays, it plays:
///
/// ```
/// use scores::files::{FileTree, FilesScore};
/// use scores::topology::Sharded;
/// use scores::{OpenSecrets, Registry};
///
/// fn shares<T: FileTree + OpenSecrets>() -> Registry<Sharded<T>> {
///     Registry::new().with::<FilesScore>()
/// }
/// ```
///
/// and no other:
///
/// ```compile_fail,E0277
/// use scores::Registry;
/// use scores::files::FilesScore;
/// use scores::topology::{Sharded, Topology};
///
/// struct Lamp;
/// impl Topology for Lamp {
///     fn name(&self) -> &str {
///         "lamp"
///     }
/// }
///
/// Registry::<Sharded<Lamp>>::new().with::<FilesScore>();
/// ```
#[derive(Debug)]
pub struct Sharded<T> {
    members: Members<T>,
}

impl<T: Topology> Sharded<T> {
    /// Puts topologies together under a name of their own.
    ///
    /// # Errors
    /// If there are none, too many, or two with one name.
    pub fn new(name: impl Into<String>, members: Vec<T>) -> Result<Self, MembersError> {
        Ok(Self { members: Members::new(name, members)? })
    }

    /// Its members, in order.
    pub fn members(&self) -> &[T] {
        &self.members.all
    }

    /// The member that a subject belongs to.
    pub fn member(&self, subject: &Subject) -> Option<&T> {
        let weight = |member: &&T| {
            let mut hash = blake3::Hasher::new_derive_key("flotilla sharded topology 1");
            hash.update(&(member.name().len() as u64).to_le_bytes()).update(member.name().as_bytes());
            *hash.update(subject.to_string().as_bytes()).finalize().as_bytes()
        };
        self.members.all.iter().max_by_key(weight)
    }

    async fn choose(&self, subject: &Subject) -> Result<&T, DeviceError> {
        let member = self.member(subject).ok_or_else(|| DeviceError::permanent("find a member"))?;
        member.ensure_ready().await.map_err(|error| told(member.name(), error))?;
        Ok(member)
    }
}

impl<T: Topology> Topology for Sharded<T> {
    fn name(&self) -> &str {
        &self.members.name
    }
}

on_one!(Sharded, moves: false);
