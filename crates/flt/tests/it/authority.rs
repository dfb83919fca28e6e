//! Who may do what, and how that is given, handed over, lost and won back: real processes.

mod admins;
mod audit;
mod keys;
pub(crate) mod people;
mod pipelines;
mod recovery;
mod thieves;
