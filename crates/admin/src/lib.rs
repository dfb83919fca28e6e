//! The admin's side of a fleet: declarations are read, compared, signed, submitted and followed.
//!
//! Nothing here opens a connection: a [`Session`](session::Session) is given a client for a coordinator. What decides is
//! pure and takes the time as an argument; only [`workspace`] and the file reader touch a disk.

pub mod author;
pub mod changes;
pub mod fleetfile;
pub mod follow;
pub mod found;
pub mod race;
pub mod recovery;
pub mod request;
pub mod rotate;
pub mod secrets;
pub mod session;
pub mod view;
pub mod void;
pub mod workspace;

mod armor;
mod nearest;
#[cfg(test)]
mod testing;

pub use armor::{BadText, TEXT_CHARS_MAX};
