//! No memory dumps of processes that hold keys and open secrets.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// From now on this process leaves no core dump, and what it starts leaves none unless it asks for it.
pub(crate) fn none() {
    let maximum = getrlimit(Resource::Core).maximum;
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum }) {
        tracing::warn!(%error, "cannot turn core dumps off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_would_have_no_room() {
        none();
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
    }
}
