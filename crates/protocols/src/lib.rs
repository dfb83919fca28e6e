//! What is said in a fleet, and where it is kept: identities, signatures, the ledger and its state, messages.
//!
//! Decisions here are pure: they take the time as an argument. Only the stores touch a disk; nothing opens a connection.

pub mod addr;
pub mod alpn;
pub mod blob;
pub mod client;
pub mod control;
pub mod enroll;
pub mod entry;
pub mod export;
pub mod facts;
pub mod fork;
pub mod head_claim;
pub mod heartbeat;
pub mod ids;
pub mod incoming;
pub mod key;
pub mod lease_word;
pub mod mac;
pub mod node;
pub mod outcome;
pub mod policy;
pub mod record;
pub mod relay_token;
pub mod seal;
pub mod secret;
pub mod selector;
pub mod standing;
pub mod state;
pub mod store;
pub mod ticket;

pub use addr::PeerAddr;
pub use blob::BlobRef;
pub use client::Client;
pub use entry::{Body, Entry, Head, SignedEntry, VerifiedEntry};
pub use fork::ForkEvidence;
pub use head_claim::HeadClaim;
pub use ids::{BlobHash, DeclarationName, Digest, EntryHash, FleetId, Kind, Millis, Name, NodeId, Subject};
pub use key::{SecretKey, Signature};
pub use mac::Mac;
pub use outcome::{Outcome, Verdict};
pub use policy::{Check, Policy};
pub use record::{SignedRecord, VerifiedRecord};
pub use secret::{SealedText, SecretValue};
pub use selector::{Labels, Selector};
pub use state::{FleetState, Refusal};
pub use ticket::Ticket;
