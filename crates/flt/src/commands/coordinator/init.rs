//! `flt coordinator init`: the key of a further coordinator, made where it will run.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use protocols::key::KeyFormat;
use protocols::{NodeId, SecretKey};
use serde::Serialize;

use crate::app::App;
use crate::config::{self, CoordinatorConfig, Flag, path_value};
use crate::output::{Style, View};
use crate::report::Code;
use crate::run::read_key;

/// `flt coordinator init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Keep everything in this folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Put the key here, or use the one that is there
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

/// A coordinator's key.
#[derive(Debug, Serialize)]
struct InitView {
    key: NodeId,
    key_file: PathBuf,
}

impl View for InitView {
    const SCHEMA: &'static str = "flt.coordinator-init/1";

    fn text(&self, _: &Style) -> String {
        format!("{}\n", self.key)
    }
}

pub(super) fn run(args: &InitArgs, app: &App) -> anyhow::Result<Code> {
    let path = |path: &Option<PathBuf>| path.as_deref().map(path_value);
    let given = [("--data", "data", path(&args.data)), ("--key-file", "key-file", path(&args.key_file))];
    let flags: Vec<Flag> = given.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?))).collect();
    let config: CoordinatorConfig = config::typed(app.config_file(), flags, &app.env)?;
    crate::run::make_folder(&config.data)?;
    let path = config.key_path();
    let key = if path.exists() {
        read_key(&path).with_context(|| format!("cannot use the key {}", path.display()))?
    } else {
        let key = SecretKey::generate();
        key.write_new(&path, KeyFormat::OpenSsh, "flotilla coordinator")?;
        key
    };
    app.out.view(&InitView { key: key.id(), key_file: path })?;
    app.out.hint(format!("an admin enrolls it: flt admin coordinator enroll {} --name NAME", key.id()));
    app.out.hint("then start it with the fleet's ticket: flt coordinator run --join TICKET");
    Ok(Code::Done)
}

/// How it is used.
pub(super) const EXAMPLES: &str = "\
Prints the public key, which is no secret. A key that is there already stays.

Examples:
  flt coordinator init --data /var/lib/flotilla/coordinator";

/// A path given by flag, as one of the configuration's.
pub(super) fn flag(name: &'static str, key: &'static str, path: Option<&std::path::Path>) -> Option<Flag> {
    Some((name, key, path.map(path_value)?))
}
