//! PostgreSQL itself, as packaged: what a copy holds, who acknowledges, who may follow, and what a fence leaves.

mod bed;
mod fence;
mod follow;
mod gate;
mod resume;
mod roles;
mod room;
mod route;
mod sync;
mod tls;

/// What the tests need beside root.
const TOOLS: &[&str] = &["getent", "psql"];
