//! Forgetting packed archives that no publication has used for long: they can be packed again.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How long an archive is kept after the last publication that used it: long enough for rollbacks and for machines that
/// alternate between a few systems.
pub(super) const KEPT: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// Removes what was last used before `now` less `kept`, also archives that were never finished; says how many bytes that
/// freed. What cannot be looked at stays.
///
/// # Errors
/// If the folder cannot be read.
pub(super) fn prune(cache: &Path, now: SystemTime, kept: Duration) -> io::Result<u64> {
    let mut freed = 0;
    for folder in fs::read_dir(cache)? {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(folder.path())? {
            let file = file?;
            let Ok(meta) = file.metadata() else { continue };
            // A clock that was set back makes files of the future: those are not old.
            let unused = meta.modified().ok().and_then(|used| now.duration_since(used).ok());
            if meta.is_file() && unused.is_some_and(|age| age > kept) && fs::remove_file(file.path()).is_ok() {
                freed += meta.len();
            }
        }
    }
    Ok(freed)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn only_what_was_long_unused_goes() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("1a");
        fs::create_dir(&folder).unwrap();
        let now = SystemTime::now();
        let day = Duration::from_secs(24 * 60 * 60);
        for (name, used) in [
            ("old", now - 61 * day),
            ("half.1.new", now - 90 * day),
            ("kept", now - 59 * day),
            ("future", now + 900 * day),
        ] {
            fs::write(folder.join(name), [0; 10]).unwrap();
            File::options().write(true).open(folder.join(name)).unwrap().set_modified(used).unwrap();
        }
        fs::write(cache.path().join("stray"), "not an archive").unwrap();
        assert_eq!(prune(cache.path(), now, KEPT).unwrap(), 20);
        let mut left: Vec<_> = fs::read_dir(&folder).unwrap().map(|f| f.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["future", "kept"]);
        assert!(cache.path().join("stray").exists());
        assert!(prune(&cache.path().join("missing"), now, KEPT).is_err());
    }
}
