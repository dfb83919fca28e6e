//! Whether there is room for what is written: in the folder of the tables, in each tablespace, and for the log.
//!
//! A log that finds no room ends the instance, and then another takes over. Tables that find none do not: statements that
//! need more fail, all others go on, and a standby on a disk of the same size is as full. So this is told, and it is for a
//! person to make room or to switch over to a candidate that has some.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant as Moment;

use super::Instance;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Room {
    looked: Option<Moment>,
    /// A disk that does not answer is asked once.
    looking: bool,
    lack: Option<String>,
}

impl Instance {
    /// Looks, unless it has done so lately. Nobody waits for it.
    pub(super) fn look_for_room(&self) {
        let mut room = lock(&self.room);
        if room.looking || room.looked.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        (room.looking, room.looked) = (true, Some(Moment::now()));
        drop(room);
        let (room, data, setup) = (Arc::clone(&self.room), self.layout().data(), self.setup());
        tokio::task::spawn_blocking(move || {
            let found = lack(&data);
            let mut room = lock(&room);
            let cluster = &setup.score.name;
            match (&room.lack, &found) {
                (None, Some(lack)) => tracing::warn!(%cluster, lack, "PostgreSQL has little room left"),
                (Some(_), None) => tracing::info!(%cluster, "PostgreSQL has room again"),
                _ => {}
            }
            (room.looking, room.lack) = (false, found);
        });
    }

    /// What there is too little room for, if there is.
    pub(super) fn lacks_room(&self) -> Option<String> {
        lock(&self.room).lack.clone()
    }
}

fn lock(room: &Mutex<Room>) -> MutexGuard<'_, Room> {
    room.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What there is too little room for, said to a person.
fn lack(data: &Path) -> Option<String> {
    let mut lacking: BTreeMap<u64, (PathBuf, u64, Vec<String>)> = BTreeMap::new();
    for (what, place) in places(data) {
        let (Ok(found), Ok(there)) = (rustix::fs::statvfs(&place), std::fs::metadata(&place)) else { continue };
        // What the account may use: some is kept for root.
        let bytes = found.f_bavail.saturating_mul(found.f_frsize);
        if bytes < LEAST_BYTES {
            // Of one file system it is said once.
            let place = std::fs::canonicalize(&place).unwrap_or(place);
            lacking.entry(there.dev()).or_insert_with(|| (place, bytes, Vec::new())).2.push(what);
        }
    }
    let told = lacking.into_values().map(|(place, bytes, what)| {
        let (what, place) = (what.join(" and "), place.display());
        match bytes {
            ..PAGE_BYTES => format!("NO ROOM for {what} to grow: {place} is full"),
            _ => format!("{} MB left for {what} in {place}", bytes.div_ceil(1_000_000)),
        }
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// Where an instance writes.
fn places(data: &Path) -> Vec<(String, PathBuf)> {
    let mut places = vec![("its tables".to_owned(), data.join("base")), ("its log".to_owned(), data.join("pg_wal"))];
    let spaces = std::fs::read_dir(data.join("pg_tblspc")).into_iter().flatten().flatten();
    let spaces = spaces.take(SPACES_MAX).map(|space| ("a tablespace".to_owned(), space.path()));
    places.extend(spaces);
    places
}

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(5);
/// Less room than this is told, in bytes: a few files of the log.
const LEAST_BYTES: u64 = 64 << 20;
/// Less than this is no room: a page of a table, in bytes.
const PAGE_BYTES: u64 = 8192;
/// How many tablespaces are looked at.
const SPACES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_looked_at_and_what_is_not_there_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        assert_eq!(lack(&data), None);
        for name in ["base", "pg_wal", "pg_tblspc", "space"] {
            std::fs::create_dir_all(data.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(data.join("space"), data.join("pg_tblspc/16384")).unwrap();
        std::os::unix::fs::symlink(data.join("lost"), data.join("pg_tblspc/16385")).unwrap();
        let found: Vec<PathBuf> = places(&data).into_iter().map(|(_, place)| place).collect();
        assert!(found.contains(&data.join("base")) && found.contains(&data.join("pg_wal")));
        assert!(found.contains(&data.join("pg_tblspc/16384")) && found.len() == 4);
    }
}
