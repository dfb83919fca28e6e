//! Questions: asked only where a person can answer, and never assumed.

use std::io::{BufRead as _, Read as _};

use anyhow::{Context as _, anyhow};
use zeroize::Zeroizing;

use super::{Output, stderr};
use crate::report::{Advise as _, Code};

impl Output {
    /// Lets a destructive command go on: the person types `name`, or `--yes` was given.
    ///
    /// # Errors
    /// If nobody can be asked and `yes` is false (exit code 2), or the answer is another one (exit code 1).
    pub(crate) fn confirm_name(&self, what: &str, name: &str, yes: bool) -> anyhow::Result<()> {
        if yes {
            return Ok(());
        }
        if !self.interactive {
            // Whoever reads the log should see what was not done.
            self.status(what);
        }
        let answer = self.ask(&format!("{what}\nType `{name}` to go on: "))?;
        if answer.trim() == name {
            return Ok(());
        }
        Err(anyhow!("not confirmed: nothing was changed"))
    }

    /// Asks for a passphrase without showing it. Nothing if nobody can be asked.
    pub(crate) fn passphrase(&self, prompt: &str) -> Option<Zeroizing<String>> {
        if !self.is_interactive() {
            return None;
        }
        rpassword::prompt_password(prompt).ok().map(Zeroizing::new)
    }

    /// Asks for a new passphrase, twice.
    ///
    /// # Errors
    /// If nobody can be asked (exit code 2), or the two differ.
    pub(crate) fn new_passphrase(&self) -> anyhow::Result<Zeroizing<String>> {
        let Some(first) = self.passphrase("New passphrase: ") else {
            return Err(anyhow!("a new key is to be encrypted, and there is no terminal to ask for its passphrase on"))
                .hint("put the passphrase into a file: --passphrase-file FILE")
                .code(Code::Usage);
        };
        if first.is_empty() {
            return Err(anyhow!("the passphrase is empty: it would protect nothing"));
        }
        if self.passphrase("The same again: ").as_ref() != Some(&first) {
            return Err(anyhow!("the two passphrases differ: nothing was written"));
        }
        Ok(first)
    }

    fn ask(&self, question: &str) -> anyhow::Result<String> {
        if !self.is_interactive() {
            return Err(anyhow!("this needs a confirmation, and there is no terminal to ask on"))
                .hint("add --yes if you mean it")
                .code(Code::Usage);
        }
        stderr(question);
        let mut answer = String::new();
        let mut bounded = std::io::stdin().lock().take(ANSWER_BYTES_MAX);
        bounded.read_line(&mut answer).context("cannot read the answer")?;
        Ok(answer)
    }
}

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 1024;
