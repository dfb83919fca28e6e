//! `Redundant<T>`: what is played on it is played on every member, and undone on every member.

use std::fmt;

use protocols::{BlobRef, Kind, SealedText, Subject};
use serde::{Deserialize, Serialize};

use super::members::{Members, MembersError, part, seat, told};
use crate::{DeviceError, Interpret, Invalid, Plan, Resume, Score, Stage, Standing, Topology, Trial};

/// Topologies that shall all be as declared: a pair of switches, two mirrors.
///
/// A score is played on it as [`Each`]: one trial over all members. When one member fails, or a check does, every member
/// is brought back to what it was.
///
/// ```
/// use scores::files::{FileTree, FilesScore};
/// use scores::topology::{Each, Redundant};
/// use scores::{OpenSecrets, Registry};
///
/// fn plays_on_all<T: FileTree + OpenSecrets>() -> Registry<Redundant<T>> {
///     Registry::new().with::<Each<FilesScore>>()
/// }
/// ```
///
/// Its members must have the capability that the score asks for:
///
/// ```compile_fail,E0277
/// use scores::Registry;
/// use scores::files::FilesScore;
/// use scores::topology::{Each, Redundant, Topology};
///
/// struct Lamp;
/// impl Topology for Lamp {
///     fn name(&self) -> &str {
///         "lamp"
///     }
/// }
///
/// Registry::<Redundant<Lamp>>::new().with::<Each<FilesScore>>();
/// ```
#[derive(Debug)]
pub struct Redundant<T> {
    members: Members<T>,
}

impl<T: Topology> Redundant<T> {
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
}

impl<T: Topology> Topology for Redundant<T> {
    fn name(&self) -> &str {
        &self.members.name
    }

    async fn ensure_ready(&self) -> Result<(), DeviceError> {
        for member in &self.members.all {
            member.ensure_ready().await.map_err(|error| told(member.name(), error))?;
        }
        Ok(())
    }
}

/// A score that is played on each member. It is written as the score itself: the same declaration can be for one device
/// and for a pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Each<S>(pub S);

/// What was found on one member.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found<O> {
    /// Its name.
    pub member: String,
    /// What was found.
    pub found: O,
}

/// A step on one member.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MemberStep<S> {
    /// Its name.
    pub member: String,
    /// The step.
    pub step: S,
}

impl<S: fmt::Display> fmt::Display for MemberStep<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.member, self.step)
    }
}

impl<S: Score> Score for Each<S> {
    const KIND: Kind = S::KIND;

    fn subject(&self) -> Subject {
        self.0.subject()
    }

    fn check(&self) -> Result<(), Invalid> {
        self.0.check()
    }

    fn artifacts(&self) -> Vec<BlobRef> {
        self.0.artifacts()
    }

    fn secrets(&self) -> Vec<&SealedText> {
        self.0.secrets()
    }
}

impl<S: Plan> Plan for Each<S> {
    type Observed = Vec<Found<S::Observed>>;
    type Step = MemberStep<S::Step>;

    fn plan(&self, observed: &Self::Observed) -> Vec<Self::Step> {
        let steps = observed.iter().flat_map(|seen| {
            let steps = self.0.plan(&seen.found).into_iter();
            steps.map(|step| MemberStep { member: seen.member.clone(), step })
        });
        // Nothing is made permanent on one member while another is still being changed.
        let (mut first, last): (Vec<_>, Vec<_>) = steps.partition(|step| !S::after_checks(&step.step));
        first.extend(last);
        first
    }

    fn after_checks(step: &Self::Step) -> bool {
        S::after_checks(&step.step)
    }

    fn standing(&self, observed: &Self::Observed) -> Standing {
        let standings = observed.iter().map(|seen| self.0.standing(&seen.found));
        standings.into_iter().find(|standing| *standing != Standing::Running).unwrap_or(Standing::Running)
    }
}

impl<S: Interpret<T>, T: Topology> Interpret<Redundant<T>> for Each<S> {
    async fn observe(&self, on: &Redundant<T>) -> Result<Self::Observed, DeviceError> {
        let mut all = Vec::new();
        for member in on.members() {
            let found = self.0.observe(member).await.map_err(|error| told(member.name(), error))?;
            all.push(Found { member: member.name().to_owned(), found });
        }
        Ok(all)
    }

    async fn apply(
        &self,
        on: &Redundant<T>,
        step: &Self::Step,
        trial: &Trial,
        stage: &dyn Stage,
    ) -> Result<(), DeviceError> {
        let member = on.members.get(&step.member)?;
        let applied = self.0.apply(member, &step.step, &part(trial, &step.member), stage).await;
        applied.map_err(|error| told(&step.member, error))
    }

    async fn begin(&self, on: &Redundant<T>, trial: &Trial, steps: &[Self::Step]) -> Result<(), DeviceError> {
        for member in on.members() {
            let own = steps.iter().filter(|step| step.member == member.name());
            let own: Vec<S::Step> = own.map(|step| step.step.clone()).collect();
            if !own.is_empty() {
                let part = seat(trial, member.name()).await?;
                self.0.begin(member, &part, &own).await.map_err(|error| told(member.name(), error))?;
            }
        }
        Ok(())
    }

    async fn confirm(&self, on: &Redundant<T>, trial: &Trial) -> Result<(), DeviceError> {
        for member in on.members.begun(trial).await? {
            let part = part(trial, member.name());
            self.0.confirm(member, &part).await.map_err(|error| told(member.name(), error))?;
        }
        Ok(())
    }

    async fn revert(&self, on: &Redundant<T>, trial: &Trial) -> Result<(), DeviceError> {
        let mut failed: Option<(&str, DeviceError)> = None;
        let (mut back, mut not_back) = (Vec::new(), Vec::new());
        for member in on.members.begun(trial).await? {
            // One that cannot be undone keeps none of the others from it.
            let Err(error) = self.0.revert(member, &part(trial, member.name())).await else {
                back.push(member.name());
                continue;
            };
            not_back.push(member.name());
            // One that was overtaken is done with. One that is still to be undone keeps the trial open.
            if failed.as_ref().is_none_or(|(_, first)| first.is_overtaken() && !error.is_overtaken()) {
                failed = Some((member.name(), error));
            }
        }
        let Some((member, error)) = failed else { return Ok(()) };
        let mut others = Vec::new();
        not_back.retain(|other| *other != member);
        for (names, how) in [(back, "as before"), (not_back, "not as before")] {
            if !names.is_empty() {
                others.push(format!("{}: {how}", names.join(", ")));
            }
        }
        let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join("; ")) };
        Err(told(&format!("{member}{others}"), error))
    }

    async fn resume(&self, on: &Redundant<T>, trial: &Trial) -> Result<Resume, DeviceError> {
        let begun = on.members.begun(trial).await?;
        for member in &begun {
            let part = part(trial, member.name());
            let resume = self.0.resume(*member, &part).await.map_err(|error| told(member.name(), error))?;
            if resume == Resume::Revert {
                return Ok(Resume::Revert);
            }
        }
        Ok(if begun.is_empty() { Resume::Revert } else { Resume::Judge })
    }

    async fn taken_back(&self, on: &Redundant<T>, trial: &Trial) -> Option<DeviceError> {
        for member in on.members.begun(trial).await.ok()? {
            if let Some(error) = self.0.taken_back(member, &part(trial, member.name())).await {
                return Some(told(member.name(), error));
            }
        }
        None
    }
}
