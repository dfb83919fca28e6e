//! Runs the tools of the host, briefly and with a message when they fail.

use std::io::{Read, Seek, SeekFrom, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{fs::File, io};

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a tool of the host that must succeed, and gives what it printed.
#[track_caller]
pub(crate) fn tool(program: &str, arguments: &[&str]) -> String {
    tool_with(program, arguments, "")
}

/// [`tool`] with text for its standard input.
#[track_caller]
pub(crate) fn tool_with(program: &str, arguments: &[&str], input: &str) -> String {
    let shown = format!("{program} {}", arguments.join(" "));
    let path = crate::gate::find(program).unwrap_or_else(|| program.into());
    let mut command = Command::new(path);
    command.args(arguments);
    match bounded(&mut command, input.as_bytes(), TOOL_LIMIT) {
        Ok(answer) if answer.status.success() => answer.stdout,
        Ok(answer) => panic!("`{shown}` failed with {}: {}\n{input}", answer.status, answer.stderr.trim()),
        Err(error) => panic!("`{shown}` could not be run: {error}"),
    }
}

/// Runs a command to its end, or kills its whole process group when the time is over.
///
/// The streams go through files, so that nothing blocks on a pipe that a grandchild keeps open.
pub(crate) fn bounded(command: &mut Command, input: &[u8], limit: Duration) -> io::Result<Answer> {
    use std::os::unix::process::CommandExt;

    let (mut stdout, mut stderr, mut stdin) = (tempfile::tempfile()?, tempfile::tempfile()?, tempfile::tempfile()?);
    stdin.write_all(input)?;
    stdin.seek(SeekFrom::Start(0))?;
    command.stdin(stdin).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).process_group(0);
    let mut child = command.spawn()?;
    // The command holds the files too and may live on; the clones are for the child alone.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let mut pause = Duration::from_micros(200);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() > limit {
            crate::proc::kill_group(child.id(), rustix::process::Signal::KILL);
            child.wait()?;
            let (out, err) = (read(&mut stdout)?, read(&mut stderr)?);
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("it was not done after {limit:?}; it had printed {out:?} and {err:?}"),
            ));
        }
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(Duration::from_millis(20));
    };
    Ok(Answer { status, stdout: read(&mut stdout)?, stderr: read(&mut stderr)? })
}

/// The text of a stream, its end only where it is very long.
pub(crate) fn read(file: &mut File) -> io::Result<String> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(STREAM_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.take(STREAM_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// How long a tool of the host may take.
const TOOL_LIMIT: Duration = Duration::from_secs(60);
/// How much of a stream is given, in bytes.
const STREAM_BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_hangs_is_killed_with_its_children() {
        let begun = Instant::now();
        let error = bounded(
            Command::new("sh").args(["-c", "echo begun; sleep 600 & sleep 600"]),
            b"",
            Duration::from_millis(300),
        )
        .unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert!(error.to_string().contains("begun"), "{error}");
    }

    #[test]
    fn a_command_gets_its_input() {
        let answer = bounded(&mut Command::new("cat"), b"in", Duration::from_secs(30)).unwrap();
        assert_eq!((answer.stdout.as_str(), answer.status.success()), ("in", true));
    }
}
