//! The mesh on loopback: connections, requests, relay, artifacts and documents, with bad peers.

mod blobs;
mod docs;
mod docs_live;
mod heads;
mod net;
mod relay;
mod rpc;
mod support;
