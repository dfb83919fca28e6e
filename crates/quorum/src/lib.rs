//! Who orders leases: a coordinator alone, with a log on its disk.
//!
//! What a lease request means is decided by [`failover::LeaseTable`]; here it is put into an order that survives a crash
//! before anybody is told.

mod alone;
mod boottime;
mod views;

pub use alone::Alone;
pub use views::{Ask, Views};

use std::pin::Pin;

/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
