//! What a fleet file names on this machine: files, and systems in the local Nix store.

use std::path::{Path, PathBuf};

use admin::fleetfile::{Closure, Content, LocalFiles, Resolve, ResolveError, Source, Toplevel, Upload};
use admin::secrets::{Sealer, SecretUse, Wanted};
use devices::nixos::{Nix, publish};
use protocols::{SealedText, SecretKey};
use scores::nixos::StorePath;

use crate::output::Progress;

/// Name of the folder below the admin's data where packed store paths are kept.
const NAR_CACHE: &str = "nars";

/// Resolves against this machine.
pub(super) struct ThisMachine<'a> {
    files: LocalFiles,
    key: SecretKey,
    cache: PathBuf,
    sealer: Sealer<'a>,
    progress: &'a Progress,
}

impl<'a> ThisMachine<'a> {
    /// Relative paths start at `base`; closures are signed with `key` and packed into a folder below `data`; secrets come sealed.
    pub(super) fn new(base: &Path, key: SecretKey, data: &Path, sealer: Sealer<'a>, progress: &'a Progress) -> Self {
        Self { files: LocalFiles::new(base), key, cache: data.join(NAR_CACHE), sealer, progress }
    }
}

impl Resolve for ThisMachine<'_> {
    fn file(&mut self, path: &str, inline: bool) -> Result<Content, ResolveError> {
        self.files.file(path, inline)
    }

    fn secret(&mut self, wanted: Wanted<'_>) -> Result<(SealedText, SecretUse), ResolveError> {
        Ok(self.sealer.seal(wanted)?)
    }

    fn closure(&mut self, toplevel: Toplevel<'_>) -> Result<Closure, ResolveError> {
        let text = match toplevel {
            Toplevel::Path(path) => path.to_owned(),
            Toplevel::Link(link) => {
                let path = self.files.path(link);
                let found = std::fs::canonicalize(&path).map_err(|error| ResolveError {
                    what: format!("cannot follow {}: {error}", path.display()),
                    hint: Some("build the system first: nix build or nixos-rebuild build".into()),
                })?;
                found.display().to_string()
            }
        };
        let path: StorePath =
            text.parse().map_err(|error: scores::nixos::BadStorePath| ResolveError::new(error.to_string()))?;
        let progress = self.progress;
        let nix = Nix::default();
        let published = publish(&nix, &path, &self.key, &self.cache, |at| {
            progress.update(format!("Packing {}: {} of {} store paths", path.name(), at.done, at.of));
        });
        // The reader of fleet files is not asynchronous; this thread is one of the runtime's that may block.
        let handle = tokio::runtime::Handle::current();
        let published = tokio::task::block_in_place(|| handle.block_on(published)).map_err(|error| ResolveError {
            what: format!("cannot publish {path}: {}", scores::topology::chain(&error)),
            hint: None,
        })?;
        let manifest = Upload { blob: published.manifest_ref, source: Source::Bytes(published.manifest.into()) };
        let nars = published.nars.into_iter().map(|(file, blob)| Upload { blob, source: Source::File(file) });
        Ok(Closure {
            toplevel: text,
            manifest: published.manifest_ref,
            uploads: nars.chain(std::iter::once(manifest)).collect(),
        })
    }
}
