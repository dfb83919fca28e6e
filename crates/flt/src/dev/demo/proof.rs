//! The ledger verified as anybody can, and a forged one refused.

use std::path::PathBuf;

use admin::view::LogRow;
use anyhow::{Context as _, ensure};
use protocols::{Name, SignedEntry, export};
use tokio::time::timeout;

use super::story::Told;
use super::{Demo, ENTRIES_MAX, EXPORT, FIRST, WITHIN};

impl Demo<'_> {
    /// Exports the ledger and verifies the file, knowing nothing but the fleet's id.
    pub(super) async fn verify(&mut self, nodes: &[Name]) -> anyhow::Result<PathBuf> {
        self.fleet.session.sync().await?;
        let entries = self.entries()?;
        let mut text = Vec::new();
        entries.iter().try_for_each(|entry| export::write_line(&mut text, entry))?;
        let file = self.dir.join(EXPORT);
        std::fs::write(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
        let read = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let state = export::verify_export(read.as_slice(), self.fleet.fleet).context("the export does not verify")?;
        for entry in &entries {
            self.tell(Told::Entry(LogRow::new(&entry.clone().verify()?, &state)))?;
        }
        let mut agree = Vec::new();
        for node in nodes {
            let agent = self.fleet.agents.get(node).with_context(|| format!("{node} does not run"))?;
            let mut states = agent.role.watch();
            let same = states.wait_for(|s| s.as_ref().is_some_and(|s| s.head() == state.head()));
            let own = timeout(WITHIN, same).await.with_context(|| format!("{node} has another ledger"))??.clone();
            let own = own.with_context(|| format!("{node} has no ledger"))?;
            ensure!(own.digest() == state.digest(), "{node} makes something else of the same ledger");
            agree.push(node.clone());
        }
        self.tell(Told::Verified {
            file: file.display().to_string(),
            entries: state.head().seq + 1,
            head: state.head().hash.to_string(),
            state: state.digest().to_string(),
            agree,
        })?;
        self.forge(&entries)?;
        Ok(file)
    }

    fn entries(&self) -> anyhow::Result<Vec<SignedEntry>> {
        let ledger = self.fleet.session.workspace().ledger(Some(self.fleet.fleet))?;
        let entries = ledger.range(0, ENTRIES_MAX, usize::MAX)?;
        ensure!(entries.len() < ENTRIES_MAX, "the ledger is longer than a demo's can be");
        Ok(entries)
    }

    /// Changes what the first publication says by one byte, and demands that the file is then refused.
    fn forge(&self, entries: &[SignedEntry]) -> anyhow::Result<()> {
        let mut text = Vec::new();
        let mut forged = None;
        for (at, entry) in entries.iter().enumerate() {
            let mut entry = entry.clone();
            let place = entry.bytes.windows(FIRST.len()).position(|part| part == FIRST.as_bytes());
            if let (None, Some(place)) = (forged, place) {
                let mut bytes = entry.bytes.to_vec();
                // `workers = 2` becomes `workers = 3`.
                bytes[place + FIRST.len() - 1] += 1;
                entry.bytes = bytes.into();
                forged = Some(u64::try_from(at)?);
            }
            export::write_line(&mut text, &entry)?;
        }
        let entry = forged.context("no entry of the ledger says what version 1 said")?;
        match export::verify_export(text.as_slice(), self.fleet.fleet) {
            Ok(_) => anyhow::bail!("a forged ledger was believed"),
            Err(error) => self.tell(Told::Forged { entry, refused: scores::chain(&error) }),
        }
    }
}
