//! The wire: an authenticated peer-to-peer mesh with request/response, artifacts and replicated documents.
//!
//! [`net`] binds one endpoint and says who may connect; [`rpc`] carries typed requests over it;
//! [`relay`] is the embedded relay for peers without a direct path; [`blobs`] moves artifacts by
//! hash; [`docs`] replicates small published values. Nothing here ever contacts a public server.

pub mod blobs;
pub mod docs;
mod greet;
pub mod heads;
pub mod net;
pub mod relay;
pub mod rpc;

pub use blobs::{BlobPlane, FetchReport};
pub use docs::DocPlane;
pub use heads::{Heads, HeadsEvent};
pub use net::{Access, Mesh, MeshBuilder, MeshConfig, RelayRef, Resolve};
pub use rpc::{RpcLimits, Serve};

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
