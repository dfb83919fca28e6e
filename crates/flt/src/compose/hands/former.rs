//! Keys that a node had before: kept as long as a secret that counts for it is sealed to one of them and not to its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use protocols::{FleetState, NodeId, SecretKey};
use scores::Catalogue;

/// The folder with them, in the data folder.
const FOLDER: &str = "former-keys";
/// How many are kept; the oldest go first.
const KEPT_MAX: usize = 8;

/// The former keys of a node, the newest first. One that cannot be read is left out.
pub(crate) fn keys(data: &Path) -> Vec<SecretKey> {
    let read = |path: PathBuf| match SecretKey::read(&path, || None) {
        Ok(key) => Some(key),
        Err(error) => {
            tracing::warn!(%error, file = %path.display(), "cannot use a former key of this node");
            None
        }
    };
    files(data).unwrap_or_default().into_iter().filter_map(read).collect()
}

/// Keeps a key that is about to be replaced.
///
/// # Errors
/// If it cannot be kept.
pub(crate) fn keep(data: &Path, current: &Path, id: NodeId) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let folder = data.join(FOLDER);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    match fs::hard_link(current, folder.join(id.to_string())) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for old in files(data)?.into_iter().skip(KEPT_MAX) {
        fs::remove_file(old)?;
    }
    fs::File::open(&folder)?.sync_all()
}

/// Removes those that no secret needs any more which counts for this node. A ledger that does not know the key, or
/// another one in its place, says nothing of what the node needs: it is behind, or the key is.
pub(crate) fn let_go(data: &Path, state: &FleetState, node: NodeId, catalogue: &Catalogue) {
    if !state.members().contains_key(&node) {
        return;
    }
    let kept = keys(data);
    if kept.is_empty() {
        return;
    }
    let desired = state.desired(node);
    let secrets = desired.values().flat_map(|d| catalogue.secrets(&d.kind, d.payload.get()).unwrap_or_default());
    let closed: Vec<_> = secrets.map(|secret| secret.recipients()).filter(|tags| !tags.has(node)).collect();
    for key in kept.iter().map(SecretKey::id).filter(|id| !closed.iter().any(|tags| tags.has(*id))) {
        match fs::remove_file(data.join(FOLDER).join(key.to_string())) {
            Ok(()) => tracing::info!(key = %key.short(), "no secret of this node needs its former key any more"),
            Err(error) => tracing::warn!(%error, key = %key.short(), "cannot remove a former key of this node"),
        }
    }
}

fn files(data: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let listed = match fs::read_dir(data.join(FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    for entry in listed {
        let entry = entry?;
        // A key file is not written again; since when it is here is when it was linked.
        let meta = entry.metadata()?;
        found.push((std::os::unix::fs::MetadataExt::ctime(&meta), entry.path()));
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

#[cfg(test)]
mod tests {
    use protocols::key::KeyFormat;

    use super::*;

    #[test]
    fn a_former_key_is_kept_and_not_more_than_some() {
        let dir = tempfile::tempdir().unwrap();
        assert!(keys(dir.path()).is_empty());
        for n in 0..KEPT_MAX + 3 {
            let (key, file) = (SecretKey::generate(), dir.path().join("key"));
            key.write_new(&file, KeyFormat::OpenSsh, "test").unwrap();
            keep(dir.path(), &file, key.id()).unwrap();
            keep(dir.path(), &file, key.id()).unwrap();
            fs::remove_file(&file).unwrap();
            assert_eq!(keys(dir.path()).len(), (n + 1).min(KEPT_MAX));
            assert!(keys(dir.path()).iter().any(|kept| kept.id() == key.id()) || n >= KEPT_MAX);
        }
        fs::write(dir.path().join(FOLDER).join("zz"), "no key").unwrap();
        assert!(!keys(dir.path()).is_empty());
    }
}
