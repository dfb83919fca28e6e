//! How a topology gets content that travels by hash.

use std::error::Error;
use std::path::PathBuf;

use protocols::BlobRef;

use crate::{BoxFuture, DeviceError};

/// Brings blobs to the node.
pub trait Artifacts: Send + Sync + 'static {
    /// A local file with exactly this content, verified against its hash. It is read only and stays until the play that
    /// asked for it has ended.
    fn fetch<'a>(&'a self, blob: &'a BlobRef) -> BoxFuture<'a, Result<PathBuf, ArtifactError>>;
}

/// Why a blob could not be brought.
#[derive(Debug, thiserror::Error)]
#[error("fetch the blob {} of {} bytes", blob.hash.short(), blob.size)]
pub struct ArtifactError {
    /// Which blob.
    pub blob: BlobRef,
    /// Whether it may be had later: nobody who has it could be reached, or the disk is full.
    pub transient: bool,
    /// Why.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

impl From<ArtifactError> for DeviceError {
    fn from(error: ArtifactError) -> Self {
        let made = if error.transient { Self::transient } else { Self::permanent };
        made(error.to_string()).because(error.source)
    }
}
