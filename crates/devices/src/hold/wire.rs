//! What the agent asks of the supervisor: one question on each connection, framed by its length in four bytes.

use std::io;
use std::time::Duration;

use failover::LocalTime;
use scores::workload::{HookEnd, Nudge, Program};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Ends everything at this instant; never, if it is [`LocalTime::NEVER`].
    Arm(LocalTime),
    /// Starts the main program, if it is not yet this instant, and if an end is armed unless the instant is never.
    Run(Program, LocalTime),
    /// Runs a program to its end; ended when the connection is.
    Hook(Program, Duration),
    /// Sends the main program a signal.
    Signal(Nudge),
    /// Whether the main program runs.
    State,
    /// Answered when the main program has ended.
    Ended,
    /// Answered when the instant came, and everything was ended.
    Bitten,
    /// Ends everything.
    Kill,
    /// Ends everything, then the supervisor.
    Quit,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Done, and verified where that was asked.
    Done,
    /// Not done, and why.
    Failed(String),
    /// Whether the main program runs.
    Running(bool),
    /// Why the main program has ended.
    Ended(String),
    /// How the hook ended.
    Hook(HookEnd),
}

/// Reads a frame; nothing at the end of the connection.
pub(super) async fn read<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    postcard::from_bytes(&frame).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Writes a frame.
pub(super) async fn write<T: Serialize + Sync>(stream: &mut UnixStream, value: &T) -> io::Result<()> {
    let bytes = postcard::to_stdvec(value).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    stream.write_all(&[&length[..], &bytes].concat()).await
}

/// The largest frame, in bytes.
const FRAME_BYTES_MAX: usize = 256 * 1024;
/// How long a connection may take to say what it wants.
pub(super) const ASK_DEADLINE: Duration = Duration::from_secs(5);
