//! Three etcd processes on loopback, spoken with by HTTP/JSON over connections that are kept.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::Registers;
use crate::members::CLIENTS;

/// The first of six ports.
const PORT: u16 = 42379;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// The processes.
pub(crate) struct Cluster {
    dir: tempfile::TempDir,
    procs: Vec<Child>,
}

/// Connections with one of them, each client its own.
pub(crate) struct Client {
    links: Vec<Mutex<Option<BufReader<TcpStream>>>>,
    at: u16,
}

impl Cluster {
    pub(crate) fn start() -> Result<Self, String> {
        let found = Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            return Err("etcd is not installed (Debian: apt install etcd-server)".into());
        }
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut this = Self { dir, procs: Vec::new() };
        for n in 0..3 {
            let child = this.spawn(n)?;
            this.procs.push(child);
        }
        Ok(this)
    }

    fn spawn(&self, n: u16) -> Result<Child, String> {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let all: Vec<String> = (0..3).map(|n| format!("n{n}={}", url(PORT + 10 + n))).collect();
        Command::new("etcd")
            .args(["--name", &format!("n{n}"), "--initial-cluster", &all.join(","), "--logger", "zap"])
            .arg("--data-dir")
            .arg(self.dir.path().join(format!("n{n}")))
            .args(["--listen-client-urls", &url(PORT + n), "--advertise-client-urls", &url(PORT + n)])
            .args(["--listen-peer-urls", &url(PORT + 10 + n), "--initial-advertise-peer-urls", &url(PORT + 10 + n)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| e.to_string())
    }

    /// A client of the one that leads.
    pub(crate) async fn client(&self) -> Client {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(at) = leader().await {
                let client = Client::at(at);
                if client.advance(0, 1).await {
                    return client;
                }
            }
            assert!(Instant::now() < until, "etcd does not come up");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// How long nothing is decided after the leader was killed, as another member sees it.
    pub(crate) async fn gaps(&mut self, count: usize) -> Vec<Duration> {
        let mut gaps = Vec::new();
        for _ in 0..count {
            let Some(leads) = leader().await else { continue };
            let other = Client::at(PORT + (leads - PORT + 1) % 3);
            while !other.advance(0, 1).await {}
            let began = Instant::now();
            let proc = &mut self.procs[usize::from(leads - PORT)];
            drop((proc.kill(), proc.wait()));
            while !other.advance(0, 1).await {}
            gaps.push(began.elapsed());
            if let Ok(again) = self.spawn(leads - PORT) {
                self.procs[usize::from(leads - PORT)] = again;
            }
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
        gaps
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for proc in &mut self.procs {
            drop((proc.kill(), proc.wait()));
        }
    }
}

/// The port of the one that leads.
async fn leader() -> Option<u16> {
    for n in 0..3 {
        let client = Client::at(PORT + n);
        let Some(status) = client.post(0, "/v3/maintenance/status", "{}").await else { continue };
        let text = |name: &str| {
            let rest = status.split(&format!("\"{name}\":\"")).nth(1)?;
            rest.split('"').next().map(str::to_owned)
        };
        if text("leader").is_some() && text("leader") == text("member_id") {
            return Some(PORT + n);
        }
    }
    None
}

impl Client {
    fn at(at: u16) -> Self {
        Self { links: (0..CLIENTS).map(|_| Mutex::new(None)).collect(), at }
    }

    async fn post(&self, client: usize, path: &str, body: &str) -> Option<String> {
        let mut link = self.links[client].lock().await;
        let answer = timeout(ANSWER, exchange(&mut link, self.at, path, body)).await.ok().and_then(Result::ok);
        if answer.is_none() {
            *link = None;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        answer
    }
}

async fn exchange(link: &mut Option<BufReader<TcpStream>>, at: u16, path: &str, body: &str) -> std::io::Result<String> {
    let stream = match link {
        Some(stream) => stream,
        none => {
            let stream = TcpStream::connect(("127.0.0.1", at)).await?;
            stream.set_nodelay(true)?;
            none.insert(BufReader::new(stream))
        }
    };
    let request = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await?;
    let (mut length, mut line) = (0usize, String::new());
    let mut first = true;
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if std::mem::take(&mut first) && !line.contains(" 200 ") {
            return Err(std::io::Error::other(line));
        }
        if let Some(said) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = said.trim().parse().unwrap_or(0);
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Registers for Client {
    async fn advance(&self, client: usize, _: u64) -> bool {
        // Compare that there is a lease of this version or none, then put: what a renewal amounts to.
        let key = ["AAAA", "AAAB", "AAAC", "AAAD"][client % 4].to_owned() + &format!("{client:04}");
        let body = format!(
            "{{\"compare\":[{{\"key\":\"{key}\",\"target\":\"VERSION\",\"result\":\"GREATER\",\"version\":\"-1\"}}],\
             \"success\":[{{\"requestPut\":{{\"key\":\"{key}\",\"value\":\"{}\"}}}}]}}",
            "A".repeat(128)
        );
        self.post(client, "/v3/kv/txn", &body).await.is_some_and(|answer| answer.contains("\"succeeded\":true"))
    }
}
