//! Three NATS servers on loopback with a JetStream bucket of three replicas, spoken with by its text protocol: a message
//! that is only taken if the last one of its subject has this number.

use std::collections::HashMap;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::{ANSWER, CLIENTS, Cluster, Proc, Registers};

/// The first of six ports.
const PORT: u16 = 42579;
const STREAM: &str = "KV_bench";

pub(crate) struct Nats {
    dir: tempfile::TempDir,
    procs: [Proc; 3],
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<String>>>>;

/// One connection, with an inbox of its own for each request.
pub(crate) struct Client {
    write: Option<tokio::sync::Mutex<OwnedWriteHalf>>,
    waiting: Waiting,
    next: std::sync::atomic::AtomicU64,
    last: Vec<Mutex<u64>>,
}

fn spawn(dir: &std::path::Path, n: u16) -> Proc {
    let routes: Vec<String> = (0..3).map(|n| format!("nats://127.0.0.1:{}", PORT + 10 + n)).collect();
    let mut command = Command::new("nats-server");
    command.args(["-a", "127.0.0.1", "-p", &(PORT + n).to_string(), "-n", &format!("n{n}"), "-js", "-sd"]);
    command.arg(dir.join(format!("n{n}")));
    command.args(["--cluster_name", "bench", "--cluster", &routes[usize::from(n)], "--routes", &routes.join(",")]);
    Proc::spawn(&mut command)
}

impl Cluster for Nats {
    const NAME: &'static str = "NATS JetStream R3 (no sync)";
    const SYNCS: &'static str = "nothing: the system writes it within two minutes";
    type Client = Client;

    async fn start() -> Result<Self, String> {
        if !Command::new("nats-server").arg("--version").output().is_ok_and(|out| out.status.success()) {
            return Err("it is not installed (Debian: apt install nats-server)".into());
        }
        let dir = tempfile::tempdir().unwrap();
        let procs = [0, 1, 2].map(|n| spawn(dir.path(), n));
        let this = Self { dir, procs };
        let config = format!(
            r#"{{"name":"{STREAM}","subjects":["$KV.bench.>"],"num_replicas":3,"storage":"file","max_msgs_per_subject":1,"discard":"new","allow_rollup_hdrs":true}}"#
        );
        for _ in 0..300 {
            let client = this.client(0).await;
            let made = client.request(&format!("$JS.API.STREAM.CREATE.{STREAM}"), "", &config).await;
            if made.is_some_and(|made| made.contains("\"created\"")) {
                return Ok(this);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Err("its stream cannot be made".into())
    }

    async fn leader(&self) -> Option<usize> {
        for n in 0..3 {
            let info = self.client(n).await.request(&format!("$JS.API.STREAM.INFO.{STREAM}"), "", "").await;
            let Some(info) = info else { continue };
            let info: serde_json::Value = serde_json::from_str(&info).ok()?;
            if let Some(leader) = info["cluster"]["leader"].as_str() {
                return leader.strip_prefix('n')?.parse().ok();
            }
        }
        None
    }

    async fn client(&self, of: usize) -> Client {
        let waiting = Waiting::default();
        let write = match TcpStream::connect(("127.0.0.1", PORT + u16::try_from(of).unwrap())).await {
            Ok(stream) => connect(stream, Arc::clone(&waiting)).await.ok(),
            Err(_) => None,
        };
        let last = (0..CLIENTS).map(|_| Mutex::new(0)).collect();
        Client { write: write.map(tokio::sync::Mutex::new), waiting, next: 1.into(), last }
    }

    fn procs(&mut self) -> &mut [Proc; 3] {
        &mut self.procs
    }

    fn again(&mut self, n: usize) {
        self.procs[n] = spawn(self.dir.path(), u16::try_from(n).unwrap());
    }
}

/// Greets, and reads answers from then on.
async fn connect(stream: TcpStream, waiting: Waiting) -> std::io::Result<OwnedWriteHalf> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let hello = "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nSUB _INBOX.b.* 1\r\n";
    write.write_all(hello.as_bytes()).await?;
    let mut read = BufReader::new(read);
    tokio::spawn(async move {
        let mut line = String::new();
        loop {
            line.clear();
            if !matches!(read.read_line(&mut line).await, Ok(1..)) {
                return;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let (Some(&("MSG" | "HMSG")), Some(subject), Some(length)) = (words.first(), words.get(1), words.last())
            else {
                continue;
            };
            let Ok(length) = length.parse::<usize>() else { return };
            let mut bytes = vec![0; length + 2];
            if read.read_exact(&mut bytes).await.is_err() {
                return;
            }
            let number = subject.rsplit('.').next().and_then(|n| n.parse().ok());
            let waits = number.and_then(|n: u64| waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&n));
            if let Some(waits) = waits {
                drop(waits.send(String::from_utf8_lossy(&bytes[..length]).into_owned()));
            }
        }
    });
    Ok(write)
}

impl Client {
    async fn request(&self, subject: &str, headers: &str, body: &str) -> Option<String> {
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap().insert(number, answer);
        let head = if headers.is_empty() { String::new() } else { format!("NATS/1.0\r\n{headers}\r\n\r\n") };
        let message = if head.is_empty() {
            format!("PUB {subject} _INBOX.b.{number} {}\r\n{body}\r\n", body.len())
        } else {
            let total = head.len() + body.len();
            format!("HPUB {subject} _INBOX.b.{number} {} {total}\r\n{head}{body}\r\n", head.len())
        };
        let exchange = async {
            self.write.as_ref()?.lock().await.write_all(message.as_bytes()).await.ok()?;
            answered.await.ok()
        };
        let answer = timeout(ANSWER, exchange).await.ok().flatten();
        self.waiting.lock().unwrap().remove(&number);
        answer
    }
}

impl Registers for Client {
    async fn advance(&self, client: usize) -> bool {
        let known = *self.last[client].lock().unwrap();
        let header = format!("Nats-Expected-Last-Subject-Sequence: {known}");
        let answer = self.request(&format!("$KV.bench.{client}"), &header, &"x".repeat(128)).await;
        let answer: serde_json::Value = answer.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        if let Some(number) = answer["seq"].as_u64().filter(|_| answer["error"].is_null()) {
            *self.last[client].lock().unwrap() = number;
            return true;
        }
        // Somebody before this client: ask for the last one.
        let last = format!(r#"{{"last_by_subj":"$KV.bench.{client}"}}"#);
        let got = self.request(&format!("$JS.API.STREAM.MSG.GET.{STREAM}"), "", &last).await;
        let got: serde_json::Value = got.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        if let Some(number) = got["message"]["seq"].as_u64() {
            *self.last[client].lock().unwrap() = number;
        }
        false
    }
}
