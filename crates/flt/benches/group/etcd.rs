//! Three etcd processes on loopback, spoken with by gRPC: a transaction that compares the revision and puts.
//!
//! The messages are those of etcd's `rpc.proto` (`KV.Txn`, `Maintenance.Status`), a few fields of them.

use std::process::Command;
use std::sync::Mutex;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{ANSWER, CLIENTS, Cluster, Proc, Registers};

/// The first of six ports.
const PORT: u16 = 42379;

pub(crate) struct Etcd {
    dir: tempfile::TempDir,
    procs: [Proc; 3],
}

/// One connection, with a stream for each request.
pub(crate) struct Client {
    send: Option<SendRequest<Bytes>>,
    revisions: Vec<Mutex<u64>>,
}

fn spawn(dir: &std::path::Path, n: u16) -> Proc {
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let all: Vec<String> = (0..3).map(|n| format!("n{n}={}", url(PORT + 10 + n))).collect();
    let mut command = Command::new("etcd");
    command.args(["--name", &format!("n{n}"), "--initial-cluster", &all.join(","), "--logger", "zap"]);
    command.arg("--data-dir").arg(dir.join(format!("n{n}")));
    command.args(["--listen-client-urls", &url(PORT + n), "--advertise-client-urls", &url(PORT + n)]);
    command.args(["--listen-peer-urls", &url(PORT + 10 + n), "--initial-advertise-peer-urls", &url(PORT + 10 + n)]);
    Proc::spawn(&mut command)
}

impl Cluster for Etcd {
    const NAME: &'static str = "etcd, 3 members";
    const SYNCS: &'static str = "every entry, on a majority's disks";
    type Client = Client;

    async fn start() -> Result<Self, String> {
        if !Command::new("etcd").arg("--version").output().is_ok_and(|out| out.status.success()) {
            return Err("it is not installed (Debian: apt install etcd-server)".into());
        }
        let dir = tempfile::tempdir().unwrap();
        let procs = [0, 1, 2].map(|n| spawn(dir.path(), n));
        Ok(Self { dir, procs })
    }

    async fn leader(&self) -> Option<usize> {
        for n in 0..3 {
            let status = self.client(n).await.call("/etcdserverpb.Maintenance/Status", &[]).await;
            let Some(status) = status else { continue };
            let header = fields(&status).find_map(|(field, value)| value.bytes().filter(|_| field == 1));
            let me = fields(header.unwrap_or_default()).find(|(field, _)| *field == 2).map(|(_, value)| value.number());
            let leader = fields(&status).find(|(field, _)| *field == 4).map(|(_, value)| value.number());
            if leader.is_some() && leader == me {
                return Some(n);
            }
        }
        None
    }

    async fn client(&self, of: usize) -> Client {
        let send = match TcpStream::connect(("127.0.0.1", PORT + u16::try_from(of).unwrap())).await {
            Ok(stream) => {
                drop(stream.set_nodelay(true));
                match h2::client::handshake(stream).await {
                    Ok((send, connection)) => {
                        tokio::spawn(connection);
                        Some(send)
                    }
                    Err(_) => None,
                }
            }
            Err(_) => None,
        };
        Client { send, revisions: (0..CLIENTS).map(|_| Mutex::new(0)).collect() }
    }

    fn procs(&mut self) -> &mut [Proc; 3] {
        &mut self.procs
    }

    fn again(&mut self, n: usize) {
        self.procs[n] = spawn(self.dir.path(), u16::try_from(n).unwrap());
    }
}

impl Client {
    /// One call; nothing if it did not work.
    async fn call(&self, path: &str, message: &[u8]) -> Option<Vec<u8>> {
        let exchange = async {
            let mut send = self.send.clone()?.ready().await.ok()?;
            let request = http::Request::post(format!("http://etcd{path}"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(())
                .ok()?;
            let (response, mut body) = send.send_request(request, false).ok()?;
            let length = u32::try_from(message.len()).ok()?;
            let framed = [&[0], length.to_be_bytes().as_slice(), message].concat();
            body.send_data(framed.into(), true).ok()?;
            let mut body = response.await.ok()?.into_body();
            let mut all = Vec::new();
            while let Some(chunk) = body.data().await {
                let chunk = chunk.ok()?;
                body.flow_control().release_capacity(chunk.len()).ok()?;
                all.extend_from_slice(&chunk);
            }
            (all.len() >= 5).then(|| all.split_off(5))
        };
        timeout(ANSWER, exchange).await.ok().flatten()
    }
}

impl Registers for Client {
    async fn advance(&self, client: usize) -> bool {
        let key = format!("bench/{client}");
        let known = *self.revisions[client].lock().unwrap();
        // Compare { result: EQUAL, target: MOD, key, mod_revision }
        let compare = [number(1, 0), number(2, 2), text(3, key.as_bytes()), number(6, known)].concat();
        // RequestOp { request_put: { key, value } }
        let put = text(2, &[text(1, key.as_bytes()), text(2, &[b'x'; 128])].concat());
        // RequestOp { request_range: { key } }, for whoever does not know the revision
        let range = text(1, &text(1, key.as_bytes()));
        let txn = [text(1, &compare), text(2, &put), text(3, &range)].concat();
        let Some(answer) = self.call("/etcdserverpb.KV/Txn", &txn).await else { return false };
        let header =
            fields(&answer).find_map(|(field, value)| value.bytes().filter(|_| field == 1)).unwrap_or_default();
        let revision = fields(header).find(|(field, _)| *field == 3).map_or(0, |(_, value)| value.number());
        let done = fields(&answer).any(|(field, value)| field == 2 && value.number() == 1);
        let found = || {
            // ResponseOp { response_range: { kvs: [{ mod_revision }] } }
            let inner = |bytes, wanted| fields(bytes).find_map(|(field, v)| v.bytes().filter(|_| field == wanted));
            let kv = inner(inner(inner(&answer, 3)?, 1)?, 2)?;
            fields(kv).find(|(field, _)| *field == 3).map(|(_, value)| value.number())
        };
        *self.revisions[client].lock().unwrap() = if done { revision } else { found().unwrap_or(0) };
        done
    }
}

/// A field with a number, as protobuf writes it.
fn number(field: u8, value: u64) -> Vec<u8> {
    [vec![field << 3], varint(value)].concat()
}

/// A field with bytes.
fn text(field: u8, value: &[u8]) -> Vec<u8> {
    [vec![field << 3 | 2], varint(value.len() as u64), value.to_vec()].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// What stands in a field.
#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn number(self) -> u64 {
        if let Self::Number(number) = self { number } else { 0 }
    }

    fn bytes(self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}

/// The fields of a message, up to the first that is not understood.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    std::iter::from_fn(move || {
        let tag = read(&mut rest)?;
        let value = match tag & 7 {
            0 => Value::Number(read(&mut rest)?),
            2 => {
                let length = usize::try_from(read(&mut rest)?).ok()?;
                let (bytes, after) = rest.split_at_checked(length)?;
                rest = after;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        Some((tag >> 3, value))
    })
}

fn read(rest: &mut &[u8]) -> Option<u64> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
        shift += 7;
    }
}
