//! Simulated Brocade and Ruckus switches behind a real SSH server, stateful, and as nasty as real ones.
//!
//! A [`Sim`] keeps what it is set to, prints its own running configuration, refuses what the real one refuses, and is as
//! [`Nasty`] as it is told to be. Nothing of it knows Flotilla: whatever speaks SSH may be tried on it.
//!
//! ```no_run
//! # async fn example() -> Result<(), switchsim::StartError> {
//! use switchsim::{Nasty, Profile, Sim};
//!
//! let sim = Sim::start(Profile::fastiron_8030().nasty(Nasty { split_bytes: Some(1), ..Nasty::default() })).await?;
//! println!("{} {}", sim.addr(), sim.fingerprint());
//! sim.drop_after(3);
//! # Ok(())
//! # }
//! ```
//!
//! The texts of errors are those that are documented; where none is known, the closest of the same family stands in
//! (why a LAG cannot be formed, why a port cannot be in a VLAN, `show port-channel`, `show interface status` and
//! `show lldp neighbors` of Network OS, `show interfaces lag` of FastIron). Of NETCONF the names of requests, elements and
//! namespaces are those that are documented; values of `actual-line-speed` and `aggregator-mode` are likely ones. A client must not depend on those: it reads the configuration back.

mod algorithms;
mod device;
mod fastiron;
mod model;
mod netconf;
mod nos;
mod ports;
mod profile;
mod server;
mod shell;
mod sim;
mod terminal;
mod words;

pub use ports::PortId;
pub use profile::{Algorithms, Auth, EnableDialog, NASTY_BANNER, Nasty, NastyNetconf, Os, Profile};
pub use sim::{Sim, StartError};
