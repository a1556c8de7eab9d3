//! `radhold check`

use clap::Args;
use serde::Serialize;

use crate::app::{self, WordsError, keys};
use crate::config::{Config, Flags, Loaded};
use crate::dialect::Dialects;
use crate::model::Nas;

use super::failure::Failure;
use super::{manual, output};

/// Check the configuration, and start nothing.
///
/// Reads the file, the environment and the flags as `serve` would, with all the files they name: secrets, keys, dictionaries,
/// dialects, messages and places. Opens no store and no socket, makes no key. Prints every error and warning with its place, and fails when
/// there is an error.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold check\n  radhold check --config ./radhold.toml\n  radhold check --set hold.window=90s --json"
))]
pub(super) struct CheckArgs {
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default, Serialize)]
struct Findings {
    ok: bool,
    file: Option<String>,
    variables: Vec<String>,
    flags: Vec<String>,
    errors: Vec<String>,
    warnings: Vec<String>,
}

pub(super) fn run(args: &CheckArgs, flags: &Flags) -> Result<(), Failure> {
    let findings = match Config::load(flags) {
        Ok(loaded) => findings(loaded),
        Err(error) => {
            Findings { errors: error.problems.iter().map(ToString::to_string).collect(), ..Findings::default() }
        }
    };
    if args.json {
        output::print_json(&findings)?;
    } else {
        print_lines(&findings)?;
    }
    match findings.errors.len() {
        0 => Ok(()),
        1 => Err(Failure::failed("1 error; the configuration cannot be used")),
        many => Err(Failure::failed(format!("{many} errors; the configuration cannot be used"))),
    }
}

fn findings(loaded: Loaded) -> Findings {
    let Loaded { config, sources, mut warnings, .. } = loaded;
    let mut errors = Vec::new();
    match words(&config) {
        Ok(dialects) => {
            errors.extend(config.nas.iter().filter_map(|nas| without_dialect(nas, &dialects)));
            warnings.extend(config.nas.iter().filter_map(|nas| app::unconfined(nas, &dialects)));
        }
        Err(error) => errors.push(error.to_string()),
    }
    // All that is wrong with messages is named at once, a line each.
    errors.extend(
        app::messages(&config.messages)
            .err()
            .iter()
            .flat_map(|error| error.to_string().lines().map(str::to_owned).collect::<Vec<_>>()),
    );
    errors.extend(app::places(&config.places).err().map(|error| format!("places.files: {error}")));
    for path in [&config.keys.cluster_file, &config.keys.sealing_file] {
        if path.exists()
            && let Err(error) = keys::sealing_key(path)
        {
            errors.push(error.to_string());
        }
    }
    let scheme = config.store.url.expose().split(':').next().unwrap_or_default();
    if !matches!(scheme, "sqlite" | "postgres" | "postgresql") {
        errors.push(format!("store.url: {} is neither sqlite://PATH nor postgres://…", config.store.url));
    }
    Findings {
        ok: errors.is_empty(),
        file: sources.file.map(|path| path.display().to_string()),
        variables: sources.variables,
        flags: sources.flags,
        errors,
        warnings,
    }
}

fn words(config: &Config) -> Result<Dialects, WordsError> {
    let dictionary = app::dictionary(config.dictionary.as_deref())?;
    app::dialects(config.dialects.as_deref(), &dictionary)
}

fn without_dialect(nas: &Nas, dialects: &Dialects) -> Option<String> {
    if dialects.get(&nas.dialect).is_some() {
        return None;
    }
    let known = dialects.iter().map(|dialect| dialect.name()).collect::<Vec<_>>().join(", ");
    Some(format!("nas.{}.dialect: there is no dialect {:?}; there are {known}", nas.name, nas.dialect))
}

fn print_lines(findings: &Findings) -> Result<(), Failure> {
    let mut lines = Vec::new();
    lines.extend(findings.errors.iter().map(|error| format!("error: {error}")));
    lines.extend(findings.warnings.iter().map(|warning| format!("warning: {warning}")));
    if findings.ok {
        let mut sources = vec![findings.file.clone().unwrap_or_else(|| "no file".to_owned())];
        sources.extend(findings.variables.iter().cloned());
        sources.extend(findings.flags.iter().cloned());
        lines.push(format!("ok: {}", sources.join(", ")));
    }
    output::print(&lines.join("\n"))
}
