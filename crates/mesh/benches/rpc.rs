//! Requests through the mesh against a raw stream: latency of one at a time, rate of 64 at a time.
//!
//! Both sides run in this process over loopback, each variant over one connection that is made and
//! warmed up before. Rounds alternate between the variants, so that a noisy machine disturbs both, and
//! the ratios are medians over the rounds. The raw variant opens a stream per request, sends length and
//! payload in one write, and reads to the end of the stream on both sides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use iroh::endpoint::{Connection, RecvStream, presets};
use iroh::protocol::{AcceptError, ProtocolHandler, Router};
use iroh::{Endpoint, EndpointAddr};
use irpc::channel::oneshot;
use irpc::{WithChannels, rpc_requests};
use mesh::net::{AllowAll, MeshConfig};
use mesh::{MeshBuilder, RpcLimits, Serve};
use protocols::{NodeId, SecretKey};
use serde::{Deserialize, Serialize};

const RPC: &[u8] = b"flotilla-bench/rpc/1";
const RAW: &[u8] = b"flotilla-bench/raw/1";
const ROUNDS: usize = 21;
const SEQUENTIAL: usize = 400;
const PARALLEL: usize = 64;
const PARALLEL_FOR: Duration = Duration::from_millis(400);

#[derive(Debug, Serialize, Deserialize)]
struct Echo(Bytes);

#[rpc_requests(message = Message)]
#[derive(Debug, Serialize, Deserialize)]
enum Protocol {
    #[rpc(tx = oneshot::Sender<Bytes>)]
    Echo(Echo),
}

#[derive(Debug)]
struct Answer;

impl Serve<Protocol> for Answer {
    async fn handle(self: Arc<Self>, _caller: NodeId, message: Message) {
        let Message::Echo(WithChannels { inner, tx, .. }) = message;
        drop(tx.send(inner.0).await);
    }
}

#[derive(Debug)]
struct RawEcho;

impl ProtocolHandler for RawEcho {
    async fn accept(&self, connection: Connection) -> Result<(), AcceptError> {
        while let Ok((mut send, mut recv)) = connection.accept_bi().await {
            tokio::spawn(async move {
                let payload = raw_read(&mut recv).await?;
                send.write_all(&raw_message(&payload)).await.ok()
            });
        }
        Ok(())
    }
}

/// Length and payload in one write, so that they leave in one packet if they fit.
fn raw_message(payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(4 + payload.len());
    message.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    message.extend_from_slice(payload);
    message
}

/// Reads to the end of the stream: what is dropped before costs a message that stops the sender.
async fn raw_read(recv: &mut RecvStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    recv.read_exact(&mut length).await.ok()?;
    let mut payload = vec![0; u32::from_be_bytes(length) as usize];
    recv.read_exact(&mut payload).await.ok()?;
    recv.read_chunk(0).await.ok()?.is_none().then_some(payload)
}

async fn raw_echo(connection: &Connection, payload: &[u8]) -> usize {
    let (mut send, mut recv) = connection.open_bi().await.expect("opened");
    send.write_all(&raw_message(payload)).await.expect("sent");
    send.finish().expect("finished");
    raw_read(&mut recv).await.expect("answered").len()
}

#[derive(Clone)]
enum Way {
    Rpc(protocols::Client<Protocol>),
    Raw(Connection),
}

impl Way {
    async fn echo(&self, payload: &Bytes) {
        let answered = match self {
            Self::Rpc(client) => client.rpc(Echo(payload.clone())).await.expect("answered").len(),
            Self::Raw(connection) => raw_echo(connection, payload).await,
        };
        assert_eq!(answered, payload.len());
    }

    /// The median and the 99th percentile of requests that follow each other.
    async fn sequential(&self, payload: &Bytes) -> (f64, f64) {
        let mut latencies = Vec::with_capacity(SEQUENTIAL);
        for _ in 0..SEQUENTIAL {
            let started = Instant::now();
            self.echo(payload).await;
            latencies.push(started.elapsed().as_secs_f64() * 1e6);
        }
        (share(&mut latencies, 0.5), share(&mut latencies, 0.99))
    }

