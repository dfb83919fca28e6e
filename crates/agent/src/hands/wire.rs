//! What the two halves of an agent say to each other over their socket, and how it is framed.
//!
//! A frame is its length as four bytes, the least first, and that many bytes of postcard. The first frame of each side is
//! a [`Greeting`] and the [`Answer`] to it, which no later version may change; after that come [`Say`] and [`Word`]. No path
//! and no file crosses the socket, and no claim about what is declared: entries, the wish that something be played, and
//! answers to what the hands ask.

use std::time::Duration;

use bytes::Bytes;
use protocols::entry::Head;
use protocols::{BlobRef, DeclarationName, FleetId, Kind, NodeId, SignedEntry, Subject, Verdict};
use scores::PlayReport;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::Told;

/// The version of [`Say`] and [`Word`].
pub const PROTOCOL: u32 = 1;
/// The largest frame, in bytes: one entry of the largest size, and some room.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// How much of a blob one frame carries, in bytes.
pub const CHUNK_BYTES_MAX: usize = 256 * 1024;
/// How many entries are handed over at once.
pub const ENTRIES_MAX: usize = 256;
/// How many bytes of entries are handed over at once, unless one alone is larger.
pub const ENTRIES_BYTES_MAX: usize = 256 * 1024;
/// How long a frame may take from its first byte to its last, and how long it may wait to be written.
pub const FRAME_DEADLINE: Duration = Duration::from_secs(30);
/// How long a connection may take to greet.
pub const GREETING_DEADLINE: Duration = Duration::from_secs(5);

/// The first words of the network half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// Its [`PROTOCOL`].
    pub protocol: u32,
    /// Its version, for the log.
    pub version: String,
}

/// The hands' answer to a greeting: who they are, or why they do not talk.
pub type Answer = Result<Welcome, String>;

/// Who the hands are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Their version, for the log.
    pub version: String,
    /// The node that they play for.
    pub node: NodeId,
    /// The fleet that they are pinned to.
    pub fleet: FleetId,
    /// The newest entry that they have verified.
    pub head: Option<Head>,
    /// The kinds that they play.
    pub kinds: Vec<Kind>,
}

/// What the network half says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Say {
    /// These entries follow. Answered with [`Word::Taken`].
    Entries {
        /// Names the request.
        id: u64,
        /// In order.
        entries: Vec<SignedEntry>,
    },
    /// What became of what was open at the start? Answered with [`Word::Recovered`].
    Recover {
        /// Names the request.
        id: u64,
    },
    /// Play what is declared for this subject, if that is of this generation. Answered with [`Word::Played`].
    Play {
        /// Names the request.
        id: u64,
        /// What it governs.
        subject: Subject,
        /// The entry that published it.
        generation: u64,
    },
    /// How a [`Word::Check`] went.
    Checked {
        /// The request.
        id: u64,
        /// Or why it failed.
        result: Result<(), String>,
    },
    /// The next bytes of a [`Word::Fetch`], at most [`CHUNK_BYTES_MAX`].
    Chunk {
        /// The request.
        id: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// The end of a [`Word::Fetch`].
    Fetched {
        /// The request.
        id: u64,
        /// Whether all was sent.
        result: Result<(), Unfetched>,
    },
}

/// Why a blob was not sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{why}")]
pub struct Unfetched {
    /// What happened.
    pub why: String,
    /// Whether it may be had later.
    pub transient: bool,
}

/// What the hands say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// How far the ledger goes now, or why it goes no further.
    Taken {
        /// The request.
        id: u64,
        /// The newest entry.
        result: Result<Option<Head>, String>,
    },
    /// Some of what was brought to an end; nothing when all of it has been told.
    Recovered {
        /// The request.
        id: u64,
        /// One for each.
        told: Vec<Report>,
    },
    /// How a play went, or why it was not begun.
    Played {
        /// The request.
        id: u64,
        /// The report.
        result: Result<Report, String>,
    },
    /// A line about what is being done.
    Progress {
        /// The line.
        line: String,
    },
    /// Run this check of a policy: one that needs the network. Answered with [`Say::Checked`].
    Check {
        /// Names the request.
        id: u64,
        /// The check as JSON: postcard cannot carry it.
        check: String,
    },
    /// Send this blob. Answered with [`Say::Chunk`] and [`Say::Fetched`].
    Fetch {
        /// Names the request.
        id: u64,
        /// Which.
        blob: BlobRef,
    },
}

