//! Echo, pages, questions and unkindness, byte by byte.

use std::sync::Arc;

use crate::profile::{Nasty, Profile};
use crate::sim::Shared;
use crate::terminal::{State, Terminal};

fn terminal(profile: &Profile) -> Terminal {
    let mut terminal = Terminal::new(Arc::new(Shared::new(profile)), 24);
    terminal.greet();
    terminal
}

fn typed(terminal: &mut Terminal, bytes: &[u8]) -> String {
    terminal.take();
    terminal.input(bytes);
    String::from_utf8_lossy(&terminal.take().0).into_owned()
}

#[test]
fn lines_are_echoed_and_edited_and_passwords_are_not() {
    let mut terminal = terminal(&Profile::fastiron_8030());
    assert_eq!(typed(&mut terminal, b"\r\n"), "\r\nSSH@icx-old>");
    assert_eq!(typed(&mut terminal, b"enx\x7fable\n"), "enx\x08 \x08able\r\nPassword:");
    assert_eq!(typed(&mut terminal, b"enable\n"), "\r\nSSH@icx-old#");
    assert_eq!(typed(&mut terminal, b"show clo?"), "show clo?\r\n  clock\r\nSSH@icx-old#show clo");
    assert_eq!(typed(&mut terminal, b"\x15exit\r"), format!("{}exit\r\n", "\x08 \x08".repeat(8)));
    assert_eq!(terminal.state(), State::Closed);
    assert_eq!(terminal.shared().wire().commands, ["enable", "exit"]);
}

#[test]
fn pages_wait_for_keys() {
    let mut terminal = terminal(&Profile::fastiron_8030().privileged());
    let more = "--More--, next page: Space, next line: Return key, quit: Control-c";
    let first = typed(&mut terminal, b"show running-config\n");
    assert!(first.ends_with(more), "{first}");
    assert_eq!(first.matches("\r\n").count(), 24, "the echo and 23 lines");
    let line = typed(&mut terminal, b"\n");
    assert_eq!(line.matches("\r\n").count(), 1);
    let mut all = first;
    while matches!(terminal.state(), State::Page(_)) {
        all.push_str(&typed(&mut terminal, b" "));
    }
    assert!(all.ends_with("end\r\nSSH@icx-old#"), "{all}");
    typed(&mut terminal, b"show running-config\n");
    assert!(typed(&mut terminal, b"\x03").ends_with("SSH@icx-old#"), "Control-c ends it");
    assert!(typed(&mut terminal, b"skip-page-display\n").contains("Disable page display mode"));
    assert!(!typed(&mut terminal, b"show running-config\n").contains("--More--"));
}

#[test]
fn unkindness() {
    let nasty = Nasty {
        wrong_encoding: true,
        drop_after_commands: Some(2),
        mute: vec!["show clock".into()],
        ..Nasty::everything()
    };
    let shared = Arc::new(Shared::new(&Profile::fastiron_8030().privileged().nasty(nasty)));
    let mut first = Terminal::new(Arc::clone(&shared), 0);
    first.greet();
    let greeting = first.take().0;
    assert!(greeting.windows(3).any(|three| three == [0xff, 0xfe, 0xc3]), "bytes that are no text");
    assert!(greeting.ends_with(b"\x1b[?7hSSH@icx-old#"));
    assert!(typed(&mut first, b"skip-page-display\n").contains("authorization failed"));
    typed(&mut first, b"configure terminal\n");
    assert_eq!(first.state(), State::Cut, "the second command is the last");
    let mut second = Terminal::new(Arc::clone(&shared), 0);
    typed(&mut second, b"show clock\n");
    assert_eq!(second.state(), State::Hung);
    assert_eq!(typed(&mut second, b"exit\n"), "");
}
