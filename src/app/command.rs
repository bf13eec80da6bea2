//! Runs the command that the command line asks for, and returns the exit status.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use log::LevelFilter;

use crate::app::{allocator, check, daemon, exec, exits, healthcheck};
use crate::config::cli::{self, Command, Exporter, Flags, Parsed};
use crate::config::{self, Config, ConfigError, DEFAULT_ADDRESS};
use crate::logging::{self, LogSettings};

/// Status of a start that failed: a bad configuration, no region, a port that is taken.
const FAILED: u8 = 1;

/// The program, but for its name: `args` are the arguments after it.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let Parsed {
        command,
        flags,
        ignored,
        program,
        is_hosted,
    } = match cli::parse(args.iter().cloned()) {
        Ok(parsed) => parsed,
        Err(error) => {
            // The stream may be closed, which must not cause a panic, here and below.
            let _ = writeln!(io::stderr(), "{error}");
            if error.command.is_none() {
                print(&cli::help());
            }
            return ExitCode::from(cli::EXIT_USAGE);
        }
    };
    match command {
        Command::Help(None) => print(&cli::help()),
        Command::Help(Some(word)) => print(&word.help()),
        Command::Version => print(&format!("{}\n", cli::version())),
        Command::Exec if !is_hosted => {
            // The program stands behind `--`.
            let options = args.len().saturating_sub(program.len() + 1);
            return exec::run(&args[..options], &flags, &program);
        }
        Command::Check => return check(load(&flags, ignored)),
        Command::Healthcheck => {
            return match load(&flags, ignored) {
                Ok(config) => healthcheck(&config),
                Err(error) => refuse(&error),
            };
        }
        Command::Exec | Command::Run => return run(&flags, ignored, is_hosted),
    }
    ExitCode::SUCCESS
}

fn refuse(error: &ConfigError) -> ExitCode {
    for problem in &error.problems {
        logging::startup_error(problem);
    }
    ExitCode::from(FAILED)
}

fn load(flags: &Flags, ignored: Option<String>) -> Result<Config, ConfigError> {
    let mut config = config::load(flags, &config::read_file)?;
    // Go ignores these arguments silently. `-o true -n eu-west-1` sets no region, so the daemon
    // warns.
    config.warnings.extend(ignored.map(|word| {
        format!(
            "the command line is ignored from {word:?} on: it is neither a flag nor a flag's \
             value (a switch takes its value as in -o=true)"
        )
    }));
    Ok(config)
}

/// The report is enough for most users. With `-l` the log is printed too.
fn check(config: Result<Config, ConfigError>) -> ExitCode {
    if let Ok(config) = &config
        && config.log_level >= LevelFilter::Debug
    {
        let settings = LogSettings {
            file: None,
            to_stderr: true,
            ..log_settings(config)
        };
        if let Err(error) = logging::init(&settings) {
            logging::startup_error(&error.to_string());
        }
    }
    let is_well = check::run(config);
    logging::flush();
    match is_well {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FAILED),
    }
}

/// `is_hosted`: beside a program that `xray exec` runs.
fn run(flags: &Flags, ignored: Option<String>, is_hosted: bool) -> ExitCode {
    // Before any file is read, which may take long, so that no signal finds the defaults.
    let exits = match exits::listen() {
        Ok(exits) => exits,
        Err(error) => {
            logging::startup_error(&format!("cannot handle signals: {error}"));
            return ExitCode::from(FAILED);
        }
    };
    let config = match load(flags, ignored) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    let mut settings = log_settings(&config);
    // The standard output belongs to the program.
    settings.to_stderr |= is_hosted;
    if let Err(error) = logging::init(&settings) {
        logging::startup_error(&error.to_string());
        return ExitCode::from(FAILED);
    }
    log::info!(
        "Initializing AWS X-Ray daemon {}",
        env!("CARGO_PKG_VERSION")
    );
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    allocator::keep_pages();
    let result = match is_hosted {
        true => exec::run_hosted(config, exits),
        false => daemon::run(config, exits),
    };
    let status = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::from(FAILED)
        }
    };
    logging::flush();
    status
}

fn log_settings(config: &Config) -> LogSettings<'_> {
    LogSettings {
        file: config.log_file.as_ref(),
        rotates: config.log_rotation,
        // A program reads the documents from stdout: nothing else may stand between them.
        to_stderr: config.exporter == Exporter::Json,
        level: config.log_level,
        format: config.log_format,
    }
}

fn healthcheck(config: &Config) -> ExitCode {
    match healthcheck::ask(config.bind_tcp.as_deref().unwrap_or(DEFAULT_ADDRESS)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print(&format!("{error}\n"));
            ExitCode::from(FAILED)
        }
    }
}

fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
