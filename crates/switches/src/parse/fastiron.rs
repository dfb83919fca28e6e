//! What FastIron prints.

mod brief;
mod config;
mod lag;
mod lldp;
mod tables;
mod version;

pub use brief::interfaces;
pub use config::configuration;
pub use lag::lags;
pub use lldp::neighbours;
pub use tables::{addresses, stack, vlans};
pub use version::version;
