//! What is played on one member of several: chosen once, and the trial stays with it.

use super::members::{Members, part, seat, told};
use crate::{DeviceError, Interpret, Resume, Stage, Topology, Trial};

/// The life of a change on the member that was chosen for it.
pub(super) struct One<'a, S, T> {
    pub(super) score: &'a S,
    pub(super) members: &'a Members<T>,
    /// Whether the choice can change between two looks.
    pub(super) moves: bool,
}

impl<'a, S: Interpret<T>, T: Topology> One<'a, S, T> {
    pub(super) async fn observe(&self, member: &T) -> Result<S::Observed, DeviceError> {
        self.score.observe(member).await.map_err(|error| told(member.name(), error))
    }

    pub(super) async fn begin(&self, member: &T, trial: &Trial, steps: &[S::Step]) -> Result<(), DeviceError> {
        if self.moves && self.score.plan(&self.observe(member).await?) != steps {
            let doing = format!("{}: begin: it is ready only now, and is not as the other one was", member.name());
            return Err(DeviceError::transient(doing));
        }
        let part = seat(trial, member.name()).await?;
        self.score.begin(member, &part, steps).await.map_err(|error| told(member.name(), error))
    }

    pub(super) async fn apply(&self, step: &S::Step, trial: &Trial, stage: &dyn Stage) -> Result<(), DeviceError> {
        let member = self.begun(trial).await?.ok_or_else(|| DeviceError::permanent("find the trial's member"))?;
        let part = part(trial, member.name());
        self.score.apply(member, step, &part, stage).await.map_err(|error| told(member.name(), error))
    }

    pub(super) async fn confirm(&self, trial: &Trial) -> Result<(), DeviceError> {
        match self.begun(trial).await? {
            Some(member) => {
                let part = part(trial, member.name());
                self.score.confirm(member, &part).await.map_err(|error| told(member.name(), error))
            }
            None => Ok(()),
        }
    }

    pub(super) async fn revert(&self, trial: &Trial) -> Result<(), DeviceError> {
        match self.begun(trial).await? {
            Some(member) => {
                let part = part(trial, member.name());
                self.score.revert(member, &part).await.map_err(|error| told(member.name(), error))
            }
            // Nothing was begun anywhere.
            None => Ok(()),
        }
    }

    pub(super) async fn resume(&self, trial: &Trial) -> Result<Resume, DeviceError> {
        match self.begun(trial).await? {
            Some(member) => {
                let part = part(trial, member.name());
                self.score.resume(member, &part).await.map_err(|error| told(member.name(), error))
            }
            None => Ok(Resume::Revert),
        }
    }

    pub(super) async fn taken_back(&self, trial: &Trial) -> Option<DeviceError> {
        let member = self.begun(trial).await.ok()??;
        let taken = self.score.taken_back(member, &part(trial, member.name())).await?;
        Some(told(member.name(), taken))
    }

    /// The member that the trial is on.
    async fn begun(&self, trial: &Trial) -> Result<Option<&'a T>, DeviceError> {
        Ok(self.members.begun(trial).await?.into_iter().next())
    }
}

/// The seven verbs of `Interpret`, for a topology that chooses one member with `choose`, which may or may not choose another the next time.
macro_rules! on_one {
    ($topology:ident, moves: $moves:literal) => {
        impl<S: Interpret<T>, T: Topology> Interpret<$topology<T>> for S {
            async fn observe(&self, on: &$topology<T>) -> Result<S::Observed, DeviceError> {
                let one = One { score: self, members: &on.members, moves: $moves };
                one.observe(on.choose(&self.subject()).await?).await
            }

            async fn apply(
                &self,
                on: &$topology<T>,
                step: &S::Step,
                trial: &Trial,
                stage: &dyn Stage,
            ) -> Result<(), DeviceError> {
                One { score: self, members: &on.members, moves: $moves }.apply(step, trial, stage).await
            }

            async fn begin(&self, on: &$topology<T>, trial: &Trial, steps: &[S::Step]) -> Result<(), DeviceError> {
                let one = One { score: self, members: &on.members, moves: $moves };
                one.begin(on.choose(&self.subject()).await?, trial, steps).await
            }

            async fn confirm(&self, on: &$topology<T>, trial: &Trial) -> Result<(), DeviceError> {
                One { score: self, members: &on.members, moves: $moves }.confirm(trial).await
            }

            async fn revert(&self, on: &$topology<T>, trial: &Trial) -> Result<(), DeviceError> {
                One { score: self, members: &on.members, moves: $moves }.revert(trial).await
            }

            async fn resume(&self, on: &$topology<T>, trial: &Trial) -> Result<Resume, DeviceError> {
                One { score: self, members: &on.members, moves: $moves }.resume(trial).await
            }

            async fn taken_back(&self, on: &$topology<T>, trial: &Trial) -> Option<DeviceError> {
                One { score: self, members: &on.members, moves: $moves }.taken_back(trial).await
            }
        }
    };
}

pub(super) use on_one;
