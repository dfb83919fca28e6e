//! What is kept, and how it is drawn.

use super::*;

fn at(millis: u64) -> LocalTime {
    LocalTime::from_micros(millis * 1_000)
}

fn log(millis: u64) -> Option<LogTime> {
    Some(LogTime::ZERO + Span::from_millis(millis))
}

fn event(millis: u64, happening: Happening) -> FlightEvent {
    FlightEvent { at: at(millis), log: None, happening }
}

fn sent(seq: u64) -> Happening {
    Happening::Sent { attempt: Attempt { boot: 1, seq }, renews: Some(Epoch(3)) }
}

fn answered(seq: u64, verdict: Verdict) -> Happening {
    Happening::Answered { attempt: Attempt { boot: 1, seq }, verdict }
}

fn turned(from: &str, to: &str) -> Happening {
    Happening::Turned { from: from.into(), to: to.into(), epoch: Some(Epoch(3)) }
}

fn in_time(millis: u64) -> Verdict {
    Verdict::InTime { round_trip: Span::from_millis(millis) }
}

#[test]
fn the_last_sixty_four_heartbeats_are_kept_and_nothing_grows() {
    let mut recorder = FlightRecorder::new();
    for seq in 0..500 {
        recorder.record(event(seq, sent(seq)));
        recorder.record(event(seq, Happening::Rung { rung: Rung::Kill, verified: None }));
        recorder.record(event(seq, turned("serving", "fencing")));
    }
    let tape = recorder.tape();
    assert_eq!(tape.heartbeats.len(), FlightRecorder::HEARTBEATS);
    assert_eq!(tape.heartbeats.front().map(|beat| beat.attempt.seq), Some(500 - 64));
    assert_eq!(tape.heartbeats.back().map(|beat| beat.attempt.seq), Some(499));
    assert_eq!((tape.notes.len(), recorder.frozen().len()), (FlightRecorder::NOTES, FlightRecorder::FROZEN));
    assert!(recorder.frozen().all(|frozen| frozen.tape.heartbeats.len() <= FlightRecorder::HEARTBEATS));
}

#[test]
fn a_note_is_cut_between_characters() {
    let mut recorder = FlightRecorder::new();
    recorder.record(event(0, Happening::Rung { rung: Rung::Action("µ".repeat(400)), verified: Some(false) }));
    let note = &recorder.tape().notes[0].text;
    assert!(note.len() <= FlightRecorder::NOTE_BYTES && note.len() > FlightRecorder::NOTE_BYTES - 2, "{}", note.len());
}

#[test]
fn a_frozen_copy_ends_with_its_change_and_stays_as_it_was() {
    let mut recorder = FlightRecorder::new();
    recorder.record(event(1, sent(1)));
    recorder.record(event(2, turned("serving", "fencing")));
    recorder.record(event(3, answered(1, in_time(2))));
    recorder.record(event(4, sent(2)));
    let frozen = recorder.frozen().next().expect("the change was frozen");
    assert_eq!((frozen.at, frozen.change.as_str()), (at(2), "serving → fencing (epoch 3)"));
    assert_eq!(frozen.tape.heartbeats.len(), 1);
    assert_eq!(frozen.tape.heartbeats[0].verdict, None, "nobody knew yet");
    assert_eq!(frozen.tape.notes.back().map(|note| note.text.as_str()), Some("serving → fencing (epoch 3)"));
    assert_eq!(recorder.tape().heartbeats[0].verdict, Some(in_time(2)));
}

#[test]
fn an_answer_to_a_heartbeat_that_is_no_longer_kept_changes_nothing() {
    let mut recorder = FlightRecorder::new();
    for seq in 0..65 {
        recorder.record(event(seq, sent(seq)));
    }
    let before = recorder.clone();
    recorder.record(event(99, answered(0, Verdict::Lost)));
    assert_eq!(recorder, before);
}

/// The primary is cut off at 6 s on its clock, and fences; the standby, whose clock shows something else, takes over.
fn both_sides() -> (Tape, Tape) {
    let mut primary = FlightRecorder::new();
    let mut write = |millis: u64, happening| {
        primary.record(FlightEvent { at: at(millis), log: log(millis.min(5_000) + 100_000), happening });
    };
    for seq in 0..8 {
        write(seq * 1_000, sent(seq));
        match seq {
            0..=3 => write(seq * 1_000 + 20, answered(seq, in_time(20))),
            4 => write(6_200, answered(4, Verdict::Late { round_trip: Span::from_millis(2_200) })),
            5 => write(8_000, answered(5, Verdict::Lost)),
            _ => {}
        }
    }
    write(7_500, turned("serving", "fencing"));
    write(7_500, Happening::Rung { rung: Rung::Immediate, verified: None });
    write(7_900, Happening::Rung { rung: Rung::Immediate, verified: Some(true) });
    let mut standby = FlightRecorder::new();
    for seq in 0..12_u64 {
        let (millis, log) = (50_000 + seq * 1_000, log(100_000 + seq * 1_000));
        let refused = Verdict::Refused { round_trip: Span::from_millis(30), why: "the epoch is 4 by now".into() };
        let verdict = if seq == 9 { refused } else { in_time(30) };
        standby.record(FlightEvent { at: at(millis), log, happening: sent(seq) });
        standby.record(FlightEvent { at: at(millis + 30), log, happening: answered(seq, verdict) });
    }
    let granted = turned("following", "granted");
    standby.record(FlightEvent { at: at(61_000), log: log(111_000), happening: granted });
    (primary.tape().clone(), standby.tape().clone())
}

