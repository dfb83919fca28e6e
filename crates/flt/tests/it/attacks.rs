//! The attacks that `docs/security.md` lists, where no other module has them already.

mod admins;
mod agents;
mod coordinators;
mod local;
mod rude;
