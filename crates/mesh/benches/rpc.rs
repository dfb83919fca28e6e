//! Requests through the mesh against a raw stream: latency of one at a time, rate of 64 at a time.
//!
//! Both sides run in this process over loopback, each variant over one connection that is made and
//! warmed up before. Rounds alternate between the variants, so that a noisy machine disturbs both.
//! The raw variant opens a stream per request and sends and reads length and payload.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use iroh::endpoint::{Connection, presets};
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
const ROUNDS: usize = 10;
const SEQUENTIAL: usize = 400;
const PARALLEL: usize = 64;
const PARALLEL_FOR: Duration = Duration::from_millis(800);

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
                let mut length = [0; 4];
                recv.read_exact(&mut length).await.ok()?;
                let mut payload = vec![0; u32::from_be_bytes(length) as usize];
                recv.read_exact(&mut payload).await.ok()?;
                send.write_all(&length).await.ok()?;
                send.write_all(&payload).await.ok()
            });
        }
        Ok(())
    }
}

async fn raw_echo(connection: &Connection, payload: &[u8]) -> usize {
    let (mut send, mut recv) = connection.open_bi().await.expect("opened");
    let mut length = (payload.len() as u32).to_be_bytes();
    send.write_all(&length).await.expect("sent");
    send.write_all(payload).await.expect("sent");
    send.finish().expect("finished");
    recv.read_exact(&mut length).await.expect("answered");
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    recv.read_exact(&mut answer).await.expect("answered");
    answer.len()
}

#[derive(Clone)]
enum Way {
    Rpc(irpc::Client<Protocol>),
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

    async fn sequential(&self, payload: &Bytes, into: &mut Vec<Duration>) {
        for _ in 0..SEQUENTIAL {
            let started = Instant::now();
            self.echo(payload).await;
            into.push(started.elapsed());
        }
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

#[derive(Default)]
struct Figures {
    latencies: Vec<Duration>,
    rates: Vec<f64>,
}

impl Figures {
    fn micros(&mut self, share: f64) -> f64 {
        self.latencies.sort_unstable();
        let at = (self.latencies.len() as f64 * share) as usize;
        self.latencies[at.min(self.latencies.len() - 1)].as_secs_f64() * 1e6
    }

    fn rate(&mut self) -> f64 {
        self.rates.sort_by(f64::total_cmp);
        self.rates[self.rates.len() / 2]
    }
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
            way.sequential(&payload, &mut Vec::new()).await;
            way.parallel(&payload).await;
        }
        for round in 0..ROUNDS {
            for turn in 0..2 {
                let which = (round + turn) % 2;
                ways[which].sequential(&payload, &mut figures[which].latencies).await;
            }
            for turn in 0..2 {
                let which = (round + turn) % 2;
                let rate = ways[which].parallel(&payload).await;
                figures[which].rates.push(rate);
            }
        }
        let [raw, rpc] = figures.each_mut().map(|f| (f.micros(0.5), f.micros(0.99), f.rate()));
        for (name, (p50, p99, rate)) in [("raw", raw), ("rpc", rpc)] {
            println!("{size:>7} {name:>6} {p50:>10.1} {p99:>10.1} {rate:>14.0}");
        }
        println!(
            "{size:>7} {:>6} {:>9.1}% {:>9.1}% {:>13.1}%",
            "ratio",
            (rpc.0 / raw.0 - 1.0) * 100.0,
            (rpc.1 / raw.1 - 1.0) * 100.0,
            (rpc.2 / raw.2 - 1.0) * 100.0
        );
    }
    client.close().await;
    server.close().await;
    raw_client.close().await;
    drop(raw_server.shutdown().await);
}
