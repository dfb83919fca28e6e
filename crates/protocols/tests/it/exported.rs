//! `flt admin log --export` and `flt admin verify`: a ledger as a file.

use protocols::export::{ExportError, LINE_BYTES_MAX, read, verify_export, write_line};
use protocols::{FleetId, Head, SignedEntry};

use crate::fleet::{enroll, genesis, next};

fn file() -> (FleetId, Vec<SignedEntry>, Vec<u8>) {
    let (fleet, first) = genesis();
    let mut chain = vec![first];
    for n in 10..14 {
        let last = chain.last().unwrap();
        let head = Head { seq: chain.len() as u64 - 1, hash: last.hash() };
        chain.push(next(fleet, head, enroll(n)));
    }
    let mut out = Vec::new();
    for entry in &chain {
        write_line(&mut out, entry).unwrap();
    }
    (fleet, chain, out)
}

#[test]
fn an_exported_ledger_verifies_with_the_fleet_id_alone() {
    let (fleet, chain, file) = file();
    assert_eq!(read(&file[..]).collect::<Result<Vec<_>, _>>().unwrap(), chain);
    let state = verify_export(&file[..], fleet).unwrap();
    assert_eq!((state.head().seq, state.head().hash), (4, chain[4].hash()));
    assert!(matches!(verify_export(&file[..], FleetId::from_bytes([0; 32])), Err(ExportError::OtherFleet { .. })));
    assert!(matches!(verify_export(&b""[..], fleet), Err(ExportError::Empty)));
}

#[test]
fn every_defect_is_named_with_its_line() {
    let (fleet, _, file) = file();
    let lines: Vec<&[u8]> = file.split_inclusive(|b| *b == b'\n').collect();
    let fails = |lines: &[&[u8]]| verify_export(&lines.concat()[..], fleet).unwrap_err();
    assert!(matches!(fails(&[lines[0], lines[2]]), ExportError::Refused { line: 2, .. }), "left out");
    assert!(matches!(fails(&[lines[0], lines[2], lines[1]]), ExportError::Refused { line: 2, .. }), "swapped");
    assert!(matches!(fails(&lines[1..]), ExportError::Refused { line: 1, .. }), "beheaded");
    assert!(matches!(fails(&[lines[0], &lines[1][..90]]), ExportError::Cut { line: 2 }));
    assert!(matches!(fails(&[lines[0], b"{}\n"]), ExportError::Malformed { line: 2, .. }));
    assert!(matches!(fails(&[lines[0], b"\n"]), ExportError::Malformed { line: 2, .. }));
    let long = vec![b'x'; LINE_BYTES_MAX + 1];
    assert!(matches!(fails(&[lines[0], &long]), ExportError::TooLong { line: 2 }));
    let odd = String::from_utf8(lines[1].to_vec()).unwrap().replacen("\"entry\":\"", "\"entry\":\"!", 1);
    assert!(matches!(fails(&[lines[0], odd.as_bytes()]), ExportError::Base64 { line: 2, .. }));
    // Any one letter of any line altered is found, whichever it is.
    for at in (0..lines[1].len() - 1).step_by(7) {
        let mut altered = lines[1].to_vec();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        assert!(verify_export(&[lines[0], &altered].concat()[..], fleet).is_err(), "at {at}");
    }
}
