//! A client of one service: irpc's, with a shorter way for a request that has a single answer.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use irpc::channel::none::NoReceiver;
use irpc::channel::oneshot::{self, RecvError};
use irpc::rpc::noq::{RecvStream, SendStream};
use irpc::rpc::{MAX_MESSAGE_SIZE, RemoteConnection, WriteError};
use irpc::{Channels, RequestError, RpcMessage, Service, WithChannels};
use n0_future::future::now_or_never;
use tokio::io::AsyncReadExt;

/// Makes the requests of `S`. Clones share the connection. For everything but [`Self::rpc`] it is an [`irpc::Client`].
///
/// What goes over the wire is what irpc sends: the length of the request as a varint and the request in postcard, and
/// the answer alike.
pub struct Client<S: Service> {
    all: irpc::Client<S>,
    /// How to open a stream; `None` in one process, where there are none.
    remote: Option<Arc<dyn RemoteConnection>>,
}

impl<S: Service> Client<S> {
    /// A client over connections that `remote` makes.
    pub fn over(remote: impl RemoteConnection + Clone) -> Self {
        Self { all: irpc::Client::boxed(remote.clone()), remote: Some(Arc::new(remote)) }
    }

    /// Makes a request and waits for its answer.
    ///
    /// As [`irpc::Client::rpc`], which reads an answer with a lock of the connection for each packet and copies what is
    /// sent and received once more.
    ///
    /// # Errors
    /// No connection, a request or an answer of more than 16 MiB, or an answer that is none of `Res`.
    pub fn rpc<Req, Res>(
        &self,
        request: Req,
    ) -> impl Future<Output = irpc::Result<Res>> + Send + 'static + use<S, Req, Res>
    where
        S: From<Req>,
        S::Message: From<WithChannels<Req, S>>,
        Req: Channels<S, Tx = oneshot::Sender<Res>, Rx = NoReceiver>,
        Res: RpcMessage,
    {
        let way = match &self.remote {
            Some(remote) if !S::SPAN_PROPAGATION => Ok(remote.clone()),
            _ => Err(self.all.clone()),
        };
        async move {
            match way {
                Ok(remote) => {
                    let request = encode(&S::from(request))?;
                    let streams = remote.open_bi();
                    drop(remote);
                    let answer = exchange(request, streams).await?;
                    Ok(answer.decode()?)
                }
                Err(all) => all.rpc(request).await,
            }
        }
    }
}

impl<S: Service> Deref for Client<S> {
    type Target = irpc::Client<S>;

    fn deref(&self) -> &irpc::Client<S> {
        &self.all
    }
}

/// For a service in the same process.
impl<S: Service> From<irpc::Client<S>> for Client<S> {
    fn from(all: irpc::Client<S>) -> Self {
        Self { all, remote: None }
    }
}

impl<S: Service> Clone for Client<S> {
    fn clone(&self) -> Self {
        Self { all: self.all.clone(), remote: self.remote.clone() }
    }
}

impl<S: Service> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("remote", &self.remote).finish_non_exhaustive()
    }
}

/// Sends a request and reads the whole answer.
async fn exchange(
    request: Bytes,
    streams: impl Future<Output = Result<(SendStream, RecvStream), RequestError>>,
) -> irpc::Result<Answer> {
    let (mut send, mut recv) = streams.await?;
    send.write_chunk(request).await.map_err(WriteError::from)?;
    // Ends the stream.
    drop(send);
    Ok(read(&mut recv).await?)
}

fn encode(request: &impl serde::Serialize) -> Result<Bytes, WriteError> {
    let size = postcard::experimental::serialized_size(request)?;
    if size as u64 > MAX_MESSAGE_SIZE {
        // The variant can be made by irpc alone, which says the same of the same size.
        return Err(
            io::Error::new(io::ErrorKind::InvalidInput, format!("a request of {size} bytes is too large")).into()
        );
    }
    let mut message = Vec::with_capacity(size + VARINT_MAX);
    message = postcard::to_extend(&(size as u64), message)?;
    Ok(postcard::to_extend(request, message)?.into())
}

/// An answer as it arrived.
struct Answer {
    first: Bytes,
    /// Where the value begins.
    at: usize,
    /// All of the value, if it did not arrive in one piece.
    whole: Option<Vec<u8>>,
}

impl Answer {
    fn decode<Res: RpcMessage>(&self) -> Result<Res, RecvError> {
        let value = self.whole.as_deref().or_else(|| self.first.get(self.at..)).unwrap_or_default();
        postcard::from_bytes(value).map_err(|why| invalid(why).into())
    }
}

async fn read(recv: &mut RecvStream) -> Result<Answer, RecvError> {
    let mut first = recv.read_chunk(READ_STEP).await.map_err(io::Error::from)?.ok_or_else(short)?;
    let (size, at) = loop {
        if let Some(length) = varint(&first)? {
            break length;
        }
        // The length itself came in pieces.
        let more = recv.read_chunk(READ_STEP).await.map_err(io::Error::from)?.ok_or_else(short)?;
        first = [first, more].concat().into();
    };
    if size > MAX_MESSAGE_SIZE {
        let _ended = recv.stop(irpc::rpc::ERROR_CODE_MAX_MESSAGE_SIZE_EXCEEDED.into());
        return Err(invalid(format!("an answer of {size} bytes is too large")).into());
    }
    let size = usize::try_from(size).map_err(invalid)?;
    let mut whole = None;
    let mut there = first.len() - at;
    if there < size {
        // Memory follows what has arrived, not what was announced.
        let mut value = Vec::with_capacity(size.min(READ_STEP));
        value.extend_from_slice(first.get(at..).unwrap_or_default());
        while value.len() < size {
            if recv.read_buf(&mut value).await? == 0 {
                return Err(short().into());
            }
        }
        there = value.len();
        whole = Some(value);
    }
    if there > size {
        return Err(invalid("there is more than the answer").into());
    }
    // A stream whose end was not seen is stopped when it is dropped, which costs both sides a message. The end mostly
    // is there already.
    let _end = now_or_never(pin!(recv.read_chunk(0)));
    Ok(Answer { first, at, whole })
}

/// A length and where it ends; `None` when there is more of it to come.
fn varint(bytes: &[u8]) -> io::Result<Option<(u64, usize)>> {
    match postcard::take_from_bytes::<u64>(bytes) {
        Ok((length, rest)) => Ok(Some((length, bytes.len() - rest.len()))),
        Err(postcard::Error::DeserializeUnexpectedEnd) if bytes.len() < VARINT_MAX => Ok(None),
        Err(why) => Err(invalid(why)),
    }
}

fn short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the answer ended before its end")
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Bytes of the longest length.
const VARINT_MAX: usize = 10;
/// Memory set aside for an answer before any of it has arrived, and the most that is read in one piece, in bytes.
const READ_STEP: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_as_irpc_writes_it() {
        assert_eq!(&encode(&"abc").expect("encoded")[..], [4, 3, b'a', b'b', b'c']);
        let long = encode(&"x".repeat(300)).expect("encoded");
        assert_eq!(varint(&long).expect("sound"), Some((302, 2)));
        assert!(encode(&vec![0u8; MAX_MESSAGE_SIZE as usize]).is_err(), "with its own length it is too long");
    }

    #[test]
    fn a_length_may_come_in_pieces_and_ends() {
        assert_eq!(varint(&[]).expect("sound"), None);
        assert_eq!(varint(&[0x80]).expect("sound"), None);
        assert_eq!(varint(&[0x80, 1, 9]).expect("sound"), Some((128, 2)));
        assert!(varint(&[0xff; 10]).is_err());
    }
}
