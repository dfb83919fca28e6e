//! `nixos/1`: the system that a NixOS machine runs, delivered as a signed closure and activated on probation.
//!
//! The score names the system by store path and its closure by the hash of a [`Manifest`]. What it takes is planned here,
//! purely; what does it is a topology with the capability [`NixosSystem`].

mod interpret;
mod manifest;
mod plan;
mod signature;
mod store_path;

use protocols::{BlobRef, Kind, Subject};
use serde::{Deserialize, Serialize};

use crate::{Invalid, Score};

pub use interpret::NixosSystem;
pub use manifest::{
    BadManifest, MANIFEST_BYTES_MAX, Manifest, NAR_BYTES_MAX, PATHS_MAX, PathInfo, SCHEMA, SIGNATURES_MAX,
};
pub use plan::{BootOnly, NixosStep, Observed};
pub use signature::{BadSignatureText, NarHash, TrustedKey, fingerprint, sign};
pub use store_path::{BadStorePath, STORE_DIR, StorePath};

/// What a NixOS machine shall run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NixosScore {
    /// The system: the store path that `nixos-rebuild build` makes.
    pub toplevel: StorePath,
    /// The manifest of its closure.
    pub manifest: BlobRef,
    /// Whether to switch the running system, or only the next boot.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: Mode,
    /// Whether units that failed during the switch (its exit status 4) are left to the checks of the policy.
    /// Otherwise they undo the change.
    #[serde(default, skip_serializing_if = "is_default")]
    pub accept_failed_units: bool,
    /// Seconds after the start of the switch when the machine goes back by itself, even if the agent is gone by then,
    /// unless the change was confirmed. Longer than switch and checks together; 10 to 86400.
    #[serde(default = "revert_seconds", skip_serializing_if = "is_default_revert")]
    pub revert_seconds: u32,
}

/// When a new system comes into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Now, if the running system can be switched to it; else at the next boot.
    #[default]
    Switch,
    /// At the next boot.
    Boot,
}

impl Score for NixosScore {
    const KIND: Kind = Kind::from_static("nixos/1");

    fn subject(&self) -> Subject {
        "nixos".parse().expect("five letters are a subject")
    }

    fn check(&self) -> Result<(), Invalid> {
        if self.toplevel.name().ends_with(".drv") {
            return Err(Invalid::at("toplevel", "is a derivation; build it and name what comes out"));
        }
        if self.manifest.size == 0 || self.manifest.size > MANIFEST_BYTES_MAX {
            let why = format!("has {} bytes and may have 1 to {MANIFEST_BYTES_MAX}", self.manifest.size);
            return Err(Invalid::at("manifest.size", why));
        }
        if !(REVERT_SECONDS_MIN..=REVERT_SECONDS_MAX).contains(&self.revert_seconds) {
            let why = format!("is {} and may be {REVERT_SECONDS_MIN} to {REVERT_SECONDS_MAX}", self.revert_seconds);
            return Err(Invalid::at("revert_seconds", why));
        }
        Ok(())
    }

    fn artifacts(&self) -> Vec<BlobRef> {
        vec![self.manifest]
    }
}

impl NixosScore {
    /// A score with the default behaviour.
    pub fn new(toplevel: StorePath, manifest: BlobRef) -> Self {
        let revert_seconds = revert_seconds();
        Self { toplevel, manifest, mode: Mode::Switch, accept_failed_units: false, revert_seconds }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

const fn revert_seconds() -> u32 {
    900
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_default_revert(seconds: &u32) -> bool {
    *seconds == revert_seconds()
}

/// The soonest that a machine may go back by itself, in seconds after the start of the switch.
pub const REVERT_SECONDS_MIN: u32 = 10;
/// The latest that a machine may go back by itself, in seconds after the start of the switch.
pub const REVERT_SECONDS_MAX: u32 = 86_400;

#[cfg(test)]
mod tests;
