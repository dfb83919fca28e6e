//! The closure manifest: every path of a system's closure, what its signatures cover, and the blob that carries it.
//!
//! A score names its manifest by hash. A manifest that is not exactly the closure of its toplevel, path for path, is
//! refused, so nothing can ride along. The format is described in `docs/nixos-manifest.md`.

use std::collections::HashMap;

use protocols::BlobRef;
use serde::{Deserialize, Serialize};

use super::signature::{self, NarHash, TrustedKey};
use super::store_path::StorePath;

/// The largest manifest that is read, in bytes.
pub const MANIFEST_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The most paths of one closure.
pub const PATHS_MAX: usize = 100_000;
/// The most signatures of one path.
pub const SIGNATURES_MAX: usize = 16;
/// The largest archive of one path, and of one closure together, in bytes (16 TiB).
pub const NAR_BYTES_MAX: u64 = 1 << 44;

/// A verified manifest: exactly the closure of [`toplevel`](Self::toplevel).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Manifest {
    schema: &'static str,
    toplevel: StorePath,
    paths: Vec<PathInfo>,
}

/// One path of a closure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathInfo {
    /// The path.
    pub path: StorePath,
    /// SHA-256 of its archive.
    pub nar_hash: NarHash,
    /// Size of its archive in bytes.
    pub nar_size: u64,
    /// The paths it refers to, sorted; itself among them if it does.
    pub references: Vec<StorePath>,
    /// What built it, for people; nothing is decided by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deriver: Option<StorePath>,
    /// Its content address as Nix writes it, if the path is made from its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Signatures over its fingerprint, `name:base64`. At most [`SIGNATURES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<String>,
    /// Its archive, compressed with zstd.
    pub nar_zst: BlobRef,
}

/// Why a manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadManifest {
    /// More bytes than any manifest.
    #[error("the manifest has {0} bytes and may have {MANIFEST_BYTES_MAX}")]
    TooLarge(u64),
    /// Not JSON, or not of the shape.
    #[error("the manifest cannot be read: {0}")]
    Syntax(String),
    /// Another format or version.
    #[error("the manifest is of schema `{0}`; this version reads `{SCHEMA}`")]
    Schema(String),
    /// Made for another system.
    #[error("the manifest is of {found}, and the score names {wanted}")]
    OtherToplevel {
        /// What the score names.
        wanted: StorePath,
        /// What the manifest is of.
        found: StorePath,
    },
    /// No path, or more than the bound.
    #[error("the manifest names {0} paths and may name 1 to {PATHS_MAX}")]
    PathCount(usize),
    /// Two entries of one path, or entries out of order.
    #[error("the manifest's paths are not in order and each once, at {0}")]
    Order(StorePath),
    /// A bound or a form of one path's fields.
    #[error("the manifest's {path}: {why}")]
    Field {
        /// The path.
        path: StorePath,
        /// What is wrong.
        why: String,
    },
    /// A reference that is not in the manifest.
    #[error("the manifest is not a whole closure: {path} refers to {missing}, which is not in it")]
    Incomplete {
        /// The path that refers.
        path: StorePath,
        /// What is missing.
        missing: StorePath,
    },
    /// A path that the toplevel does not need.
    #[error("the manifest names {0}, which is not part of the system's closure")]
    Foreign(StorePath),
    /// The archives together are larger than anything.
    #[error("the archives of the closure are together larger than {NAR_BYTES_MAX} bytes")]
    TotalSize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    schema: String,
    toplevel: StorePath,
    paths: Vec<PathInfo>,
}

impl Manifest {
    /// A manifest of these paths, in any order.
    ///
    /// # Errors
    /// If they are not exactly the closure of `toplevel`, or a bound is passed.
    pub fn new(toplevel: StorePath, mut paths: Vec<PathInfo>) -> Result<Self, BadManifest> {
        paths.sort_by(|a, b| a.path.cmp(&b.path));
        let manifest = Self { schema: SCHEMA, toplevel, paths };
        manifest.check()?;
        Ok(manifest)
    }

    /// Reads a manifest and checks that it is exactly the closure of `toplevel`.
    ///
    /// # Errors
    /// As [`BadManifest`] says.
    pub fn parse(bytes: &[u8], toplevel: &StorePath) -> Result<Self, BadManifest> {
        let size = bytes.len() as u64;
        if size > MANIFEST_BYTES_MAX {
            return Err(BadManifest::TooLarge(size));
        }
        let wire: Wire = serde_json::from_slice(bytes).map_err(|error| BadManifest::Syntax(error.to_string()))?;
        if wire.schema != SCHEMA {
            return Err(BadManifest::Schema(wire.schema.chars().take(80).collect()));
        }
        if wire.toplevel != *toplevel {
            return Err(BadManifest::OtherToplevel { wanted: toplevel.clone(), found: wire.toplevel });
        }
        let manifest = Self { schema: SCHEMA, toplevel: wire.toplevel, paths: wire.paths };
        manifest.check()?;
        Ok(manifest)
    }

    /// The bytes to publish.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers and lists into memory: nothing in it can fail to be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The system.
    pub fn toplevel(&self) -> &StorePath {
        &self.toplevel
    }

