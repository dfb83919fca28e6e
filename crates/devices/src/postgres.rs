//! PostgreSQL as a workload with one writer: an instance on this node, what it acknowledges by, and how clients find it.

mod clock;
mod config;
mod instance;
mod processes;
mod route;
mod scram;
mod setup;
mod sql;
mod timeline;
mod tls;
mod tools;
mod workload;

pub use instance::{Acks, Instance};
pub use route::{Route, RouteError};
pub use setup::{Account, Layout, Setup};
pub use timeline::{BadNext, History, Lsn, NotWritten, Place, Timeline};
pub use tls::make_authority;
pub use workload::{OpenPostgres, Postgres};
