//! A fleet on paper, and hands that hear of it from whoever a test says: from a liar.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use agent::hands::wire::{self, Answer, Greeting, PROTOCOL, Report, Say, Welcome, WireError, Word};
use protocols::entry::{Enroll, Founder, Payload, Publish, Role};
use protocols::key::KeyFormat;
use protocols::{
    Body, Digest, Entry, FleetId, FleetState, Head, Labels, PeerAddr, Policy, SecretKey, SignedEntry, Ticket,
};
use testkit::{DEADLINE, Proc, Program};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::processes::bed::ready;

/// The keys of a fleet with one node, and its ledger so far.
pub(super) struct Paper {
    pub(super) admin: SecretKey,
    pub(super) node: SecretKey,
    pub(super) state: FleetState,
    pub(super) entries: Vec<SignedEntry>,
}

impl Paper {
    pub(super) fn found() -> Self {
        let (admin, coordinator, node) = (SecretKey::generate(), SecretKey::generate(), SecretKey::generate());
        let founder = Founder { key: coordinator.id(), name: "hub".parse().unwrap() };
        let nonce = Digest::from_bytes(*SecretKey::generate().id().as_bytes());
        let now = flt::compose::now();
        let names = ("test".parse().unwrap(), "anna".parse().unwrap());
        let founded = admin::found::found(names.0, names.1, &admin, vec![founder], nonce, now).unwrap();
        let state = FleetState::found(&founded.genesis.clone().verify().unwrap()).unwrap();
        let mut this = Self { admin, node, state, entries: vec![founded.genesis] };
        let (key, name) = (this.node.id(), "edge-1".parse().unwrap());
        this.enter(Body::Enroll(Enroll { key, name, role: Role::Agent, labels: Labels::new(), replaces: None }));
        this
    }

    pub(super) fn fleet(&self) -> FleetId {
        self.state.fleet()
    }

    pub(super) fn head(&self) -> Head {
        self.state.head()
    }

    /// The entry that would follow, whether it is allowed or not.
    pub(super) fn next(&self, key: &SecretKey, body: Body) -> SignedEntry {
        let head = self.state.head();
        let (seq, prev) = (head.seq + 1, Some(head.hash));
        let at = flt::compose::now().max(self.state.time());
        let fleet = Some(self.state.fleet());
        Entry { fleet, seq, prev, at, not_after: None, author: key.id(), body }.sign(key).unwrap()
    }

    /// Enters what is allowed; gives its place.
    pub(super) fn enter(&mut self, body: Body) -> u64 {
        let entry = self.next(&self.admin, body);
        self.state.apply(&entry.clone().verify().unwrap()).unwrap();
        self.entries.push(entry);
        self.state.head().seq
    }

    pub(super) fn publish(&mut self, on: &str, json: &str) -> u64 {
        self.enter(publish(on, json))
    }
}

/// A publication of a files score.
pub(super) fn publish(on: &str, json: &str) -> Body {
    let (catalogue, kind) = (scores::catalogue(), "files/1".parse().unwrap());
    Body::Publish(Publish {
        name: "base/motd".parse().unwrap(),
        on: on.parse().unwrap(),
        subject: catalogue.validate(&kind, json).unwrap(),
        artifacts: catalogue.artifacts(&kind, json).unwrap(),
        kind,
        policy: Policy { check_seconds: 1, attempts: 1, ..Policy::default() },
        payload: Payload::from_json(json.to_owned()).unwrap(),
        note: None,
    })
}