/// [`Told`], as it crosses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The declaration's name.
    pub name: DeclarationName,
    /// Its language.
    pub kind: Kind,
    /// What it governs.
    pub subject: Subject,
    /// The entry that published it.
    pub generation: u64,
    /// In one word.
    pub verdict: Verdict,
    /// In one line.
    pub message: String,
    /// The steps.
    pub steps: Vec<String>,
    /// How many attempts.
    pub attempts: u32,
}

impl From<Told> for Report {
    fn from(told: Told) -> Self {
        let Told { name, kind, subject, generation, report } = told;
        let PlayReport { verdict, message, steps, attempts } = report;
        Self { name, kind, subject, generation, verdict, message, steps, attempts }
    }
}

impl From<Report> for Told {
    fn from(report: Report) -> Self {
        let Report { name, kind, subject, generation, verdict, message, steps, attempts } = report;
        Self { name, kind, subject, generation, report: PlayReport { verdict, message, steps, attempts } }
    }
}

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The socket.
    #[error("cannot use the socket")]
    Socket(#[source] std::io::Error),
    /// More than a frame may hold.
    #[error("a frame of {0} bytes, and one may have {FRAME_BYTES_MAX}")]
    TooLarge(usize),
    /// The bytes are none of the messages.
    #[error("a frame that cannot be understood")]
    Malformed(#[source] postcard::Error),
    /// The end came in the middle of a frame, or it took too long.
    #[error("half a frame")]
    Half,
}

/// Reads one message; nothing at the end. It waits for the first byte as long as it takes.
///
/// # Errors
/// [`WireError`]: the connection is of no use any more.
pub async fn read<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<T>, WireError> {
    let mut length = [0; 4];
    if from.read(&mut length[..1]).await.map_err(WireError::Socket)? == 0 {
        return Ok(None);
    }
    let rest = async {
        from.read_exact(&mut length[1..]).await.map_err(|_| WireError::Half)?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(WireError::TooLarge(length));
        }
        // It grows with what comes: a claim costs nothing.
        let mut bytes = Vec::new();
        let read = from.take(length as u64).read_to_end(&mut bytes).await.map_err(WireError::Socket)?;
        if read < length { Err(WireError::Half) } else { Ok(bytes) }
    };
    let bytes = timeout(FRAME_DEADLINE, rest).await.map_err(|_| WireError::Half)??;
    match postcard::take_from_bytes(&bytes).map_err(WireError::Malformed)? {
        (message, []) => Ok(Some(message)),
        _ => Err(WireError::Malformed(postcard::Error::DeserializeBadEncoding)),
    }
}

/// Writes one message.
///
/// # Errors
/// [`WireError`]: it is too large, or nobody reads it.
pub async fn write<T: Serialize>(to: &mut (impl AsyncWrite + Unpin), message: &T) -> Result<(), WireError> {
    let bytes = postcard::to_stdvec(message).map_err(WireError::Malformed)?;
    let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= FRAME_BYTES_MAX);
    let length = length.ok_or(WireError::TooLarge(bytes.len()))?;
    let written = async {
        to.write_all(&length.to_le_bytes()).await?;
        to.write_all(&bytes).await?;
        to.flush().await
    };
    timeout(FRAME_DEADLINE, written).await.map_err(|_| WireError::Half)?.map_err(WireError::Socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_cross_and_what_is_no_frame_does_not() {
        let say = Say::Play { id: 7, subject: "files/a".parse().unwrap(), generation: 3 };
        let mut bytes = Vec::new();
        write(&mut bytes, &say).await.unwrap();
        let mut whole = bytes.as_slice();
        assert_eq!(read::<Say>(&mut whole).await.unwrap(), Some(say));
        assert!(read::<Say>(&mut whole).await.unwrap().is_none());
        for cut in 1..bytes.len() {
            assert!(matches!(read::<Say>(&mut &bytes[..cut]).await, Err(WireError::Half)), "{cut}");
        }
        let large = [u32::MAX.to_le_bytes().as_slice(), &[0; 64]].concat();
        assert!(matches!(read::<Say>(&mut large.as_slice()).await, Err(WireError::TooLarge(_))));
        let mut longer = bytes.clone();
        longer[0] += 1;
        longer.push(0);
        assert!(matches!(read::<Say>(&mut longer.as_slice()).await, Err(WireError::Malformed(_))));
        let unknown = [&[1_u8, 0, 0, 0][..], &[99]].concat();
        assert!(matches!(read::<Say>(&mut unknown.as_slice()).await, Err(WireError::Malformed(_))));
        let chunk = Say::Chunk { id: 0, bytes: vec![0; FRAME_BYTES_MAX].into() };
        assert!(matches!(write(&mut Vec::new(), &chunk).await, Err(WireError::TooLarge(_))));
    }
}
