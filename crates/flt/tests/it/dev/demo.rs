//! `flt dev demo`: the story in both forms, and that it is true.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Home, at, strings};

const NODES: [&str; 3] = ["edge-1", "edge-2", "edge-3"];

fn story(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

/// The lines of one event, in their order.
fn of<'a>(story: &'a [Value], event: &str) -> Vec<&'a Value> {
    story.iter().filter(|line| line["event"] == event).collect()
}

/// Who had this last word on a generation.
fn settled(story: &[Value], generation: &Value, verdict: &str) -> BTreeSet<String> {
    let lines = of(story, "settled");
    let about = lines.iter().filter(|line| at(line, "/generation") == generation);
    let nodes = about.map(|line| {
        assert_eq!(line["verdict"], verdict, "{line}");
        line["node"].as_str().unwrap().to_owned()
    });
    nodes.collect()
}

#[test]
fn demo_tells_the_whole_story() {
    let home = Home::new();
    let output = home.flt().args(["dev", "demo", "--json", "--dir", "demo"]).run().expect(0);
    assert_eq!(output.stderr, "");
    let story = story(&output.stdout);
    assert!(story.iter().all(|line| line["schema"] == "flt.demo/1" && line["step"].is_u64()));
    let titles = of(&story, "step");
    assert_eq!(titles.iter().map(|line| line["step"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);

    let joined = of(&story, "joined");
    assert_eq!(joined.iter().map(|line| line["node"].as_str().unwrap()).collect::<Vec<_>>(), NODES);
    assert_eq!(of(&story, "invite-left")[0]["uses_left"], 0);

    let published = of(&story, "published");
    let generations: Vec<&Value> = published.iter().map(|line| at(line, "/generation")).collect();
    assert_eq!(generations.iter().map(|g| g.as_u64().unwrap()).collect::<Vec<_>>(), [5, 6, 7, 8]);
    let all: BTreeSet<String> = NODES.map(String::from).into();
    let here: BTreeSet<String> = NODES[..2].iter().map(|n| (*n).to_owned()).collect();
    assert_eq!(settled(&story, generations[0], "converged"), all);
    assert_eq!(settled(&story, generations[1], "converged"), here);
    assert_eq!(settled(&story, generations[2], "converged"), all);
    assert_eq!(settled(&story, generations[3], "quarantined"), all);

    let straight = of(&story, "straight");
    assert_eq!(straight.len(), 1);
    assert_eq!((&straight[0]["node"], &straight[0]["plays"]), (&"edge-3".into(), &1.into()));
    assert_eq!((at(straight[0], "/spoke_of/0"), at(straight[0], "/skipped")), (generations[2], generations[1]));
    assert_eq!(straight[0]["spoke_of"].as_array().unwrap().len(), 1);

    let bad = of(&story, "settled").into_iter().filter(|line| at(line, "/generation") == generations[3]);
    for line in bad {
        let message = line["message"].as_str().unwrap();
        // On a machine that is busy the last try may be cut short.
        let why = ["an app without workers serves nobody", "no result within 3 seconds"];
        assert!(why.iter().any(|why| message.contains(why)) && message.ends_with("; undone"), "{message}");
    }
    // What the story says of files is what is there; and what it does not say, too.
    for node in NODES {
        let conf = home.read(&format!("demo/{node}/root/etc/app/app.conf"));
        assert_eq!(conf.as_deref(), Some("workers = 8\n"), "{node}");
        let witness = home.path(&format!("demo/{node}/root/etc/app/only-in-2"));
        assert_eq!(witness.exists(), node != "edge-3", "{node}");
        let seen = of(&story, "file").into_iter().filter(|line| line["node"] == node);
        let seen: Vec<&str> = seen.map(|line| line["content"].as_str().unwrap_or("-").trim_end()).collect();
        let told: &[&str] = match node {
            "edge-3" => &["workers = 2", "workers = 2", "workers = 8", "-", "workers = 8"],
            _ => &["workers = 2", "workers = 4", "workers = 8", "only version 2 says so", "workers = 8"],
        };
        assert_eq!(seen, told, "{node}");
    }

    let entries = of(&story, "entry");
    let seqs: Vec<u64> = entries.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (0..9).collect::<Vec<u64>>());
    let verified = of(&story, "verified");
    assert_eq!(verified[0]["entries"], 9);
    assert_eq!(strings(&verified[0]["agree"]), NODES);
    let forged = of(&story, "forged");
    assert_eq!(&forged[0]["entry"], generations[0]);
    assert!(forged[0]["refused"].as_str().unwrap().contains("the signature of entry 5"), "{}", forged[0]);

    // The export, verified by another process.
    let fleet = of(&story, "founded")[0]["fleet_id"].as_str().unwrap();
    let verify = ["admin", "verify", "demo/ledger.jsonl", "--json", "--fleet", fleet];
    let again: Value = serde_json::from_str(&home.flt().args(verify).ok()).unwrap();
    assert_eq!((&again["entries"], &again["state"]), (&9.into(), &verified[0]["state"]));

    let ended = story.last().unwrap();
    assert_eq!(ended["event"], "ended");
    let next = strings(&ended["next"]);
    assert!(next.last().unwrap().ends_with(" dev up"), "{next:?}");
    // What it tells to try works as it stands there.
    let pasted = testkit::Program::new("sh").args(["-c", &next[0]]).folder(home.dir.path()).run();
    assert!(pasted.success(), "{}: {}", next[0], pasted.stderr);

    let twice = home.flt().args(["dev", "demo", "--dir", "demo"]).run().expect(2);
    assert!(twice.stderr.contains("is not empty") && twice.stderr.contains("hint: "), "{}", twice.stderr);
    assert_eq!(twice.stdout, "");
}

#[test]
fn demo_reads_well() {
    let home = Home::new();
    std::fs::create_dir(home.path("tmp")).unwrap();
    let output = home.flt().env("TMPDIR", home.path("tmp")).args(["dev", "demo"]).run().expect(0);
    assert_eq!(output.stderr, "");
    let told = home.path("tmp").display().to_string();
    let free = |line: &str| line.contains(&told) || line.contains(" dev up");
    assert!(output.stdout.lines().all(|line| line.chars().count() < 80 || free(line)), "{}", output.stdout);
    let left: Vec<_> = std::fs::read_dir(home.path("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    insta::assert_snapshot!(steadied(&output.stdout), @r"
    A whole fleet in this process, over loopback. Its files are in
    PATH

    1. Found a fleet, and start its coordinator
       fleet dev, id
       ID
       coordinator ID answers, at entry 0
       its relay is URL

    2. Let three nodes in with one invite
       entry 1: an invite for 3 nodes
       entry 2: edge-1 joined as ID after TIME
       entry 3: edge-2 joined as ID after TIME
       entry 4: edge-3 joined as ID after TIME
       the invite has 0 uses left

    3. Publish version 1; every node verifies it and plays it
       entry 5: app/config says `workers = 2`
       edge-1: app/config converged after TIME
       edge-2: app/config converged after TIME
       edge-3: app/config converged after TIME
       edge-1: /etc/app/app.conf reads `workers = 2`
       edge-2: /etc/app/app.conf reads `workers = 2`
       edge-3: /etc/app/app.conf reads `workers = 2`

    4. Publish version 2 and then 3 while edge-3 is down
       edge-3 is down
       entry 6: app/config says `workers = 4`
       edge-1: app/config converged after TIME
       edge-2: app/config converged after TIME
       edge-1: /etc/app/app.conf reads `workers = 4`
       edge-2: /etc/app/app.conf reads `workers = 4`
       entry 7: app/config says `workers = 8`
       edge-1: app/config converged after TIME
       edge-2: app/config converged after TIME
       edge-1: /etc/app/app.conf reads `workers = 8`
       edge-2: /etc/app/app.conf reads `workers = 8`
       edge-3: /etc/app/app.conf reads `workers = 2`

    5. Bring edge-3 back: it goes straight to version 3
       edge-3 starts; it knows the ledger up to entry 5
       edge-3: app/config converged after TIME
       edge-3 played 1, of entry 7; never that of entry 6
       edge-3: /etc/app/app.conf reads `workers = 8`
       edge-1: /etc/app/only-in-2 reads `only version 2 says so`
       edge-2: /etc/app/only-in-2 reads `only version 2 says so`
       edge-3: /etc/app/only-in-2 does not exist

    6. Publish version 4, which fails its health check
       entry 8: app/config says `workers = 0`
       edge-1: app/config quarantined after TIME check `exec sh PATH failed: WHY; undone
       edge-2: app/config quarantined after TIME check `exec sh PATH failed: WHY; undone
       edge-3: app/config quarantined after TIME check `exec sh PATH failed: WHY; undone
       edge-1: /etc/app/app.conf reads `workers = 8`
       edge-2: /etc/app/app.conf reads `workers = 8`
       edge-3: /etc/app/app.conf reads `workers = 8`

    7. Verify the ledger: who did what, in which order
         0  admin          genesis dev by 1 admin(s)
         1  admin          invite ID for any name, 3 use(s)
         2  coordinator-1  redeem ID as edge-1
         3  coordinator-1  redeem ID as edge-2
         4  coordinator-1  redeem ID as edge-3
         5  admin          publish app/config on role=edge (files/1)
         6  admin          publish app/config on role=edge (files/1)
         7  admin          publish app/config on role=edge (files/1)
         8  admin          publish app/config on role=edge (files/1)
       9 entries verified from the export with the fleet id alone
       head ID
       the copies of edge-1, edge-2, edge-3 amount to the same
       one byte of entry 5 changed, and it is refused: line 6: the entry does not verify: the signature of entry 5 is not that of its author ID

    All of it came out as told, in TIME

    next:
      flt dev up
    ");
}

/// A row of the ledger: its number, two spaces.
fn is_row(line: &str) -> bool {
    line.trim_start().split_once("  ").is_some_and(|(seq, _)| seq.bytes().all(|b| b.is_ascii_digit()))
}

/// The text without what differs from run to run: ids, times, ports, folders, who was faster.
fn steadied(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match lines.last_mut() {
            // A message that was wrapped, wherever its path made it so.
            Some(last) if line.starts_with("     ") && !is_row(line) => {
                last.push(' ');
                last.push_str(line.trim_start());
            }
            _ => lines.push(line.to_owned()),
        }
    }
    let program = testkit::flt_binary().display().to_string();
    let words = |line: &String| {
        let words = line.split(' ').map(|word| {
            let bare = word.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
            let hex = bare.len() >= 10 && bare.bytes().all(|b| b.is_ascii_hexdigit());
            match word {
                _ if hex => "ID",
                _ if word.starts_with("http://127.0.0.1:") => "URL",
                _ if word.starts_with('/') && word.contains("flt-demo-") => "PATH",
                _ if *word == program => "flt",
                _ => word,
            }
        });
        let line = words.collect::<Vec<_>>().join(" ");
        match (line.split_once(" after "), line.split_once(", in ")) {
            (Some((before, rest)), _) => {
                // The time is two words: `850 ms`.
                let rest: Vec<&str> = rest.splitn(3, ' ').skip(2).collect();
                format!("{before} after TIME {}", rest.join(" ")).trim_end().to_owned()
            }
            (_, Some((before, _))) if before.starts_with("All ") => format!("{before}, in TIME"),
            _ => line,
        }
    };
    let reason = |line: String| match (line.split_once(" failed: "), line.ends_with("; undone")) {
        (Some((before, _)), true) => format!("{before} failed: WHY; undone"),
        _ => line,
    };
    let mut lines: Vec<String> = lines.iter().map(words).map(reason).collect();
    let settles = |line: &String| line.contains(" after TIME") && line.contains(": app/config ");
    for part in lines.chunk_by_mut(|a, b| settles(a) && settles(b)) {
        part.sort();
    }
    lines.join("\n")
}