pub(super) fn motd(text: &str) -> String {
    format!(r#"{{"root":"/etc","entries":{{"motd":{{"content":"{text}"}}}}}}"#)
}

/// `flt agent hands`, for the node of a paper.
pub(super) struct Hands {
    dir: tempfile::TempDir,
    pub(super) process: Proc,
}

impl Hands {
    pub(super) fn start(paper: &Paper) -> Self {
        let dir = tempfile::Builder::new().prefix("flt-hands-").tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        paper.node.write_new(&dir.path().join("key"), KeyFormat::OpenSsh, "test").unwrap();
        write_ticket(dir.path(), paper.fleet());
        let process = program(dir.path()).spawn();
        ready(&process);
        Self { dir, process }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    pub(super) fn motd(&self) -> Option<String> {
        fs::read_to_string(self.dir.path().join("root/etc/motd")).ok()
    }

    pub(super) async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.dir.path().join("hands.sock")).await.unwrap()
    }

    pub(super) async fn greet(&self) -> (Liar, Welcome) {
        let mut liar = Liar { stream: self.connect().await, next: 0 };
        let greeting = Greeting { protocol: PROTOCOL, version: "0".into() };
        wire::write(&mut liar.stream, &greeting).await.unwrap();
        let answer = liar.read::<Answer>().await.unwrap().expect("an answer");
        (liar, answer.unwrap())
    }
}

pub(super) fn write_ticket(dir: &std::path::Path, fleet: FleetId) {
    let name = "test".parse().unwrap();
    let at = PeerAddr { id: SecretKey::generate().id(), addrs: vec![([127, 0, 0, 1], 9).into()], relay: None };
    let ticket = Ticket { fleet, name, coordinators: vec![at], relays: Vec::new(), invite: None };
    let file = dir.join("ticket");
    fs::write(&file, ticket.to_string()).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
}

pub(super) fn program(dir: &std::path::Path) -> Program {
    let at = |name: &str| dir.join(name);
    let hands = Program::flt().named("hands").args(["agent", "hands", "--hands-user", "64711"]);
    let hands = hands.arg("--hands").arg(at("hands.sock")).arg("--hands-data").arg(at("data"));
    let hands = hands.arg("--key-file").arg(at("key")).arg("--ticket-file").arg(at("ticket"));
    let hands = hands.arg("--files-root").arg(at("root")).env("HOME", dir);
    ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "RUST_LOG", "FLT_LOG", "NOTIFY_SOCKET", "INVOCATION_ID"]
        .into_iter()
        .fold(hands, Program::without_env)
}

/// A network half that says what a test wants.
pub(super) struct Liar {
    pub(super) stream: UnixStream,
    next: u64,
}

impl Liar {
    pub(super) async fn say(&mut self, say: &Say) {
        wire::write(&mut self.stream, say).await.unwrap();
    }

    pub(super) async fn read<T: serde::de::DeserializeOwned>(&mut self) -> Result<Option<T>, WireError> {
        timeout(DEADLINE, wire::read(&mut self.stream)).await.expect("a word in time")
    }

    /// The next word that is more than progress.
    pub(super) async fn hear(&mut self) -> Word {
        loop {
            match self.read().await.unwrap().expect("a word") {
                Word::Progress { .. } => {}
                word => return word,
            }
        }
    }

    pub(super) async fn entries(&mut self, entries: &[SignedEntry]) -> Result<Option<Head>, String> {
        self.next += 1;
        let id = self.next;
        self.say(&Say::Entries { id, entries: entries.to_vec() }).await;
        match self.hear().await {
            Word::Taken { id: of, result } if of == id => result,
            other => panic!("{other:?}"),
        }
    }

    /// Asks for a play; it may be followed by questions.
    pub(super) async fn ask(&mut self, subject: &str, generation: u64) {
        self.next += 1;
        let say = Say::Play { id: self.next, subject: subject.parse().unwrap(), generation };
        self.say(&say).await;
    }

    /// The answer to [`ask`](Self::ask), where nothing is asked in between.
    pub(super) async fn played(&mut self) -> Result<Report, String> {
        match self.hear().await {
            Word::Played { id, result } if id == self.next => result,
            other => panic!("{other:?}"),
        }
    }

    /// That the hands have closed the connection.
    pub(super) async fn closed(&mut self) {
        loop {
            match self.read::<Word>().await {
                Ok(None) | Err(WireError::Socket(_) | WireError::Half) => return,
                Ok(Some(Word::Progress { .. })) => {}
                other => panic!("still open: {other:?}"),
            }
        }
    }
}
