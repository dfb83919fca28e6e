//! Simulated Brocade and Ruckus switches behind a real SSH server, stateful, and as nasty as real ones.