    /// Its closure, sorted by path.
    pub fn paths(&self) -> &[PathInfo] {
        &self.paths
    }

    /// Size of all archives together, unpacked, in bytes.
    pub fn nar_bytes(&self) -> u64 {
        self.paths.iter().map(|info| info.nar_size).sum()
    }

    fn check(&self) -> Result<(), BadManifest> {
        if self.paths.is_empty() || self.paths.len() > PATHS_MAX {
            return Err(BadManifest::PathCount(self.paths.len()));
        }
        if let Some(pair) = self.paths.windows(2).find(|pair| pair[0].path >= pair[1].path) {
            return Err(BadManifest::Order(pair[1].path.clone()));
        }
        let mut total = 0u64;
        for info in &self.paths {
            info.check().map_err(|why| BadManifest::Field { path: info.path.clone(), why })?;
            total = total.saturating_add(info.nar_size);
        }
        if total > NAR_BYTES_MAX {
            return Err(BadManifest::TotalSize);
        }
        self.check_closure()
    }

    fn check_closure(&self) -> Result<(), BadManifest> {
        let index: HashMap<&StorePath, usize> =
            self.paths.iter().enumerate().map(|(n, info)| (&info.path, n)).collect();
        for info in &self.paths {
            if let Some(missing) = info.references.iter().find(|reference| !index.contains_key(reference)) {
                return Err(BadManifest::Incomplete { path: info.path.clone(), missing: missing.clone() });
            }
        }
        let Some(&top) = index.get(&self.toplevel) else {
            return Err(BadManifest::Incomplete { path: self.toplevel.clone(), missing: self.toplevel.clone() });
        };
        let mut reached = vec![false; self.paths.len()];
        let mut open = vec![top];
        reached[top] = true;
        while let Some(n) = open.pop() {
            for next in self.paths[n].references.iter().filter_map(|reference| index.get(reference)) {
                if !reached[*next] {
                    reached[*next] = true;
                    open.push(*next);
                }
            }
        }
        match reached.iter().position(|reached| !reached) {
            Some(n) => Err(BadManifest::Foreign(self.paths[n].path.clone())),
            None => Ok(()),
        }
    }
}

impl PathInfo {
    /// The text that its signatures are over.
    pub fn fingerprint(&self) -> String {
        signature::fingerprint(&self.path, &self.nar_hash, self.nar_size, &self.references)
    }

    /// Whether one of `keys` signed it.
    pub fn is_signed_by(&self, keys: &[TrustedKey]) -> bool {
        let fingerprint = self.fingerprint();
        self.signatures.iter().any(|signature| keys.iter().any(|key| key.signed(&fingerprint, signature)))
    }

    /// The path's entry in a binary cache, as Nix reads it; the archive lies at `url`, compressed with zstd.
    pub fn narinfo(&self, url: &str) -> String {
        let bases = |paths: &[StorePath]| paths.iter().map(StorePath::base).collect::<Vec<_>>().join(" ");
        let mut text = format!(
            "StorePath: {}\nURL: {url}\nCompression: zstd\nFileSize: {}\nNarHash: {}\nNarSize: {}\nReferences: {}\n",
            self.path,
            self.nar_zst.size,
            self.nar_hash,
            self.nar_size,
            bases(&self.references)
        );
        if let Some(deriver) = &self.deriver {
            text += &format!("Deriver: {}\n", deriver.base());
        }
        for signature in &self.signatures {
            text += &format!("Sig: {signature}\n");
        }
        if let Some(ca) = &self.ca {
            text += &format!("CA: {ca}\n");
        }
        text
    }

    fn check(&self) -> Result<(), String> {
        if self.nar_size == 0 || self.nar_size > NAR_BYTES_MAX {
            return Err(format!("an archive of {} bytes; 1 to {NAR_BYTES_MAX} are possible", self.nar_size));
        }
        // What zstd makes of bytes that cannot be compressed is larger by less than this.
        if self.nar_zst.size == 0 || self.nar_zst.size > self.nar_size.saturating_add(self.nar_size / 64 + 4096) {
            return Err(format!("{} compressed bytes for an archive of {}", self.nar_zst.size, self.nar_size));
        }
        if self.references.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err("its references are not in order and each once".into());
        }
        if self.signatures.len() > SIGNATURES_MAX {
            return Err(format!("{} signatures, and at most {SIGNATURES_MAX} are allowed", self.signatures.len()));
        }
        if let Some(bad) = self.signatures.iter().find(|text| !signature::is_signature_text(text)) {
            return Err(format!(
                "`{}` is not a signature",
                bad.escape_debug().to_string().chars().take(80).collect::<String>()
            ));
        }
        let odd = |ca: &String| ca.is_empty() || ca.len() > 256 || !ca.bytes().all(|b| b.is_ascii_graphic());
        if self.ca.as_ref().is_some_and(odd) {
            return Err("its content address is not 1 to 256 printable characters".into());
        }
        Ok(())
    }
}

/// The schema that is written and read.
pub const SCHEMA: &str = "flt.nixos-manifest/1";

#[cfg(test)]
mod tests;
