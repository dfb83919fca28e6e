//! The ledger as a file: one JSON object a line, for whoever wants to verify it without us.
//!
//! A line is `{"entry": "<base64 of the entry's bytes>", "signature": "<hex>"}`; `docs/ledger-format.md` says the rest.

use std::io::{self, BufRead, Read as _, Write};

use serde::{Deserialize, Serialize};

use crate::entry::{ENTRY_BYTES_MAX, SignedEntry, VerifyError};
use crate::ids::FleetId;
use crate::key::Signature;
use crate::state::{FleetState, Refusal};

/// The longest line, in bytes: the largest entry in base64, its signature and the names around them.
pub const LINE_BYTES_MAX: usize = ENTRY_BYTES_MAX / 3 * 4 + 1024;

/// Why a file is no sound ledger.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It cannot be read.
    #[error("cannot read line {line} of the exported ledger")]
    Read {
        /// The line, from 1.
        line: u64,
        /// What the system said.
        source: io::Error,
    },
    /// A line is longer than any entry.
    #[error("line {line} is longer than {LINE_BYTES_MAX} bytes, and so no entry")]
    TooLong {
        /// The line.
        line: u64,
    },
    /// The file ends in the middle of a line.
    #[error("line {line} ends without a line break: the file is cut short")]
    Cut {
        /// The line.
        line: u64,
    },
    /// A line is not what it should be.
    #[error("line {line} is not an exported entry")]
    Malformed {
        /// The line.
        line: u64,
        /// What was found.
        source: serde_json::Error,
    },
    /// The entry is not base64.
    #[error("line {line}: the entry is not base64")]
    Base64 {
        /// The line.
        line: u64,
        /// What was found.
        source: data_encoding::DecodeError,
    },
    /// The entry is not its author's.
    #[error("line {line}: the entry does not verify")]
    Verify {
        /// The line.
        line: u64,
        /// Why.
        source: VerifyError,
    },
    /// The entry may not stand there.
    #[error("line {line}: the entry may not follow those before it")]
    Refused {
        /// The line.
        line: u64,
        /// Why.
        source: Refusal,
    },
    /// The first entry founds another fleet.
    #[error("this is the ledger of fleet {found}, not of fleet {expected}")]
    OtherFleet {
        /// Whose it is.
        found: FleetId,
        /// Whose it should be.
        expected: FleetId,
    },
    /// There is nothing in it.
    #[error("the exported ledger is empty")]
    Empty,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    entry: String,
    signature: Signature,
}

/// Writes one entry as one line.
///
/// # Errors
/// What the writer says.
pub fn write_line(out: &mut impl Write, entry: &SignedEntry) -> io::Result<()> {
    let line = Line { entry: data_encoding::BASE64.encode(&entry.bytes), signature: entry.signature };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

/// The entries of an exported ledger, one by one, not verified yet. It ends after the first error.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    line: u64,
    ended: bool,
}

/// Reads an exported ledger.
pub const fn read<R: BufRead>(reader: R) -> Lines<R> {
    Lines { reader, line: 0, ended: false }
}

/// Reads and verifies a whole exported ledger of a fleet, without any other knowledge than the fleet's id.
///
/// # Errors
/// [`ExportError`], with the line.
pub fn verify_export(reader: impl BufRead, fleet: FleetId) -> Result<FleetState, ExportError> {
    let mut state: Option<FleetState> = None;
    for (line, signed) in (1..).zip(read(reader)) {
        let verified = signed?.verify().map_err(|source| ExportError::Verify { line, source })?;
        let refused = |source| ExportError::Refused { line, source };
        match &mut state {
            Some(state) => state.apply(&verified).map_err(refused)?,
            None => {
                let first = FleetState::found(&verified).map_err(refused)?;
                if first.fleet() != fleet {
                    return Err(ExportError::OtherFleet { found: first.fleet(), expected: fleet });
                }
                state = Some(first);
            }
        }
    }
    state.ok_or(ExportError::Empty)
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<SignedEntry, ExportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        self.line += 1;
        let next = self.read_line().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl<R: BufRead> Lines<R> {
    fn read_line(&mut self) -> Result<Option<SignedEntry>, ExportError> {
        let line = self.line;
        let mut text = Vec::new();
        let mut bounded = (&mut self.reader).take(LINE_BYTES_MAX as u64 + 1);
        bounded.read_until(b'\n', &mut text).map_err(|source| ExportError::Read { line, source })?;
        if text.is_empty() {
            return Ok(None);
        }
        if text.len() > LINE_BYTES_MAX {
            return Err(ExportError::TooLong { line });
        }
        if text.pop() != Some(b'\n') {
            return Err(ExportError::Cut { line });
        }
        let parsed: Line = serde_json::from_slice(&text).map_err(|source| ExportError::Malformed { line, source })?;
        let bytes = data_encoding::BASE64.decode(parsed.entry.as_bytes());
        let bytes = bytes.map_err(|source| ExportError::Base64 { line, source })?;
        Ok(Some(SignedEntry { bytes: bytes.into(), signature: parsed.signature }))
    }
}
