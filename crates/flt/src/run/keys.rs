//! A daemon's key from its file, also where systemd hands that over.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use protocols::SecretKey;
use protocols::key::KeyError;
use zeroize::Zeroizing;

/// Reads a key that has no passphrase. A credential of this unit is for its user alone, whatever its mode looks like: its
/// group bits are the mask of an access control list.
pub(crate) fn read_key(path: &Path) -> Result<SecretKey, KeyError> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY");
    read(path, folder.as_deref().map(Path::new))
}

fn read(path: &Path, credentials: Option<&Path>) -> Result<SecretKey, KeyError> {
    if credentials.is_none_or(|folder| path.parent() != Some(folder)) {
        return SecretKey::read(path, || None);
    }
    let failed = |source| KeyError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut contents = Zeroizing::new(Vec::with_capacity(KEY_BYTES_MAX));
    file.take(KEY_BYTES_MAX as u64 + 1).read_to_end(&mut contents).map_err(failed)?;
    if contents.len() > KEY_BYTES_MAX {
        return Err(KeyError::TooLarge(path.to_owned()));
    }
    SecretKey::parse(&contents, None)
}

/// The largest key file, in bytes.
const KEY_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_credential_may_have_the_bits_of_a_list() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let key = SecretKey::generate();
        key.write_new(&path, protocols::key::KeyFormat::OpenSsh, "test").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o440)).unwrap();
        assert_eq!(read(&path, Some(dir.path())).unwrap().id(), key.id());
        for elsewhere in [None, Some(Path::new("/run/credentials/other.service"))] {
            assert!(matches!(read(&path, elsewhere), Err(KeyError::Exposed { .. })));
        }
        fs::write(&path, vec![b'a'; KEY_BYTES_MAX + 1]).unwrap();
        assert!(matches!(read(&path, Some(dir.path())), Err(KeyError::TooLarge(_))));
    }
}
