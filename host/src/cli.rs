//! What can be typed: arguments, and which room each command belongs to.

mod architecture;
mod compare;
mod contact;
mod doctor;
mod eval;
mod forward;
mod gc;
mod import;
mod init;
mod input;
mod key;
mod mirror;
mod model;
mod pack;
mod passed_over;
mod password;
pub(crate) mod pipe;
mod place;
mod plugin;
mod progress;
mod project;
mod publish;
mod query;
pub(crate) mod report;
mod run;
mod sign;
mod train;
mod update;
mod versions;
mod yank;

use clap::{Parser, Subcommand};
use report::Failure;
use std::path::PathBuf;
use std::process::ExitCode;

/// Knowledge adapters as plugins on one frozen RoBERTa.
#[derive(Debug, Parser)]
#[command(name = "kadapter", version, about, propagate_version = true, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer texts with a task of the project, or with all of them
    Run(run::Run),
    /// Score a task over labelled data, or probe the backbone for facts
    Eval(Box<eval::Eval>),
    /// Write hidden states, adapter features and logits of token ids to a file
    Forward(forward::Forward),
    /// Turn a checkpoint of others into a package directory
    #[command(subcommand)]
    Import(import::Import),
    /// Make an untrained adapter of a plugin, to try the plugin out or as a control
    Init(Box<init::Init>),
    /// Train adapters and tasks on a frozen backbone
    #[command(subcommand)]
    Train(train::Train),
    /// Make a plugin crate, check a plugin, and see how this machine got on with those it met
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// Compare stacks with controls on tasks: several seeds, significance, table and chart
    Compare(Box<compare::Compare>),
    /// Turn a built plugin crate into a package directory
    Pack(pack::Pack),
    /// Make a package directory a release of a registry
    Publish(publish::Publish),
    /// Copy releases from one registry to another, with what was said about them
    Mirror(mirror::Mirror),
    /// Remove content that no release names, or what nobody uses from the cache
    Gc(gc::Gc),
    /// Sign a release, so that whoever trusts the key lets it in
    Sign(sign::Sign),
    /// Keys that sign here and keys that are trusted here
    #[command(subcommand)]
    Key(key::Key),
    /// Choose a release of everything that the manifest wants, and write kadapter.lock
    Lock(project::Lock),
    /// Move all packages of the project, or some, to the highest releases that fit
    Update(update::Update),
    /// Show which locked releases are not the highest there are, or are yanked
    Outdated(update::Outdated),
    /// Copy everything that the project runs into the cache
    Fetch(project::Fetch),
    /// Read everything that the project runs and compare it with its digests
    Verify(project::Verify),
    /// Show tasks, adapters, plugins and backbone of the project, with versions and licences
    Tree(project::Tree),
    /// Find packages in the project's registries
    Search(query::Search),
    /// Describe a package
    Info(query::Info),
    /// Try out registries: reading, writing, conditional writes, clocks, leftovers
    Doctor(doctor::Doctor),
    /// List the versions of a package
    Versions(versions::Versions),
    /// Say that a release should not be chosen any more; who has locked it keeps it
    Yank(yank::Yank),
    /// Take a yank back
    Unyank(yank::Unyank),
}

/// Which project a command is about.
#[derive(Debug, clap::Args)]
pub(crate) struct ProjectArguments {
    /// The project's manifest
    #[arg(long, value_name = "FILE", default_value = "kadapter.toml")]
    manifest: PathBuf,
    /// Use kadapter.lock as it is; fail where it is missing or does not fit
    #[arg(long)]
    frozen: bool,
}

impl Arguments {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            Command::Run(command) => command.run(),
            Command::Eval(command) => command.run(),
            Command::Forward(command) => command.run(),
            Command::Import(command) => command.run(),
            Command::Init(command) => command.run(),
            Command::Train(command) => command.run(),
            Command::Plugin(command) => command.run(),
            Command::Compare(command) => command.run(),
            Command::Pack(command) => command.run(),
            Command::Publish(command) => command.run(),
            Command::Mirror(command) => command.run(),
            Command::Gc(command) => command.run(),
            Command::Sign(command) => command.run(),
            Command::Key(command) => command.run(),
            Command::Lock(command) => command.run(),
            Command::Fetch(command) => command.run(),
            Command::Verify(command) => command.run(),
            Command::Tree(command) => command.run(),
            Command::Search(command) => command.run(),
            Command::Info(command) => command.run(),
            Command::Doctor(command) => command.run(),
            Command::Update(command) => command.run(),
            Command::Outdated(command) => command.run(),
            Command::Versions(command) => command.run(),
            Command::Yank(command) => command.run(),
            Command::Unyank(command) => command.run(),
        }
    }
}