#[test]
fn both_sides_are_drawn_on_one_time_line() {
    let (primary, standby) = both_sides();
    let lanes = [Lane { name: "berlin", tape: &primary }, Lane { name: "oslo", tape: &standby }];
    assert_eq!(draw_text(&lanes, 64), TEXT);
}

const TEXT: &str = "\
berlin ·    ·    ·    ·    ○    !    ?    ?
oslo   ·    ·    ·    ·    ·    ·    ·    ·    ·    x    ·     ·
       0                                                   +11 s
berlin: 8 heartbeats, 5 answered, 1 lost, slowest answer 2.2 s
oslo: 12 heartbeats, 12 answered, 0 lost, slowest answer 30 ms
+7.5 s  berlin  serving → fencing (epoch 3)
+7.5 s  berlin  fence immediate begun
+7.9 s  berlin  fence immediate verified
+11 s  oslo  following → granted (epoch 3)
";

#[test]
fn no_line_is_wider_than_was_asked_for() {
    let mut recorder = FlightRecorder::new();
    for seq in 0..64 {
        let late = Verdict::Late { round_trip: Span::from_secs(seq) };
        recorder.record(event(seq * 1_000, sent(seq)));
        recorder.record(event(seq * 1_000, answered(seq, if seq % 2 == 0 { Verdict::Lost } else { late })));
    }
    let name = "a name that is longer than the room for names";
    let lanes = [Lane { name, tape: recorder.tape() }, Lane { name: "b", tape: recorder.tape() }];
    for (asked, most) in [(0, 40), (40, 40), (100, 100), (usize::MAX, 400)] {
        let drawn = draw_text(&lanes, asked);
        let widest = drawn.lines().take(3).map(|line| line.chars().count()).max();
        assert!(widest <= Some(most), "{asked}: {widest:?}\n{drawn}");
        assert!(drawn.lines().next().is_some_and(|line| line.contains('!')), "{drawn}");
    }
    assert_eq!(draw_text(&[], 80), "nothing was recorded\n");
}

#[test]
fn the_ends_of_time_can_be_drawn() {
    let mut tape = Tape::default();
    for sent in [LocalTime::from_micros(0), LocalTime::NEVER] {
        let attempt = Attempt::default();
        let verdict = Some(Verdict::InTime { round_trip: Span::from_micros(u64::MAX) });
        tape.heartbeats.push_back(Heartbeat { attempt, sent, log: log(1), renews: None, verdict });
    }
    let lanes = [Lane { name: "x", tape: &tape }];
    assert!(draw_text(&lanes, 80).starts_with("x ·"));
    assert!(draw_svg(&lanes).contains(r#"<rect x="119""#));
}

#[test]
fn a_picture_holds_every_heartbeat_and_no_markup_of_strangers() {
    let mut recorder = FlightRecorder::new();
    for seq in 0..64 {
        recorder.record(event(seq * 500, sent(seq)));
    }
    let why = "<script>\"&\u{7}".to_owned();
    recorder.record(event(32_000, answered(63, Verdict::Refused { round_trip: Span::from_millis(9), why })));
    recorder.record(event(32_000, turned("a<b", "c&d")));
    let svg = draw_svg(&[Lane { name: "<&\">", tape: recorder.tape() }]);
    assert_eq!(svg.matches("<rect ").count(), 64 + 1, "64 bars on one ground");
    assert!(svg.contains("refused: &lt;script&gt;&quot;&amp; </title>"), "{svg}");
    assert!(svg.contains("a&lt;b → c&amp;d (epoch 3)") && svg.contains(">&lt;&amp;&quot;&gt;</text>"), "{svg}");
    assert!(!svg.contains("<script") && svg.chars().all(|c| c == '\n' || !c.is_control()));
    for tag in ["svg", "rect", "text", "path", "title"] {
        let opened = svg.matches(&format!("<{tag} ")).count() + svg.matches(&format!("<{tag}>")).count();
        let closed = svg.matches(&format!("</{tag}>")).count();
        let alone = svg.lines().filter(|line| line.starts_with(&format!("<{tag} ")) && line.ends_with("/>")).count();
        assert_eq!(opened, closed + alone, "{tag}");
    }
    let places = svg.split("<rect x=\"").skip(1).filter_map(|rest| rest.split('"').next()?.parse::<i64>().ok());
    assert!(places.clone().count() == 64 && places.into_iter().all(|x| (119..=936).contains(&x)));
}

#[test]
fn the_picture_of_both_sides() {
    let (primary, standby) = both_sides();
    let svg = draw_svg(&[Lane { name: "berlin", tape: &primary }, Lane { name: "oslo", tape: &standby }]);
    assert_eq!(svg, include_str!("both-sides.svg"));
}
