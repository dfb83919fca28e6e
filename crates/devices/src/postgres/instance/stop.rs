//! The orderly stop, and the rungs of the fence ladder.

use std::time::Duration;

use failover::settings::Rung;
use failover::{LocalTime, Span};
use scores::DeviceError;
use scores::workload::Nudge;
use tokio::time::sleep;

use super::super::timeline::{Lsn, Place};
use super::super::tools::BRIEF;
use super::super::{clock, processes};
use super::Instance;
use super::begin::LOOK;

impl Instance {
    /// Stops it in order: its standbys hold all of it then. Tells where that ends.
    ///
    /// # Errors
    /// When it has not stopped in time.
    pub async fn stop(&self, by: LocalTime) -> Result<Place, DeviceError> {
        self.halt(by).await?;
        let control = self.control().await?;
        let doing = "find out where the log ends";
        if control.state != "shut down" {
            let why = format!("it says that it is `{}`", control.state);
            return Err(DeviceError::transient(doing).because(why));
        }
        // The log ends with the record of that checkpoint.
        let wal = self.layout().data().join("pg_wal").to_string_lossy().into_owned();
        let (timeline, from) = (control.timeline.to_string(), control.checkpoint.to_string());
        let args = ["-p", &wal, "-t", &timeline, "-s", &from, "-n", "1"];
        let text = self.tool(doing, "pg_waldump", &args, BRIEF).await?;
        let bytes = text.split_once("len (rec/tot):").and_then(|(_, rest)| rest.split(',').next()?.rsplit('/').next());
        let bytes: Option<u64> = bytes.and_then(|text| text.trim().parse().ok());
        let bytes = bytes.ok_or_else(|| DeviceError::transient(doing).because(format!("pg_waldump says {text}")))?;
        Ok(Place { timeline: control.timeline, lsn: end_of_record(control.checkpoint, bytes) })
    }

    /// Carries out one rung. Ok when it is verified that nothing of the instance runs. Nothing is written to a disk for it.
    ///
    /// # Errors
    /// Says what is left of it.
    pub async fn fence(&self, rung: &Rung, by: LocalTime) -> Result<(), String> {
        let text = |error: DeviceError| scores::chain(&error);
        match rung {
            Rung::Immediate => {
                if self.hold().is_running().await.map_err(text)? {
                    self.hold().signal(Nudge::Quit).await.map_err(text)?;
                }
            }
            Rung::Kill => {
                let killed = self.hold().kill().await;
                processes::kill(&self.layout().data());
                killed.map_err(text)?;
            }
            Rung::CutTraffic => {
                // What leads clients here is closed before the first rung. What is left is whatever runs still.
                let killed = self.hold().kill_hard().await;
                processes::kill(&self.layout().data());
                killed.map_err(text)?;
            }
            Rung::Action(name) => return Err(format!("there is no action `{name}` for a database")),
        }
        loop {
            let runs = self.hold().is_running().await.map_err(text)?;
            let left = processes::of(&self.layout().data()).len();
            if !runs && left == 0 {
                return Ok(());
            }
            if clock::now() + Span::from_millis(1) >= by {
                return Err(format!("{left} processes of it are left"));
            }
            sleep(LOOK.min(Duration::from_millis(5))).await;
        }
    }
}

/// Where the record that begins here ends, as PostgreSQL counts: records are aligned, and each page begins with a header.
fn end_of_record(begin: Lsn, bytes: u64) -> Lsn {
    let mut at = begin.0;
    let mut left = bytes;
    loop {
        let room = PAGE_BYTES - at % PAGE_BYTES;
        if left <= room {
            let end = at + left;
            return Lsn(end.div_ceil(ALIGNMENT) * ALIGNMENT);
        }
        left -= room;
        at += room;
        at += if at.is_multiple_of(SEGMENT_BYTES) { LONG_HEADER_BYTES } else { HEADER_BYTES };
    }
}

/// A page of the log.
const PAGE_BYTES: u64 = 8192;
/// A file of the log, as `initdb` makes it.
const SEGMENT_BYTES: u64 = 16 << 20;
/// The header of a page.
const HEADER_BYTES: u64 = 24;
/// The header of a file's first page.
const LONG_HEADER_BYTES: u64 = 40;
/// What records begin at multiples of.
const ALIGNMENT: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_end_where_postgresql_says() {
        let end = |begin: &str, bytes| end_of_record(begin.parse().unwrap(), bytes).to_string();
        assert_eq!(end("0/3000028", 114), "0/30000A0");
        // Across a page, and across a file.
        assert_eq!(end("0/3001FD0", 114), "0/3002060");
        assert_eq!(end("0/3FFFFD0", 114), "0/4000070");
        assert_eq!(end("0/3001F88", 114), "0/3002000");
    }
}
