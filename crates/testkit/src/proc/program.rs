//! What to run, and what it answered.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;

use super::{Proc, follow, log_files, show};
use crate::wait::DEADLINE;
use crate::{Namespace, Undo};

/// A program with its arguments and surroundings: [`Program::run`] it to its end, or [`Program::spawn`] it.
#[derive(Debug, Clone)]
pub struct Program {
    /// Programs that start the one that is meant: a namespace, a machine.
    within: Vec<OsString>,
    path: OsString,
    arguments: Vec<OsString>,
    environment: BTreeMap<OsString, Option<OsString>>,
    folder: Option<PathBuf>,
    input: Vec<u8>,
    name: String,
    limit: Duration,
}

impl Program {
    /// A program by its path, or by its name if it is in the search path.
    pub fn new(path: impl AsRef<OsStr>) -> Self {
        let path = path.as_ref().to_owned();
        let name = Path::new(&path).file_name().unwrap_or(&path).to_string_lossy().into_owned();
        Self {
            within: Vec::new(),
            path,
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            folder: None,
            input: Vec::new(),
            name,
            limit: DEADLINE,
        }
    }

    /// The `flt` that was built with these tests ([`flt_binary`]).
    #[track_caller]
    pub fn flt() -> Self {
        Self::new(flt_binary())
    }

    /// The name it has in messages, else that of its file.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// One more argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// More arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets a variable of its environment, which is else that of the test.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.insert(key.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        self
    }

    /// Takes a variable out of its environment.
    pub fn without_env(mut self, key: impl AsRef<OsStr>) -> Self {
        self.environment.insert(key.as_ref().to_owned(), None);
        self
    }

    /// The folder it runs in, else that of the test.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// What it reads from its standard input, else nothing.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// How long [`Program::run`] lets it run, else [`DEADLINE`].
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it in a network namespace.
    pub fn in_namespace(self, namespace: &Namespace) -> Self {
        let wrapper = ["ip", "netns", "exec", namespace.name()].map(OsString::from);
        self.within(wrapper)
    }

    /// Runs it by means of another program, which gets it and its arguments as its last arguments.
    pub(crate) fn within(mut self, wrapper: impl IntoIterator<Item = OsString>) -> Self {
        self.within = wrapper.into_iter().chain(std::mem::take(&mut self.within)).collect();
        self
    }

    /// The name it has in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs it to its end and gives what it answered, whatever that is; panics when it does not end in time.
    #[track_caller]
    pub fn run(&self) -> Output {
        match crate::command::bounded(&mut self.command(), &self.input, self.limit) {
            Ok(answer) => Output::new(&self.name, answer.status, answer.stdout, answer.stderr),
            Err(error) => panic!("{} could not be run: {error}", self.shown()),
        }
    }

    /// Runs it, panics unless it succeeds, and gives its standard output.
    #[track_caller]
    pub fn ok(&self) -> String {
        self.run().ok()
    }

    /// Starts it and lets it run.
    #[track_caller]
    pub fn spawn(self) -> Proc {
        let (logs, child) =
            self.start().unwrap_or_else(|error| panic!("{} could not be started: {error}", self.shown()));
        let pid = child.id();
        // Between here and the line above a kill of the test leaves a process behind: it cannot be named earlier.
        let undo = Undo::later(&kill_script(pid));
        if std::env::var_os("FLT_TEST_TAIL").is_some_and(|value| value == "1") {
            let (name, logs) = (self.name.clone(), logs.path().to_owned());
            std::thread::spawn(move || follow(name, pid, logs));
        }
        Proc { program: self, child: Mutex::new(child), pid, logs, undo: Some(undo) }
    }

    fn start(&self) -> std::io::Result<(TempDir, Child)> {
        let logs = tempfile::Builder::new().prefix("flotilla-testkit-").tempdir()?;
        let (stdout, stderr) = log_files(logs.path())?;
        let stdin = if self.input.is_empty() {
            Stdio::null()
        } else {
            let file = logs.path().join("stdin");
            std::fs::write(&file, &self.input)?;
            std::fs::File::open(file)?.into()
        };
        let child = self.command().stdin(stdin).stdout(stdout).stderr(stderr).process_group(0).spawn()?;
        Ok((logs, child))
    }

    fn command(&self) -> Command {
        let mut words = self.within.iter().chain([&self.path]).chain(&self.arguments);
        let first = words.next().unwrap_or(&self.path);
        let found = first.to_str().filter(|name| !name.contains('/')).and_then(crate::gate::find);
        let mut command = Command::new(found.unwrap_or_else(|| first.into()));
        command.args(words);
        for (key, value) in &self.environment {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }

    fn shown(&self) -> String {
        let words = self.within.iter().chain([&self.path]).chain(&self.arguments);
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        format!("{} (`{}`)", self.name, words.join(" "))
    }
}

