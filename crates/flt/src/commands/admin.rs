//! `flt admin`: declares, signs, submits, follows and shows.

mod apply;
mod authority;
mod context;
mod coordinator;
mod device;
mod failover;
mod forks;
mod history;
mod init;
mod keys;
mod machines;
mod members;
mod nodes;
mod plan;
mod preview;
mod recovery;
mod resolver;
mod revoke;
mod scores;
mod secrets;
mod status;
mod ticket;
mod whereabouts;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use context::Admin;
use recovery::RecoveryCommand;
pub(crate) use status::clones;

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
    /// Sign with this key of the ssh-agent: a public key, its file, or the key's comment
    #[arg(long, value_name = "KEY")]
    ssh_agent: Option<String>,
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
    /// Ask to be made an admin of a fleet: print a request for one of its admins
    Request(With<keys::RequestArgs>),
    /// Set this machine up as that of an admin whose request was approved
    Join(With<keys::JoinArgs>),
    /// Give a key rights
    Grant(With<authority::GrantArgs>),
    /// Say who may do something, from the ledger
    WhoCan(With<authority::WhoCanArgs>),
    /// Put a new key in the place of your own
    Rotate(With<keys::RotateArgs>),
    /// End a key's rights and membership
    Revoke(With<revoke::RevokeArgs>),
    /// Make an admin by keys that are kept offline, when all else is lost
    #[command(subcommand)]
    Recovery(RecoveryCommand),
    /// Show what applying a fleet file would change
    Plan(With<plan::PlanArgs>),
    /// Publish a fleet file and wait until the nodes are as it says
    Apply(With<apply::ApplyArgs>),
    /// Show the fleet at a glance
    Status(With<Nothing>),
    /// Print every change of the nodes as it happens
    Watch(With<status::WatchArgs>),
    /// Look at nodes, change, set apart, replace and remove them
    #[command(subcommand)]
    Node(NodeCommand),
    /// Print what a node knows about itself
    Facts(With<nodes::NodeArgs>),
    /// Look at coordinators, enroll, appoint, move and retire them
    #[command(subcommand)]
    Coordinator(coordinator::CoordinatorCommand),
    /// Say which switch ports lead to an address or a node
    Where(With<whereabouts::WhereArgs>),
    /// Look at devices that run no agent
    #[command(subcommand)]
    Device(device::DeviceCommand),
    /// Look at what has one writer; move it, pause it, repair it
    #[command(subcommand)]
    Failover(failover::FailoverCommand),
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
    /// Verify an exported ledger offline, or look for a split history
    Verify(With<history::VerifyArgs>),
}

/// Nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the fleet's nodes
    List(With<nodes::ListArgs>),
    /// Show all that is known of a node
    Show(With<nodes::NodeArgs>),
    /// Give a node another name
    Rename(With<machines::RenameArgs>),
    /// Give a node labels, or take them away
    Label(With<machines::LabelArgs>),
    /// Let a new machine take a node's name, labels and place
    Replace(With<machines::ReplaceArgs>),
    /// Let a node stay connected and act on nothing
    Quarantine(With<machines::QuarantineArgs>),
    /// End a node's quarantine
    Release(With<machines::ReleaseArgs>),
    /// Remove a node from the fleet
    Remove(With<machines::RemoveArgs>),
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
        Ok(Admin::new(app.admin_config(&place.flags)?, place.passphrase_file, place.ssh_agent, app))
    };
    match command {
        AdminCommand::Init(With { args, place }) => init::run(args, &at(place)?),
        AdminCommand::Use(With { args, place }) => ticket::store(args, &at(place)?),
        AdminCommand::Ticket(With { place, .. }) => ticket::show(&at(place)?),
        AdminCommand::Invite(With { args, place }) => members::invite(args, &at(place)?).await,
        AdminCommand::Enroll(With { args, place }) => members::enroll(args, &at(place)?).await,
        AdminCommand::Request(With { args, place }) => keys::request(args, &at(place)?),
        AdminCommand::Join(With { args, place }) => keys::join(args, &at(place)?).await,
        AdminCommand::Rotate(With { args, place }) => keys::rotate(args, &at(place)?).await,
        AdminCommand::Grant(With { args, place }) => authority::grant(args, &at(place)?).await,
        AdminCommand::WhoCan(With { args, place }) => authority::who_can(args, &at(place)?).await,
        AdminCommand::Revoke(With { args, place }) => revoke::revoke(args, &at(place)?).await,
        AdminCommand::Recovery(command) => match command {
            RecoveryCommand::Show(With { place, .. }) => recovery::show(&at(place)?).await,
            RecoveryCommand::Set(With { args, place }) => recovery::set(args, &at(place)?).await,
            RecoveryCommand::Request(With { args, place }) => recovery::request(args, &at(place)?),
            RecoveryCommand::Approve(With { args, place }) => recovery::approve(args, &at(place)?),
            RecoveryCommand::Submit(With { args, place }) => recovery::submit(args, &at(place)?).await,
        },
        AdminCommand::Checkpoint(With { args, place }) => members::checkpoint(args, &at(place)?).await,
        AdminCommand::Plan(With { args, place }) => plan::run(args, &at(place)?).await,
        AdminCommand::Apply(With { args, place }) => apply::run(args, &at(place)?).await,
        AdminCommand::Status(With { place, .. }) => status::status(&at(place)?).await,
        AdminCommand::Watch(With { args, place }) => status::watch(args, &at(place)?).await,
        AdminCommand::Node(command) => match command {
            NodeCommand::List(With { args, place }) => nodes::list(args, &at(place)?).await,
            NodeCommand::Show(With { args, place }) => nodes::show(args, &at(place)?).await,
            NodeCommand::Rename(With { args, place }) => machines::rename(args, &at(place)?).await,
            NodeCommand::Label(With { args, place }) => machines::label(args, &at(place)?).await,
            NodeCommand::Replace(With { args, place }) => machines::replace(args, &at(place)?).await,
            NodeCommand::Quarantine(With { args, place }) => machines::quarantine(args, &at(place)?).await,
            NodeCommand::Release(With { args, place }) => machines::release(args, &at(place)?).await,
            NodeCommand::Remove(With { args, place }) => machines::remove(args, &at(place)?).await,
        },
        AdminCommand::Coordinator(command) => coordinator::run(command, at).await,
        AdminCommand::Where(With { args, place }) => whereabouts::run(args, &at(place)?).await,
        AdminCommand::Device(command) => device::run(command, app).await,
        AdminCommand::Failover(command) => failover::run(command, at).await,
        AdminCommand::Facts(With { args, place }) => nodes::facts(args, &at(place)?).await,
        AdminCommand::Score(ScoreCommand::List(With { place, .. })) => scores::list(&at(place)?).await,
        AdminCommand::Score(ScoreCommand::Show(With { args, place })) => scores::show(args, &at(place)?).await,
        AdminCommand::Score(ScoreCommand::Withdraw(With { args, place })) => scores::withdraw(args, &at(place)?).await,
        AdminCommand::Secret(secrets::SecretCommand::List(With { place, .. })) => secrets::list(&at(place)?).await,
        AdminCommand::Secret(secrets::SecretCommand::Reseal(With { args, place })) => {
            secrets::reseal(args, &at(place)?).await
        }
        AdminCommand::Secret(secrets::SecretCommand::Set(With { args, place })) => {
            secrets::set(args, &at(place)?).await
        }
        AdminCommand::Rollback(With { args, place }) => history::rollback(args, &at(place)?).await,
        AdminCommand::Log(With { args, place }) => history::log(args, &at(place)?).await,
        AdminCommand::Verify(With { args, .. }) if !args.fork => history::verify(args, &app.out),
        AdminCommand::Verify(With { args, place }) => match args.file {
            Some(file) => forks::verify_file(&file, args.fleet, &at(place)?),
            None => forks::ask_around(&at(place)?).await,
        },
    }
}