    async fn parallel(&self, payload: &Bytes) -> f64 {
        let started = Instant::now();
        let tasks: Vec<_> = (0..PARALLEL)
            .map(|_| {
                let (way, payload) = (self.clone(), payload.clone());
                tokio::spawn(async move {
                    let mut done = 0u64;
                    while started.elapsed() < PARALLEL_FOR {
                        way.echo(&payload).await;
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            done += task.await.expect("joined");
        }
        done as f64 / started.elapsed().as_secs_f64()
    }
}

/// What the rounds measured of one way.
#[derive(Default)]
struct Figures {
    p50: Vec<f64>,
    p99: Vec<f64>,
    rate: Vec<f64>,
}

fn share(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() as f64 * share) as usize).min(values.len() - 1)]
}

/// The median over the rounds of how much more the second is than the first, in percent. Only what was
/// measured in the same round is compared: a machine that was busy in a round was so for both.
fn more(of: &[f64], than: &[f64]) -> f64 {
    let mut ratios: Vec<f64> = of.iter().zip(than).map(|(of, than)| (of / than - 1.0) * 100.0).collect();
    share(&mut ratios, 0.5)
}

async fn endpoint() -> Endpoint {
    let loopback: SocketAddr = ([127, 0, 0, 1], 0).into();
    Endpoint::builder(presets::Minimal)
        .clear_ip_transports()
        .bind_addr(loopback)
        .expect("an address")
        .bind()
        .await
        .expect("bound")
}

#[tokio::main]
async fn main() {
    // In a task, where the requests of a node are made as well.
    tokio::spawn(compare()).await.expect("no panic");
}

async fn compare() {
    let config = || {
        let mut config = MeshConfig::new(SecretKey::generate(), Arc::new(AllowAll));
        config.bind = vec![([127, 0, 0, 1], 0).into()];
        config
    };
    let limits = RpcLimits { concurrent: 128, ..RpcLimits::default() };
    let server =
        MeshBuilder::bind(config()).await.expect("bound").serve::<Protocol>(RPC, limits, Arc::new(Answer)).start();
    let client = MeshBuilder::bind(config()).await.expect("bound").start();
    let rpc = Way::Rpc(client.client(server.addr(), RPC));

    let raw_server = Router::builder(endpoint().await).accept(RAW, RawEcho).spawn();
    let raw_client = endpoint().await;
    let raw_addr = raw_server
        .endpoint()
        .bound_sockets()
        .into_iter()
        .fold(EndpointAddr::new(raw_server.endpoint().id()), EndpointAddr::with_ip_addr);
    let raw = Way::Raw(raw_client.connect(raw_addr, RAW).await.expect("connected"));

    println!("{:>7} {:>6} {:>10} {:>10} {:>14}", "payload", "way", "p50 µs", "p99 µs", "64 at a time/s");
    for size in [64, 16 * 1024] {
        let payload = Bytes::from(vec![7; size]);
        let ways = [&raw, &rpc];
        let mut figures = [Figures::default(), Figures::default()];
        for way in ways {
            way.sequential(&payload).await;
            way.parallel(&payload).await;
        }
        for round in 0..ROUNDS {
            for turn in 0..2 {
                let which = (round + turn) % 2;
                let (p50, p99) = ways[which].sequential(&payload).await;
                figures[which].p50.push(p50);
                figures[which].p99.push(p99);
            }
            for turn in 0..2 {
                let which = (round + turn) % 2;
                figures[which].rate.push(ways[which].parallel(&payload).await);
            }
        }
        let [raw, rpc] = &mut figures;
        let ratios = [more(&rpc.p50, &raw.p50), more(&rpc.p99, &raw.p99), more(&rpc.rate, &raw.rate)];
        for (name, way) in [("raw", raw), ("rpc", rpc)] {
            let [p50, p99, rate] = [&mut way.p50, &mut way.p99, &mut way.rate].map(|figure| share(figure, 0.5));
            println!("{size:>7} {name:>6} {p50:>10.1} {p99:>10.1} {rate:>14.0}");
        }
        println!("{size:>7} {:>6} {:>9.1}% {:>9.1}% {:>13.1}%", "ratio", ratios[0], ratios[1], ratios[2]);
    }
    client.close().await;
    server.close().await;
    raw_client.close().await;
    drop(raw_server.shutdown().await);
}
