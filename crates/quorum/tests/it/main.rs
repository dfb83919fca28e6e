//! Members of a group in one process, with real logs on disk, and a network that loses, delays and cuts.

mod change;
mod chaos;
mod faults;
mod rig;
