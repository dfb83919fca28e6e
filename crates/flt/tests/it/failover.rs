//! Workloads with one writer, with real processes: whatever ends or hangs, never two write, and soon one does again.

mod hold;
mod moves;
mod orders;
mod partitions;
mod postgres;
mod stage;
