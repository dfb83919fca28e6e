//! The receiving end of a streamed answer, safe to stop waiting for.
//!
//! irpc's receiver reads a message in several steps. Waiting for it in a `select!` or with a timeout, and giving up between
//! two of them, loses the place in the stream: everything after that is garbage. Here a task reads, and what waits is a
//! channel.

use irpc::RpcMessage;
use irpc::channel::mpsc;
use tokio::task::JoinHandle;

/// Messages of one stream, in order.
#[derive(Debug)]
pub struct Incoming<T> {
    read: tokio::sync::mpsc::Receiver<Result<T, mpsc::RecvError>>,
    task: JoinHandle<()>,
}

/// How many messages wait to be taken before no more are read.
const READ_AHEAD: usize = 4;

impl<T: RpcMessage> Incoming<T> {
    /// Reads from a stream. Needs a tokio runtime.
    pub fn new(mut stream: mpsc::Receiver<T>) -> Self {
        let (tx, read) = tokio::sync::mpsc::channel(READ_AHEAD);
        let task = tokio::spawn(async move {
            while let Some(message) = stream.recv().await.transpose() {
                let failed = message.is_err();
                if tx.send(message).await.is_err() || failed {
                    return;
                }
            }
        });
        Self { read, task }
    }

    /// The next message; nothing when the stream has ended. Giving up waiting loses nothing.
    ///
    /// # Errors
    /// If the stream broke.
    pub async fn next(&mut self) -> Result<Option<T>, mpsc::RecvError> {
        self.read.recv().await.transpose()
    }
}

impl<T> Drop for Incoming<T> {
    fn drop(&mut self) {
        // Hangs up: the other end need not go on sending.
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn giving_up_waiting_loses_nothing() {
        let (tx, rx) = mpsc::channel::<u32>(4);
        let mut incoming = Incoming::new(rx);
        let gave_up = tokio::time::timeout(std::time::Duration::from_millis(5), incoming.next()).await;
        assert!(gave_up.is_err());
        for n in 0..20 {
            tx.send(n).await.unwrap();
            assert_eq!(incoming.next().await.unwrap(), Some(n));
        }
        drop(tx);
        assert_eq!(incoming.next().await.unwrap(), None);
    }
}