/// What a program answered.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that killed it, if one did.
    pub signal: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    name: String,
}

impl Output {
    pub(super) fn new(name: &str, status: ExitStatus, stdout: String, stderr: String) -> Self {
        Self { code: status.code(), signal: status.signal(), stdout, stderr, name: name.to_owned() }
    }

    /// Whether it ended with exit code 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Its standard output; panics with both streams unless it succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        self.expect(0).stdout
    }

    /// Itself; panics with both streams unless it ended with this exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert!(
            self.code == Some(code),
            "{} ended with code {:?}, signal {:?}, instead of code {code}{}",
            self.name,
            self.code,
            self.signal,
            show(&self.stdout, &self.stderr)
        );
        self
    }
}

/// The `flt` binary: `FLT_BIN`, or what cargo or nextest name to tests of its package, or the one beside this test's
/// binary, `target/<profile>/flt`. Panics when there is none.
#[track_caller]
pub fn flt_binary() -> PathBuf {
    for variable in ["FLT_BIN", "CARGO_BIN_EXE_flt", "NEXTEST_BIN_EXE_flt"] {
        if let Some(path) = std::env::var_os(variable).map(PathBuf::from) {
            assert!(path.is_file(), "{variable} names {}, which is no file", path.display());
            return path;
        }
    }
    let test = std::env::current_exe().unwrap_or_default();
    let beside = test.ancestors().skip(1).take(2).map(|folder| folder.join("flt")).find(|file| file.is_file());
    beside.unwrap_or_else(|| panic!("there is no flt beside {}; build it first: cargo build -p flt", test.display()))
}

/// Kills a process group, unless its number belongs to another process by then.
fn kill_script(pid: u32) -> String {
    let started = crate::undo::started(pid).unwrap_or_default();
    format!(
        "[ ! -e /proc/{pid} ] || [ \"$(sed 's/.*) //' /proc/{pid}/stat | cut -d' ' -f20)\" = '{started}' ] || exit 0\n\
         kill -9 -{pid} 2>/dev/null\ntrue\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_with_what_it_is_given() {
        let program = Program::new("sh").args(["-c", "cat; echo \"$A-${HOME:-none}\" >&2; exit 3"]).input("in");
        let output = program.env("A", "a").without_env("HOME").run().expect(3);
        assert_eq!((output.stdout.as_str(), output.stderr.trim()), ("in", "a-none"));
        assert!(!output.success());
    }

    #[test]
    #[should_panic(expected = "instead of code 0\n--- stdout\nout\n--- stderr\nerr")]
    fn failure_shows_both_streams() {
        Program::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]).ok();
    }

    #[test]
    fn the_script_spares_a_process_that_started_later() {
        let sleeping = Program::new("sleep").arg("600").spawn();
        let script = kill_script(sleeping.pid());
        let other = script.replace(&format!("'{}'", crate::undo::started(sleeping.pid()).unwrap()), "'1'");
        Program::new("sh").args(["-c", &other]).ok();
        assert!(sleeping.is_running());
        Program::new("sh").args(["-c", &script]).ok();
        crate::until("its death", DEADLINE, || !sleeping.is_running());
    }
}
