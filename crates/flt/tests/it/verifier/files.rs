//! Whole files: sound ones, damaged ones, and ones that were tampered with.

use super::{Bed, FleetId, Path, PathBuf, Program, SCRIPTS, line, python, random, runs, seed, verifier, verify_export};

/// Judges every file of a folder in one process.
const EACH: &str = "
import importlib.util, os, sys
sys.path.insert(0, os.path.dirname(sys.argv[1]))
spec = importlib.util.spec_from_file_location('verify_ledger', sys.argv[1])
ledger = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ledger)
for n in range(len(os.listdir(sys.argv[2]))):
    with open(os.path.join(sys.argv[2], str(n)), 'rb') as file:
        try:
            print('ok', ledger.verify(file, sys.argv[3]).digest())
        except ledger.Refused as why:
            print('no', ascii(str(why)))
";

/// A small ledger: the lines of its file.
fn small() -> (FleetId, Vec<Vec<u8>>) {
    let run = runs(5, 1, 30, 0).remove(0);
    (run.state.fleet(), run.accepted.iter().take(5).map(line).collect())
}

#[test]
fn both_agree_on_every_damaged_file() {
    let Some(python) = python("the verifier on damaged files") else { return };
    let (fleet, lines) = small();
    let other: Vec<u8> = line(&random::genesis(&mut random::Random(99)));
    let whole = lines.concat();
    let mut files: Vec<Vec<u8>> = vec![
        whole.clone(),
        Vec::new(),
        b"\n".to_vec(),
        lines[1..].concat(),
        [&lines[0][..], &lines[2]].concat(),
        [&lines[0][..], &lines[2], &lines[1]].concat(),
        [&lines[0][..], &lines[1], &lines[1]].concat(),
        [&lines[0][..], &lines[0]].concat(),
        [&other[..], &lines[1]].concat(),
        other,
        [b"\xef\xbb\xbf", &whole[..]].concat(),
        [&whole[..], b"\n"].concat(),
        [&whole[..], b"{}\n"].concat(),
        [&whole[..], b"[\"\",\"\"]\n"].concat(),
        [&whole[..], &vec![b'x'; protocols::export::LINE_BYTES_MAX + 1]].concat(),
        [&whole[..], b"{\"entry\":\"", &vec![b'A'; protocols::export::LINE_BYTES_MAX], b"\"}\n"].concat(),
        [&whole[..], &vec![b'['; 200_000], b"\n"].concat(),
        String::from_utf8(whole.clone()).unwrap().replace('\n', "\r\n").into_bytes(),
        String::from_utf8(whole.clone()).unwrap().replacen("\"entry\":", "\"entry\":\"\",\"entry\":", 1).into_bytes(),
        String::from_utf8(whole.clone()).unwrap().replacen("\"entry\":", " \"\\u0065ntry\" : ", 1).into_bytes(),
        String::from_utf8(whole.clone()).unwrap().replacen("==\"", "\"", 1).into_bytes(),
    ];
    // Cut anywhere, and any one byte another: of each line, so of each sort of byte.
    files.extend((0..whole.len()).step_by(37).map(|at| whole[..at].to_vec()));
    for (at, with) in (0..whole.len()).step_by(11).zip((0..=255u8).cycle().step_by(7)) {
        let mut altered = whole.clone();
        altered[at] = if altered[at] == with { with ^ 1 } else { with };
        files.push(altered);
    }
    let dir = tempfile::tempdir().unwrap();
    for (n, file) in files.iter().enumerate() {
        std::fs::write(dir.path().join(n.to_string()), file).unwrap();
    }
    let words = ["-c", EACH, &format!("{SCRIPTS}/verify-ledger.py"), dir.path().to_str().unwrap(), &fleet.to_string()];
    let judged = Program::new(python.to_str().unwrap()).args(words).limit(super::LIMIT).ok();
    let judged: Vec<&str> = judged.lines().collect();
    assert_eq!(judged.len(), files.len());
    let mut sound = 0;
    for (n, (file, judged)) in files.iter().zip(judged).enumerate() {
        let same = match verify_export(&file[..], fleet) {
            Ok(state) => judged == format!("ok {}", state.digest()),
            Err(_) => judged.starts_with("no "),
        };
        sound += u32::from(judged.starts_with("ok"));
        assert!(
            same,
            "file {n}: {judged}\n{:?}\n{}",
            verify_export(&file[..], fleet).err(),
            String::from_utf8_lossy(file)
        );
    }
    assert!(
        (3..60).contains(&sound),
        "{sound} of {} are sound: whole, cut between lines, spelled otherwise",
        files.len()
    );
}

