//! What topologies that are made of others have in common: their members by name, and the part of a trial that is a
//! member's own.

use std::fs;
use std::io;
use std::path::Path;

use crate::{DeviceError, Topology, Trial, durable};

/// Why topologies cannot be put together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembersError {
    /// Nothing to play on.
    #[error("`{0}` has no members")]
    None(String),
    /// More than is sensible.
    #[error("`{name}` has {count} members, and may have {MEMBERS_MAX}")]
    TooMany {
        /// The whole.
        name: String,
        /// Its members.
        count: usize,
    },
    /// Trials are kept by the members' names.
    #[error("`{name}` has two members called `{member}`")]
    Twice {
        /// The whole.
        name: String,
        /// The name.
        member: String,
    },
}

/// The members of a topology, in order, each with a name of its own.
#[derive(Debug)]
pub(super) struct Members<T> {
    pub(super) name: String,
    pub(super) all: Vec<T>,
}

impl<T: Topology> Members<T> {
    pub(super) fn new(name: impl Into<String>, all: Vec<T>) -> Result<Self, MembersError> {
        let name = name.into();
        if all.is_empty() {
            return Err(MembersError::None(name));
        }
        if all.len() > MEMBERS_MAX {
            return Err(MembersError::TooMany { name, count: all.len() });
        }
        for (at, member) in all.iter().enumerate() {
            if all[..at].iter().any(|other| other.name() == member.name()) {
                return Err(MembersError::Twice { name, member: member.name().to_owned() });
            }
        }
        Ok(Self { name, all })
    }

    pub(super) fn get(&self, member: &str) -> Result<&T, DeviceError> {
        let found = self.all.iter().find(|other| other.name() == member);
        found.ok_or_else(|| DeviceError::permanent(format!("find `{member}`, which is no member of `{}`", self.name)))
    }

    /// The members that a trial was begun on.
    pub(super) async fn begun(&self, trial: &Trial) -> Result<Vec<&T>, DeviceError> {
        let folder = trial.dir.clone();
        let names = on_disk("read the trial", move || seats(&folder)).await?;
        names.iter().map(|name| self.get(name)).collect()
    }
}

/// A member's own part of a trial. It exists once [`seat`] was asked for it.
pub(super) fn part(trial: &Trial, member: &str) -> Trial {
    // Names are for people, and may hold what a file's name may not.
    let dir = trial.dir.join(data_encoding::HEXLOWER.encode(member.as_bytes()));
    Trial { dir, ..trial.clone() }
}

/// Makes a member's own part of a trial, durably.
pub(super) async fn seat(trial: &Trial, member: &str) -> Result<Trial, DeviceError> {
    let part = part(trial, member);
    let dir = part.dir.clone();
    on_disk("begin the trial", move || durable::make_folder(&dir)).await?;
    Ok(part)
}

/// Says which member it was.
pub(super) fn told(member: &str, error: DeviceError) -> DeviceError {
    let doing = format!("{member}: {error}");
    let told = match &error {
        error if error.is_overtaken() => DeviceError::overtaken(doing),
        error if error.is_transient() => DeviceError::transient(doing),
        _ => DeviceError::permanent(doing),
    };
    match error.into_source() {
        Some(source) => told.because(source),
        None => told,
    }
}

fn seats(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let bytes = data_encoding::HEXLOWER.decode(name.as_encoded_bytes()).ok();
        let name = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        names.push(name.ok_or_else(|| io::Error::other("something else is in the folder of the trial"))?);
    }
    names.sort_unstable();
    Ok(names)
}

async fn on_disk<R: Send + 'static>(
    doing: &'static str,
    act: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> Result<R, DeviceError> {
    match tokio::task::spawn_blocking(act).await {
        Ok(result) => result.map_err(|error| DeviceError::io(doing, error)),
        Err(error) => Err(DeviceError::transient(doing).because(error)),
    }
}

/// The most members that a topology is made of.
pub const MEMBERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_error_means_is_the_same_when_it_is_told_whose_it_is() {
        let kinds = |error: &DeviceError| (error.is_transient(), error.is_overtaken());
        for error in [DeviceError::permanent("x"), DeviceError::transient("x"), DeviceError::overtaken("x")] {
            let before = kinds(&error);
            let told = told("left", error.because("y"));
            assert_eq!((kinds(&told), crate::chain(&told)), (before, "left: x: y".to_owned()));
        }
    }
}
