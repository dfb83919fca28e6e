//! A transfer that is watched: a provider can neither announce nor send more than was agreed, nor stall.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::VarInt;
use iroh_blobs::util::RecvStream;
use tokio::time::timeout;

/// A receiving stream with bounds.
#[derive(Debug)]
pub(crate) struct Watched<R> {
    inner: R,
    idle: Duration,
    /// The size that the provider must announce in its first eight bytes.
    size: u64,
    head: Vec<u8>,
    left: u64,
    moved: Arc<AtomicU64>,
}

impl<R> Watched<R> {
    /// Watches `inner`, which answers a request for `wanted` bytes of a blob of `size` bytes.
    /// What arrives is added to `moved`.
    pub(crate) fn new(inner: R, size: u64, wanted: u64, idle: Duration, moved: Arc<AtomicU64>) -> Self {
        // 64 bytes of hashes per 16 KiB group, and the way down to the range.
        let left = HEAD as u64 + wanted + wanted / 128 + SLACK;
        Self { inner, idle, size, head: Vec::with_capacity(HEAD), left, moved }
    }

    fn expect(&self, len: usize) -> io::Result<()> {
        if len as u64 > self.left {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the provider sends more than was asked for"));
        }
        Ok(())
    }

    fn received(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left = self.left.saturating_sub(bytes.len() as u64);
        self.moved.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let missing = HEAD - self.head.len();
        if missing > 0 {
            self.head.extend_from_slice(&bytes[..bytes.len().min(missing)]);
            if let Ok(head) = <[u8; HEAD]>::try_from(self.head.as_slice()) {
                let announced = u64::from_le_bytes(head);
                if announced != self.size {
                    let why = format!("the provider announces {announced} bytes instead of {}", self.size);
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
                }
            }
        }
        Ok(())
    }
}

impl<R: RecvStream> RecvStream for Watched<R> {
    async fn recv_bytes(&mut self, len: usize) -> io::Result<Bytes> {
        let bytes = timeout(self.idle, self.inner.recv_bytes(len)).await.map_err(|_| stalled(self.idle))??;
        self.expect(bytes.len())?;
        self.received(&bytes)?;
        Ok(bytes)
    }

    async fn recv_bytes_exact(&mut self, len: usize) -> io::Result<Bytes> {
        self.expect(len)?;
        let bytes = timeout(self.idle, self.inner.recv_bytes_exact(len)).await.map_err(|_| stalled(self.idle))??;
        self.received(&bytes)?;
        Ok(bytes)
    }

    async fn recv_exact(&mut self, target: &mut [u8]) -> io::Result<()> {
        self.expect(target.len())?;
        timeout(self.idle, self.inner.recv_exact(target)).await.map_err(|_| stalled(self.idle))??;
        self.received(target)
    }

    fn stop(&mut self, code: VarInt) -> io::Result<()> {
        self.inner.stop(code)
    }

    fn id(&self) -> u64 {
        self.inner.id()
    }
}

fn stalled(idle: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the provider sent nothing for {idle:?}"))
}

/// Bytes of the size that comes first.
const HEAD: usize = 8;
/// Bytes of hashes that a small range may need beyond its share.
const SLACK: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// A provider that sends these bytes and hangs up.
    struct Script(Bytes);

    impl RecvStream for Script {
        async fn recv_bytes(&mut self, len: usize) -> io::Result<Bytes> {
            Ok(self.0.split_to(len.min(self.0.len())))
        }

        async fn recv_bytes_exact(&mut self, len: usize) -> io::Result<Bytes> {
            if self.0.len() < len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(self.0.split_to(len))
        }

        async fn recv_exact(&mut self, target: &mut [u8]) -> io::Result<()> {
            target.copy_from_slice(&self.recv_bytes_exact(target.len()).await?);
            Ok(())
        }

        fn stop(&mut self, _code: VarInt) -> io::Result<()> {
            Ok(())
        }

        fn id(&self) -> u64 {
            0
        }
    }

    /// Reads to the first error, or the end, in pieces that differ: how much was let through, and whether all was well.
    async fn drain(stream: &mut Watched<Script>, seed: u64) -> (u64, bool) {
        let mut random = seed | 1;
        let mut through = 0;
        loop {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let len = (random % 40_000) as usize + 1;
            let read = match random % 3 {
                0 => stream.recv_bytes(len).await.map(|bytes| bytes.len()),
                1 => stream.recv_bytes_exact(len).await.map(|bytes| bytes.len()),
                _ => stream.recv_exact(&mut vec![0; len]).await.map(|()| len),
            };
            match read {
                Ok(0) => return (through, true),
                Ok(read) => through += read as u64,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return (through, true),
                Err(_) => return (through, false),
            }
        }
    }

    #[tokio::test]
    async fn no_more_is_let_through_than_was_agreed_however_it_comes() {
        for seed in 0..300u64 {
            let size = (seed * 977) % 100_000;
            let bound = HEAD as u64 + size + size / 128 + SLACK;
            for (announced, sent) in [(size, size), (size, bound * 2), (size + 1, size), (u64::MAX, bound), (size, 3)] {
                let mut bytes = announced.to_le_bytes().to_vec();
                bytes.resize(8 + sent as usize, 7);
                bytes.truncate(8.max(sent as usize));
                let moved = Arc::new(AtomicU64::new(0));
                let script = Script(bytes.into());
                let mut stream = Watched::new(script, size, size, Duration::from_secs(1), moved.clone());
                let (through, well) = drain(&mut stream, seed.wrapping_add(announced)).await;
                assert!(through <= bound, "{through} of {bound}");
                assert!(moved.load(Ordering::Relaxed) <= bound + 40_000, "what is counted is what came");
                assert!(!(well && through >= 8 && announced != size), "a wrong size was let through");
            }
        }
    }
}
