//! `flt admin`: declares, signs, submits, follows and shows.

mod apply;
mod context;
mod history;
mod init;
mod members;
mod nodes;
mod plan;
mod preview;
mod resolver;
mod scores;
mod secrets;
mod status;
mod ticket;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use context::Admin;

use crate::app::{AdminFlags, App};
use crate::report::Code;

/// A verb's own arguments and those that every verb has.
#[derive(Debug, Args)]
pub(crate) struct With<T: Args> {
    #[command(flatten)]
    args: T,
    #[command(flatten)]
    place: Place,
}

/// Where the admin's things are.
#[derive(Debug, Args)]
#[command(next_help_heading = "Admin options")]
pub(crate) struct Place {
    #[command(flatten)]
    flags: AdminFlags,
    /// Read the key's passphrase from this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// No arguments of its own.
#[derive(Debug, Args)]
pub(crate) struct Nothing {}

/// What an admin can do.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Found a fleet: make its first entry and the admin's key
    Init(With<init::InitArgs>),
    /// Store the ticket that reaches the fleet
    Use(With<ticket::UseArgs>),
    /// Print the stored ticket
    Ticket(With<Nothing>),
    /// Print a one-time ticket that lets a node join
    Invite(With<members::InviteArgs>),
    /// Make a key a member, or rename and relabel one
    Enroll(With<members::EnrollArgs>),
    /// Give a key rights
    Grant(With<members::GrantArgs>),
    /// End a key's rights and membership
    Revoke(With<members::RevokeArgs>),
    /// Show what applying a fleet file would change
    Plan(With<plan::PlanArgs>),
    /// Publish a fleet file and wait until the nodes are as it says
    Apply(With<apply::ApplyArgs>),
    /// Show the fleet at a glance
    Status(With<Nothing>),
    /// Print every change of the nodes as it happens
    Watch(With<status::WatchArgs>),
    /// Look at nodes
    #[command(subcommand)]
    Node(NodeCommand),
    /// Print what a node knows about itself
    Facts(With<nodes::NodeArgs>),
    /// Look at declarations, or withdraw one
    #[command(subcommand)]
    Score(ScoreCommand),
    /// Look at the secrets of declarations, or seal them again
    #[command(subcommand)]
    Secret(secrets::SecretCommand),
    /// Publish an older version of a declaration again
    Rollback(With<history::RollbackArgs>),
    /// Write a checkpoint of the fleet's state into the ledger
    Checkpoint(With<members::CheckpointArgs>),
    /// Print the ledger
    Log(With<history::LogArgs>),
    /// Verify an exported ledger offline
    Verify(history::VerifyArgs),
}

/// Nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the fleet's nodes
    List(With<nodes::ListArgs>),
    /// Show all that is known of a node
    Show(With<nodes::NodeArgs>),
}

/// Declarations.
#[derive(Debug, Subcommand)]
pub(crate) enum ScoreCommand {
    /// List what is declared
    List(With<Nothing>),
    /// Show a declaration and how its nodes are doing
    Show(With<scores::ScoreArgs>),
    /// End a declaration; nodes keep what they have
    Withdraw(With<scores::WithdrawArgs>),
}

/// Runs a command.
pub(crate) async fn run(command: AdminCommand, app: &App) -> anyhow::Result<Code> {
    let at = |place: Place| -> anyhow::Result<Admin<'_>> {
        Ok(Admin::new(app.admin_config(&place.flags)?, place.passphrase_file, app))
    };
    match command {
        AdminCommand::Init(With { args, place }) => init::run(args, &at(place)?),
        AdminCommand::Use(With { args, place }) => ticket::store(args, &at(place)?),
        AdminCommand::Ticket(With { place, .. }) => ticket::show(&at(place)?),
        AdminCommand::Invite(With { args, place }) => members::invite(args, &at(place)?).await,
        AdminCommand::Enroll(With { args, place }) => members::enroll(args, &at(place)?).await,
        AdminCommand::Grant(With { args, place }) => members::grant(args, &at(place)?).await,
        AdminCommand::Revoke(With { args, place }) => members::revoke(args, &at(place)?).await,
        AdminCommand::Checkpoint(With { args, place }) => members::checkpoint(args, &at(place)?).await,
        AdminCommand::Plan(With { args, place }) => plan::run(args, &at(place)?).await,
        AdminCommand::Apply(With { args, place }) => apply::run(args, &at(place)?).await,
        AdminCommand::Status(With { place, .. }) => status::status(&at(place)?).await,
        AdminCommand::Watch(With { args, place }) => status::watch(args, &at(place)?).await,
        AdminCommand::Node(NodeCommand::List(With { args, place })) => nodes::list(args, &at(place)?).await,
        AdminCommand::Node(NodeCommand::Show(With { args, place })) => nodes::show(args, &at(place)?).await,
        AdminCommand::Facts(With { args, place }) => nodes::facts(args, &at(place)?).await,
        AdminCommand::Score(ScoreCommand::List(With { place, .. })) => scores::list(&at(place)?).await,
        AdminCommand::Score(ScoreCommand::Show(With { args, place })) => scores::show(args, &at(place)?).await,
        AdminCommand::Score(ScoreCommand::Withdraw(With { args, place })) => scores::withdraw(args, &at(place)?).await,
        AdminCommand::Secret(secrets::SecretCommand::List(With { place, .. })) => secrets::list(&at(place)?).await,
        AdminCommand::Secret(secrets::SecretCommand::Reseal(With { args, place })) => {
            secrets::reseal(args, &at(place)?).await
        }
        AdminCommand::Secret(secrets::SecretCommand::Set(With { args, place })) => secrets::set(args, &at(place)?).await,
        AdminCommand::Rollback(With { args, place }) => history::rollback(args, &at(place)?).await,
        AdminCommand::Log(With { args, place }) => history::log(args, &at(place)?).await,
        AdminCommand::Verify(args) => history::verify(args, &app.out),
    }
}
