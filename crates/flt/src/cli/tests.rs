use clap::CommandFactory as _;

use super::*;

/// Calls `look` with each command of the tree and its full name.
fn walk(look: &mut dyn FnMut(&str, &clap::Command)) {
    fn visit(name: &str, command: &clap::Command, look: &mut dyn FnMut(&str, &clap::Command)) {
        look(name, command);
        for inner in command.get_subcommands() {
            visit(&format!("{name} {}", inner.get_name()), inner, look);
        }
    }
    let mut command = Cli::command();
    command.build();
    visit("flt", &command, look);
}

#[test]
fn the_tree_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn help_is_worded_alike_everywhere() {
    let mut wrong = Vec::new();
    walk(&mut |name, command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        if let Err(why) = well_worded(&about) {
            wrong.push(format!("{name}: {why}: {about:?}"));
        }
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            if matches!(argument.get_id().as_str(), "help" | "version") {
                continue;
            }
            if let Err(why) = well_worded(&help) {
                wrong.push(format!("{name} {}: {why}: {help:?}", argument.get_id()));
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One line that begins with a capital and does not end like a sentence.
fn well_worded(help: &str) -> Result<(), &'static str> {
    match help {
        "" => Err("no help"),
        help if help.contains('\n') => Err("more than a line"),
        help if help.ends_with('.') => Err("ends with a full stop"),
        help if help.chars().count() > 100 => Err("longer than 100 characters"),
        help if !help.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit()) => Err("begins with no capital"),
        _ => Ok(()),
    }
}

#[test]
fn what_is_typed_often_has_examples() {
    let mut without = Vec::new();
    walk(&mut |name, command| {
        let leaf = command.get_subcommands().next().is_none();
        let exempt = matches!(name, "flt version");
        // Other roles' verbs are held to it where they are written.
        let ours =
            ["flt agent", "flt coordinator", "flt key", "flt config", "flt doctor", "flt completions", "flt man"];
        // What nobody runs by hand needs none.
        let hidden = command.is_hide_set();
        if leaf && !exempt && !hidden && ours.iter().any(|prefix| name.starts_with(prefix)) {
            let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            if !help.contains("Examples:\n  flt ") {
                without.push(name.to_owned());
            }
        }
    });
    assert!(without.is_empty(), "no examples: {}", without.join(", "));
}

#[test]
fn examples_parse() {
    let mut bad = Vec::new();
    walk(&mut |name, command| {
        let help = [command.get_after_long_help(), command.get_long_about()];
        let help: String = help.into_iter().flatten().map(|text| format!("{text}\n")).collect();
        for line in help.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| line.starts_with("flt ")) {
            // What follows two spaces explains.
            let typed = filled(line.split("  ").next().unwrap_or(line));
            for words in shell_words(&typed).into_iter().filter(|words| words.first().is_some_and(|word| word == "flt"))
            {
                if let Err(error) = Cli::try_parse_from(&words)
                    && error.use_stderr()
                {
                    bad.push(format!("{name}: `{line}`: {error}"));
                }
            }
        }
    });
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// An example with real things where a person puts theirs.
fn filled(line: &str) -> String {
    let key = protocols::SecretKey::from_seed(&[3; 32]);
    let ticket = protocols::Ticket {
        fleet: protocols::FleetId::from_bytes([9; 32]),
        name: "acme".parse().unwrap(),
        coordinators: vec![protocols::PeerAddr::unknown(key.id())],
        relays: Vec::new(),
        invite: None,
    };
    let (ticket, id) = (ticket.to_string(), key.id().to_string());
    let name: protocols::Name = "ben".parse().unwrap();
    let asked = admin::request::JoinRequest::new(&key, name.clone()).to_string();
    let what = admin::recovery::Wanted::Recover {
        to: key.id(),
        name: name.clone(),
        revoke: Vec::new(),
        compromised_since: None,
    };
    let fleet = protocols::FleetId::from_bytes([9; 32]);
    let wanted = admin::recovery::RecoveryRequest { fleet, fleet_name: name, set_by: 0, threshold: 1, what };
    let approved = wanted.approve(&key).to_string();
    let mut line = line
        .replace("fltreq1abc...", &asked)
        .replace("fltrec1abc...", &wanted.to_string())
        .replace("fltapp1abc...", &approved)
        .replace("fltapp1def...", &approved)
        .replace("=KEY", &format!("={id}"))
        .replace("--fleet ID", &format!("--fleet {id}"))
        .replace("$(flt admin coordinator ticket)", &ticket)
        .replace("flt1abc...", &ticket)
        .replace("TICKET", &ticket)
        .replace("FLEET-ID", &id);
    if let (Some(from), Some(to)) = (line.find("$("), line.rfind(')')) {
        line.replace_range(from..=to, &protocols::key::openssh_public(key.id(), "x"));
    }
    // What is cut short with dots and no ticket is an id.
    let whole = |word: &str| if word.ends_with("...") { id.clone() } else { word.to_owned() };
    line.replace(" KEY", &format!(" {id}")).split(' ').map(whole).collect::<Vec<_>>().join(" ")
}

/// The commands of a line and their words, as a shell reads them; redirections are left out.
fn shell_words(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut word, mut quote) = (vec![Vec::new()], String::new(), None);
    for c in line.chars().chain([' ']) {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (Some(_), c) => word.push(c),
            (None, '|' | ';' | '&' | '>' | '<' | '#') => commands.push(Vec::new()),
            (None, c) if c.is_whitespace() => {
                if let Some(command) = commands.last_mut()
                    && !word.is_empty()
                {
                    command.push(std::mem::take(&mut word));
                }
            }
            (None, c) => word.push(c),
        }
    }
    commands
}

#[test]
fn no_flag_takes_a_secret() {
    walk(&mut |name, command| {
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            let secret = ["passphrase", "password", "secret", "token"].iter().any(|word| id.contains(word));
            assert!(!secret || id.ends_with("_file"), "{name} --{id} takes a secret by value");
        }
    });
}
