//! Networks of kernel namespaces: hosts on a bridge, hosts behind two NATs, and cables that lose, delay and break.

mod faults;
mod lan;
mod nats;
mod wire;

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};

pub use faults::Port;
pub use lan::Lan;
pub use nats::{Nat, Side, TwoNats};
pub use wire::Quality;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::command::{tool, tool_with};
use crate::{Program, Undo};

/// A network namespace with a name that no other test has: a host, a router, a switch.
///
/// Dropping it kills what runs in it and removes it. Its interfaces are its own, `lo` is up.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    _undo: Undo,
}

impl Namespace {
    /// A new namespace; the label is part of its name, for people who look at `ip netns list`.
    #[track_caller]
    pub fn new(label: &str) -> Self {
        let label: String = label.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(24).collect();
        let us = std::process::id();
        let name = format!("flt-{us}-{}-{label}", COUNT.fetch_add(1, Ordering::Relaxed));
        // Never this process itself, whatever thread of it is in there.
        let undo = Undo::later(&format!(
            "PATH=$PATH:/usr/sbin:/sbin\n\
             for pid in $(ip netns pids {name} 2>/dev/null); do [ $pid = {us} ] || kill -9 $pid; done 2>/dev/null\n\
             ip netns del {name} 2>/dev/null; [ ! -e /run/netns/{name} ]\n"
        ));
        tool("ip", &["netns", "add", &name]);
        let namespace = Self { name, _undo: undo };
        namespace.ip("link set lo up");
        namespace
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` in it with these words, separated by blanks; panics unless that succeeds.
    #[track_caller]
    pub fn ip(&self, words: &str) -> String {
        ip(self.name(), words)
    }

    /// Runs `tc` in it with these words, separated by blanks; panics unless that succeeds.
    #[track_caller]
    pub fn tc(&self, words: &str) -> String {
        let mut arguments = vec!["-n", self.name()];
        arguments.extend(words.split_whitespace());
        tool("tc", &arguments)
    }

    /// Loads nft rules in it, all or none of them; panics where it refuses them.
    #[track_caller]
    pub fn nft(&self, rules: &str) {
        let nft = crate::gate::find("nft").unwrap_or_else(|| "nft".into());
        tool_with("ip", &["netns", "exec", self.name(), &nft.to_string_lossy(), "-f", "-"], rules);
    }

    /// A program that will run in it.
    pub fn program(&self, path: impl AsRef<std::ffi::OsStr>) -> Program {
        Program::new(path).in_namespace(self)
    }

    /// Runs a shell command in it; panics unless it succeeds; gives what it printed.
    #[track_caller]
    pub fn sh(&self, command: &str) -> String {
        self.program("sh").args(["-c", command]).named(format!("{}: {command}", self.name)).ok()
    }

    /// Runs a function on a thread of its own inside the namespace. Sockets that it opens stay in the namespace
    /// wherever they are used afterwards, and so do threads that it starts.
    ///
    /// /proc/net and /sys still show the network of the test process.
    #[track_caller]
    pub fn enter<R: Send>(&self, inside: impl FnOnce() -> R + Send) -> R {
        let path = format!("/run/netns/{}", self.name);
        let entered = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let file = File::open(&path).map_err(|error| error.to_string())?;
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(|error| error.to_string())?;
                Ok::<R, String>(inside())
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        entered.unwrap_or_else(|error| panic!("cannot enter {path}: {error}"))
    }

    /// Runs a future to its end on a tokio runtime whose threads are all inside the namespace.
    #[track_caller]
    pub fn block_on<F: Future<Output: Send> + Send>(&self, future: F) -> F::Output {
        self.enter(|| match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => runtime.block_on(future),
            Err(error) => panic!("cannot start a runtime: {error}"),
        })
    }
}

/// Runs `ip` in a namespace.
#[track_caller]
fn ip(namespace: &str, words: &str) -> String {
    let mut arguments = vec!["-n", namespace];
    arguments.extend(words.split_whitespace());
    tool("ip", &arguments)
}

/// Two ends of a new cable: interface `near` in one namespace, `far` in another, both down.
///
/// A cable with a quality is two TAP interfaces with a thread between them, alive as long as the [`wire::Wire`] is.
#[track_caller]
fn cable(near: (&Namespace, &str), far: (&Namespace, &str), quality: Option<Quality>) -> Option<wire::Wire> {
    if let Some(quality) = quality {
        return Some(wire::Wire::new(near, far, quality));
    }
    near.0.ip(&format!("link add {} type veth peer name {} netns {}", near.1, far.1, far.0.name()));
    None
}

static COUNT: AtomicU32 = AtomicU32::new(0);
