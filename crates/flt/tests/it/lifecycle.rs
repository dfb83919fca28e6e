//! The life of a node: renamed, relabelled, set apart, rotated, replaced, removed.

mod nodes;
mod rotation;
