//! Ports on loopback that no other test has.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// A port that is free for TCP and UDP on all of this machine's addresses, and that no other test process gets as long
/// as this one lives.
///
/// It lies below the range from which the kernel takes ports for outgoing connections. Prefer port 0 where what
/// is started can say which port it got.
#[track_caller]
pub fn free_port() -> u16 {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = folder();
    if let Err(error) = std::fs::create_dir_all(&folder) {
        panic!("cannot create {}: {error}", folder.display());
    }
    // Processes begin at different places, so that they seldom ask for the same lock.
    let begin = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or(0);
    for step in 0..COUNT {
        let port = FIRST + (begin + step * STRIDE) % COUNT;
        if held.contains_key(&port) {
            continue;
        }
        let Ok(lock) = File::options().create(true).append(true).open(folder.join(port.to_string())) else { continue };
        if lock.try_lock().is_ok() && is_free(port) {
            held.insert(port, lock);
            return port;
        }
    }
    panic!("no port from {FIRST} to {} is free", FIRST + COUNT - 1);
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() && UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("flotilla-testkit-ports-{}", rustix::process::geteuid().as_raw()))
}

/// The locks of the ports that were given out; a lock goes when the process does.
static HELD: Mutex<BTreeMap<u16, File>> = Mutex::new(BTreeMap::new());
const FIRST: u16 = 20_000;
const COUNT: u16 = 4_093;
/// Neighbouring process numbers shall not walk in each other's steps; COUNT is a prime, so every port is visited.
const STRIDE: u16 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_each_port_once() {
        let mut ports: Vec<u16> = (0..50).map(|_| free_port()).collect();
        for port in &ports {
            assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
        }
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 50);
    }
}
