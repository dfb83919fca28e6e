//! Tests that make networks and machines of their own: root, one at a time.

mod chaos;
mod founded;
mod machines;
mod network;
