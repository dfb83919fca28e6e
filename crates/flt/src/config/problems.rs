//! What is wrong with a configuration, all of it at once.

use std::fmt;
use std::path::PathBuf;

use super::keys::Role;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    place: Place,
    what: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// A place in a file.
    File { path: PathBuf, line: usize, column: usize },
    /// A variable, a flag, a file as a whole.
    Other(String),
    /// A key, whose origin is to be looked up.
    Key(&'static str),
    /// It cannot be said.
    Anywhere,
}

impl Problem {
    pub(super) fn in_file(path: PathBuf, (line, column): (usize, usize), what: impl Into<String>) -> Self {
        Self { place: Place::File { path, line, column }, what: what.into() }
    }

    pub(super) fn at(place: impl fmt::Display, what: impl Into<String>) -> Self {
        Self { place: Place::Other(place.to_string()), what: what.into() }
    }

    /// With the value of a key.
    pub(super) fn with(key: &'static str, what: impl Into<String>) -> Self {
        Self { place: Place::Key(key), what: what.into() }
    }

    pub(super) fn anywhere(what: impl Into<String>) -> Self {
        Self { place: Place::Anywhere, what: what.into() }
    }

    /// The key whose value it is about, if its origin is not known yet.
    pub(super) const fn key(&self) -> Option<&'static str> {
        match &self.place {
            Place::Key(key) => Some(key),
            _ => None,
        }
    }

    /// The same, with the place of the value.
    pub(super) fn from(self, origin: &super::Origin) -> Self {
        match (&self.place, origin) {
            (Place::Key(key), super::Origin::Default) => Self::at(key, self.what),
            (Place::Key(key), origin) => Self::at(format!("{origin}: {key}"), self.what),
            _ => self,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File { path, line, column } => write!(f, "{}:{line}:{column}: {}", path.display(), self.what),
            Place::Other(place) => write!(f, "{place}: {}", self.what),
            Place::Key(key) => write!(f, "{key}: {}", self.what),
            Place::Anywhere => f.write_str(&self.what),
        }
    }
}

/// A role's configuration that cannot be used.
#[derive(Debug)]
pub(crate) struct ConfigError {
    role: Role,
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(crate) const fn new(role: Role, problems: Vec<Problem>) -> Self {
        Self { role, problems }
    }

    /// What is wrong.
    #[cfg(test)]
    pub(crate) fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "the configuration of the {} has {count} problem{}", self.role, if count == 1 { "" } else { "s" })?;
        for problem in &self.problems {
            write!(f, "\n{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
