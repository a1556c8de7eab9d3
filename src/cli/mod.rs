//! The command line: arguments, help, printing.
//!
//! Parsing does no work; each command has a file. Decides nothing about a session: the machine does, and the store says who
//! came first. No password or secret is ever an argument: the list of processes shows arguments to everybody.

mod agent;
mod audit;
mod ban;
mod check;
mod client;
mod context;
pub mod demo;
mod doctor;
mod emergency;
mod failure;
mod group;
mod guards;
mod import;
mod migrate;
mod nas;
mod nodes;
mod output;
mod qr;
mod quarantine;
mod report;
mod secret_input;
mod serve;
mod session;
mod size;
mod spool;
mod trust;
mod user;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Flags, Setting};

use context::Context;
use failure::Failure;

/// Exit codes, the same for all commands; at the end of every help.
macro_rules! manual {
    ($examples:literal) => {
        concat!(
            "Examples:\n",
            $examples,
            "\n\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 too late, 4 not found. What went wrong is said on standard error."
        )
    };
}
pub(crate) use manual;

/// A RADIUS server whose password check lets a session in held, confined until its owner confirms.
///
/// Settings come from defaults, a TOML file, the environment and flags, the later over the earlier; see `radhold check`.
#[derive(Debug, Parser)]
#[command(name = "radhold", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_long_help = manual!("  radhold serve\n  radhold user add alice\n  radhold session list"))]
pub struct Cli {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
struct SettingsArgs {
    /// Read settings from this file [default: $RADHOLD_CONFIG, else /etc/radhold/radhold.toml if there is one].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep files here (state_dir).
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<String>,
    /// Use this store (store.url). An address with a password belongs in a file: store.url_file.
    #[arg(long, global = true, value_name = "URL")]
    store: Option<String>,
    /// Override any other setting, such as hold.window=90s; may be repeated.
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Agent(agent::AgentArgs),
    Demo(demo::DemoArgs),
    Check(check::CheckArgs),
    Doctor(doctor::DoctorArgs),
    Migrate(migrate::MigrateArgs),
    Nodes(nodes::NodesArgs),
    #[command(subcommand)]
    User(user::UserCommand),
    #[command(subcommand)]
    Group(group::GroupCommand),
    #[command(subcommand)]
    Nas(nas::NasCommand),
    #[command(subcommand)]
    Session(session::SessionCommand),
    #[command(subcommand)]
    Ban(ban::BanCommand),
    #[command(subcommand)]
    Trust(trust::TrustCommand),
    #[command(subcommand)]
    Emergency(emergency::EmergencyCommand),
    Audit(audit::AuditArgs),
    #[command(subcommand)]
    Client(client::ClientCommand),
    Report(report::ReportArgs),
    #[command(subcommand)]
    Import(import::ImportCommand),
    #[command(subcommand)]
    Quarantine(quarantine::QuarantineCommand),
    Spool(spool::SpoolArgs),
}

/// Reads the arguments of this process, carries the command out, and gives the exit code.
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

/// The same with given arguments, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help that nobody reads any more (a closed pipe) is no failure.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match carry_out(cli) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("radhold: {}", failure.message.replace('\n', "\nradhold: "));
            ExitCode::from(failure.exit.code())
        }
    }
}

fn carry_out(cli: Cli) -> Result<ExitCode, Failure> {
    let mut flags = cli.settings.flags();
    match cli.command {
        Command::Serve(args) => {
            // The special before the general: --set has the last word.
            flags.settings.splice(0..0, args.settings());
            serve::run(&flags)
        }
        Command::Agent(args) => agent::run(args, &mut flags),
        Command::Demo(args) => demo::run(&args, &flags),
        Command::Check(args) => check::run(&args, &flags),
        Command::Doctor(args) => wait(doctor::run(&args, &flags)),
        Command::Migrate(_) => wait(migrate::run(&Context::load(&flags)?)),
        Command::Nodes(args) => wait(nodes::run(&args, &Context::load(&flags)?)),
        Command::User(command) => wait(user::run(command, &Context::load(&flags)?)),
        Command::Group(command) => wait(group::run(command, &Context::load(&flags)?)),
        Command::Nas(command) => wait(nas::run(command, &Context::load(&flags)?)),
        Command::Session(command) => wait(session::run(command, &Context::load(&flags)?)),
        Command::Import(command) => wait(import::run(command, &Context::load(&flags)?)),
        Command::Report(args) => wait(report::run(&args, &flags)),
        Command::Quarantine(command) => wait(quarantine::run(command, &Context::load(&flags)?)),
        Command::Spool(args) => wait(spool::run(&args, &Context::load(&flags)?)),
        Command::Ban(command) => wait(ban::run(command, &Context::load(&flags)?)),
        Command::Trust(command) => wait(trust::run(command, &Context::load(&flags)?)),
        Command::Emergency(command) => wait(emergency::run(command, &Context::load(&flags)?)),
        Command::Audit(args) => wait(audit::run(args, &Context::load(&flags)?)),
        // Its exit code is the answer.
        Command::Client(command) => return wait(client::run(command, &flags)),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// One thread is enough for a command.
fn wait<T>(done: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(done)
}

impl SettingsArgs {
    /// What the flags say, the general ones after the special, so that `--set` has the last word.
    fn flags(&self) -> Flags {
        let mut settings = Vec::new();
        if let Some(directory) = &self.state_dir {
            settings.push(Setting::new("--state-dir", "state_dir", directory));
        }
        if let Some(url) = &self.store {
            settings.push(Setting::new("--store", "store.url", url));
        }
        for (key, value) in &self.set {
            settings.push(Setting::new(format!("--set {key}"), key, value));
        }
        Flags { config: self.config.clone(), settings }
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, _)) if matches!(key.trim().rsplit('.').next(), Some("secret" | "token")) => Err(format!(
            "everybody on this host sees arguments: put it into a file and name that, {}_file=FILE",
            key.trim()
        )),
        Some((key, value)) if !key.is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, such as hold.window=90s".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Help is the manual: what it does, examples, exit codes, for every command.
    #[test]
    fn every_command_has_a_manual() {
        fn visit(command: &mut clap::Command, path: &str) -> usize {
            let help = command.render_long_help().to_string();
            assert!(command.get_about().is_some(), "{path} does not say what it does");
            let mut leaves = 0;
            for below in command.get_subcommands_mut().filter(|below| below.get_name() != "help") {
                let name = format!("{path} {}", below.get_name());
                leaves += visit(below, &name);
            }
            if leaves == 0 {
                assert!(
                    help.contains("Examples:\n  ") && help.contains("Exit codes:"),
                    "{path} lacks a manual:\n{help}"
                );
                return 1;
            }
            leaves
        }
        let mut command = Cli::command();
        command.build();
        assert!(visit(&mut command, "radhold") >= 20, "a command is missing");
    }
}
