//! Workloads with one writer, with real processes: whatever ends or hangs, never two write, and soon one does again.

mod halves;
mod hold;
mod liar;
mod moves;
mod orders;
mod partitions;
mod ports;
mod postgres;
mod removed;
mod secrets;
mod stage;
mod withdrawn;
