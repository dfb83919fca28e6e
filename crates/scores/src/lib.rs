//! The language of scores, and every score: what can be declared, how it is planned, who can play it.
//!
//! A [`Score`] is data. A [`Plan`] compares it with what was observed, purely. [`Interpret`] is the only place where
//! effects happen, and it exists only for a [`Topology`] with the capability that the score asks for, so what can be
//! played where is decided by the compiler. One driver, [`converge()`], plays them all: it takes the steps inside a
//! [`Trial`], judges the result with checks, and undoes what does not hold, also after a crash at any instant.
//!
//! ```
//! use scores::files::{FileTree, FilesScore};
//! use scores::{OpenSecrets, Registry};
//!
//! fn plays_files<T: FileTree + OpenSecrets>() -> Registry<T> {
//!     Registry::new().with::<FilesScore>()
//! }
//! ```
//!
//! A topology without the capability cannot be given the score:
//!
//! ```compile_fail,E0277
//! use scores::files::FilesScore;
//! use scores::{Registry, Topology};
//!
//! struct Lamp;
//! impl Topology for Lamp {
//!     fn name(&self) -> &str {
//!         "lamp"
//!     }
//! }
//!
//! Registry::<Lamp>::new().with::<FilesScore>();
//! ```
//!
//! Nor can one that has files, but cannot open the secrets that may be among them:
//!
//! ```compile_fail,E0277
//! use scores::Registry;
//! use scores::files::{FileTree, FilesScore};
//!
//! fn plays_files<T: FileTree>() -> Registry<T> {
//!     Registry::new().with::<FilesScore>()
//! }
//! ```

pub mod artifacts;
pub mod assignment;
pub mod bond;
pub mod catalogue;
pub mod converge;
pub mod custody;
pub mod durable;
pub mod ensemble;
pub mod failover;
pub mod files;
pub mod interpret;
pub mod nixos;
pub mod plan;
pub mod postgres;
pub mod registry;
pub mod score;
pub mod secrets;
pub mod service;
pub mod stage;
pub mod switch;
pub mod topology;
pub mod trials;
pub mod workload;

use std::pin::Pin;

pub use artifacts::{ArtifactError, Artifacts};
pub use assignment::{Assignment, PlayReport};
pub use catalogue::{Catalogue, catalogue};
pub use converge::{ConvergeError, Converged, Failure, Gate, Undone, converge};
pub use custody::{Custodian, Custody, Grant};
pub use ensemble::{Ensemble, Player, Recovered};
pub use interpret::{Interpret, Resume, Trial};
pub use plan::{Plan, Standing};
pub use registry::{PlayError, Registry};
pub use score::{Invalid, Score};
pub use secrets::OpenSecrets;
pub use stage::{Cancel, CheckFailed, Checks, Stage};
pub use topology::{DeviceError, Topology, chain};
pub use trials::{TrialError, Trials};

/// A boxed future, for the traits that are used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
