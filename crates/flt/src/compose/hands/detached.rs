//! Checks that run outside of the unit that asks for them: what an admin signed runs as it would without the unit's bonds.

use std::sync::Arc;

use protocols::Check;
use scores::{BoxFuture, CheckFailed, Checks, Stage};

/// Runs programs in transient units of systemd's, and anything else as before.
pub(super) struct Detached {
    checks: Arc<dyn Checks>,
    path: String,
}

impl Detached {
    /// Programs are found in, and given, this search path.
    pub(super) fn new(checks: Arc<dyn Checks>, path: String) -> Self {
        Self { checks, path }
    }
}

impl Checks for Detached {
    fn run<'a>(&'a self, check: &'a Check, stage: &'a dyn Stage) -> BoxFuture<'a, Result<(), CheckFailed>> {
        Box::pin(async move {
            let Check::Exec { command, seconds } = check else { return self.checks.run(check, stage).await };
            let detached = Check::Exec { command: detached(command, *seconds, &self.path), seconds: *seconds };
            // What is said of it names the check that was signed.
            self.checks.run(&detached, stage).await.map_err(|failed| CheckFailed::new(check, failed.why))
        })
    }
}

/// The words before a program's that have systemd run it, wait for it, and end as it did.
pub(super) fn outside(path: &str) -> Vec<String> {
    detached(&[], PROGRAM_SECONDS, path)
}

/// How long a program may take that sets the network, in seconds.
const PROGRAM_SECONDS: u32 = 120;

/// A command that has systemd run another one, waits for it, and ends as it did.
fn detached(command: &[String], seconds: u32, path: &str) -> Vec<String> {
    let flags = ["systemd-run", "--quiet", "--collect", "--wait", "--pipe", "--no-ask-password", "--service-type=exec"];
    let mut all: Vec<String> = flags.map(str::to_owned).into();
    // The unit outlives whoever waits for it, but not its time.
    all.push(format!("--property=RuntimeMaxSec={seconds}"));
    all.extend(["--working-directory=/".to_owned(), "--setenv=LC_ALL=C".to_owned(), format!("--setenv=PATH={path}")]);
    all.push("--".to_owned());
    // systemd expands variables in a unit's words.
    all.extend(command.iter().map(|word| word.replace('$', "$$")));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_program_as_they_were_signed() {
        let words = detached(&["sh".into(), "-c".into(), "echo $HOME %n".into()], 7, "/bin");
        let at = words.iter().position(|word| word == "--").unwrap();
        assert_eq!(words[at + 1..], ["sh", "-c", "echo $$HOME %n"]);
        assert!(words[..at].contains(&"--property=RuntimeMaxSec=7".to_owned()));
    }
}