fn written(lines: &[Vec<u8>]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.ledger");
    std::fs::write(&file, lines.concat()).unwrap();
    (dir, file)
}

#[test]
fn a_defect_has_its_line_and_no_traceback() {
    let Some(python) = python("the verifier's messages") else { return };
    let (fleet, mut lines) = small();
    let fails = |file: &Path, fleet: &str, says: &str| {
        let output = verifier(&python).arg(file.to_str().unwrap()).args(["--fleet", fleet]).run().expect(1);
        assert!(output.stderr.contains(says) && !output.stderr.contains("Traceback"), "{says}: {}", output.stderr);
        assert!(output.stdout.is_empty(), "{}", output.stdout);
    };
    let (_dir, file) = written(&lines);
    fails(&file, &"0".repeat(64), "and 0000000000");
    fails(&file, "12", "64 hex digits");
    fails(&file.with_extension("none"), &fleet.to_string(), "No such file");
    let kept = lines.remove(2);
    let (_dir, file) = written(&lines);
    fails(&file, &fleet.to_string(), "line 3: the entry does not follow entry 1");
    lines.insert(2, b"\x80\n".to_vec());
    let (_dir, file) = written(&lines);
    fails(&file, &fleet.to_string(), "line 3: it is not JSON");
    lines[2] = kept[..kept.len() - 1].to_vec();
    lines.truncate(3);
    let (_dir, file) = written(&lines);
    fails(&file, &fleet.to_string(), "line 3: it ends without a line break");
    let (_dir, file) = written(&[]);
    fails(&file, &fleet.to_string(), "is empty");
}

#[test]
fn flt_and_the_verifier_give_the_same_account_of_a_file() {
    let Some(python) = python("the verifier on a long ledger") else { return };
    for run in runs(seed() ^ 2, 3, 400, 0) {
        let (_dir, file) = written(&run.accepted.iter().map(line).collect::<Vec<_>>());
        same_account(&python, &file, run.state.fleet(), run.accepted.len());
        let printed = verifier(&python).arg(file.to_str().unwrap());
        let printed = printed.args(["--fleet", &run.state.fleet().to_string(), "--state"]).ok();
        assert_eq!(printed, serde_json::to_string(&run.state).unwrap() + "\n", "to the letter");
    }
}

#[test]
fn a_ledger_of_a_running_fleet_verifies() {
    let Some(python) = python("the verifier on a fleet's ledger") else { return };
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    drop(bed.invite());
    drop(bed.invite());
    bed.admin(["log", "--export", "acme.ledger"]).ok();
    let log = bed.json(["log"]);
    let entries = log["entries"].as_array().unwrap();
    let fleet: FleetId = log["fleet"].as_str().unwrap().parse().unwrap();
    let file = bed.path().join("acme.ledger");
    same_account(&python, &file, fleet, entries.len());
    let printed = verifier(&python).arg(file.to_str().unwrap()).args(["--fleet", &fleet.to_string(), "--log"]).ok();
    for (line, entry) in printed.lines().zip(entries) {
        let (seq, verb) = (&entry["seq"], entry["verb"].as_str().unwrap());
        assert!(line.starts_with(&format!("{seq} 20")) && line.contains(&format!(" alice {verb}")), "{line}\n{entry}");
    }
    assert_eq!(printed.lines().count(), entries.len() + 1);
}

/// `flt admin verify` and the verifier agree on how many entries there are, which is the newest, and on the state.
fn same_account(python: &Path, file: &Path, fleet: FleetId, entries: usize) {
    let file = file.to_str().unwrap();
    let account = Program::flt().args(["--json", "admin", "verify", file, "--fleet", &fleet.to_string()]).ok();
    let account: serde_json::Value = serde_json::from_str(&account).unwrap();
    assert_eq!(account["entries"], entries, "{account}");
    let said = verifier(python).args([file, "--fleet", &fleet.to_string()]).ok();
    let (head, state) = (account["head"].as_str().unwrap(), account["state"].as_str().unwrap());
    assert!(said.starts_with(&format!("ok: {entries} entries of the fleet ")), "{said}");
    assert!(said.contains(head) && said.trim_end().ends_with(state), "{said}\n{account}");
}
