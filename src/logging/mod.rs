//! The log: `2026-11-22T19:20:47Z [Info] message` on stdout or in a file, as the official daemon
//! writes it, or one JSON object a line. On stderr where stdout belongs to the JSON exporter.
//!
//! Modules log with the macros of `log`. Whatever they say becomes one line, escaped and cut; text
//! from the network goes through [`escape()`] first, and what a client can trigger through
//! [`RateLimit`].

pub mod escape;
mod file;
mod limit;
mod queue;

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_types::date_time::{DateTime, Format};
use env_logger::{Builder, Target};
use log::{Level, LevelFilter};

use escape::Line;
pub(crate) use escape::escape;
use file::LogFile;
pub(crate) use file::reopen;
pub(crate) use limit::{HeldBack, RateLimit};
use queue::Queue;

/// Size at which a log file starts anew, as in the official daemon.
const MAX_FILE_BYTES: u64 = 50 * 1024 * 1024;

/// Longest message; a longer one is cut.
const MAX_MESSAGE_BYTES: usize = 4096;

/// How long a process that ends waits for its last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Why there can be no log.
#[derive(Debug)]
pub(crate) enum LogError {
    /// The file of `-f` cannot be opened.
    Unwritable(PathBuf, io::Error),
    /// The stream of this name cannot be used.
    Stream(&'static str, io::Error),
    /// The thread that writes cannot be started.
    Thread(io::Error),
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::Unwritable(path, error) => write!(
                f,
                "cannot write the log file {}: {error}; choose a path that this user can write, \
                 or leave it out (-f, Logging.LogPath) to log to stdout",
                path.display()
            ),
            LogError::Stream(name, error) => {
                write!(f, "cannot log to {name}: {error}; name a log file with -f")
            }
            LogError::Thread(error) => write!(
                f,
                "cannot start the thread that writes the log: {error}; raise the process limit"
            ),
        }
    }
}

impl std::error::Error for LogError {}

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `2026-11-22T19:20:47Z [Info] message`, as the official daemon does.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What the log is to be.
#[derive(Debug)]
pub(crate) struct LogSettings<'a> {
    /// The file to append to. `None`: a stream.
    pub file: Option<&'a PathBuf>,
    /// Whether the file starts anew at a size.
    pub rotates: bool,
    /// Whether the stream is stderr, because a program reads something else from stdout.
    pub to_stderr: bool,
    /// The least important level that is written.
    pub level: LevelFilter,
    /// How a line looks.
    pub format: LogFormat,
}

/// Starts the log that the configuration asks for, with a thread named `log` that writes it.
///
/// # Errors
/// An unwritable log file, or no thread to be had.
pub(crate) fn init(settings: &LogSettings<'_>) -> Result<(), LogError> {
    let mut sink: Box<dyn Write + Send> = match settings.file {
        Some(path) => {
            let limit = settings.rotates.then_some(MAX_FILE_BYTES);
            let file = LogFile::open(path, limit)
                .map_err(|error| LogError::Unwritable(path.clone(), error))?;
            Box::new(file)
        }
        None => {
            // A program reads the documents: nothing else may stand between them.
            let (name, stream) = match settings.to_stderr {
                true => ("stderr", io::stderr().as_fd().try_clone_to_owned()),
                false => ("stdout", io::stdout().as_fd().try_clone_to_owned()),
            };
            // A descriptor of its own: one write a batch, and no lock shared with what prints
            // segments.
            Box::new(File::from(
                stream.map_err(|error| LogError::Stream(name, error))?,
            ))
        }
    };
    let format = settings.format;
    let queue = Queue::default();
    let writer = queue.clone();
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || {
            let report = move |lost: u64| {
                let message = format_args!(
                    "{lost} log lines were lost: the log could not be written fast enough, or at all"
                );
                line(format, now(), Level::Warn, message).into_bytes()
            };
            writer.write_to(&mut sink, &report);
        })
        .map_err(LogError::Thread)?;

    let mut builder = Builder::new();
    builder
        .filter_level(others(settings.level))
        .filter_module(env!("CARGO_CRATE_NAME"), settings.level)
        .target(Target::Pipe(Box::new(queue.clone())))
        .format(move |out, record| {
            let line = line(format, now(), record.level(), *record.args());
            out.write_all(line.as_bytes())
        });
    // It fails only where there is a logger already: in tests.
    let _ = builder.try_init();
    let _ = QUEUE.set(queue);
    Ok(())
}

/// Waits a moment for what has been logged to be written. Call it last in `main`, and before
/// [`std::process::exit`].
pub(crate) fn flush() {
    if let Some(queue) = QUEUE.get() {
        let _ = queue.flush(LAST_LINES);
    }
}

/// Says on stderr, in the log's format, why the daemon cannot start: for when there is no log yet.
pub(crate) fn startup_error(message: &str) {
    let line = line(
        LogFormat::Text,
        now(),
        Level::Error,
        format_args!("{message}"),
    );
    // With stderr closed there is nobody left to tell.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// What packages other than this one may log: nothing below a warning, or at `dev` everything
/// but ureq's traces, which show keys and tokens.
fn others(level: LevelFilter) -> LevelFilter {
    match level {
        LevelFilter::Trace => LevelFilter::Debug,
        level => level.min(LevelFilter::Warn),
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

/// One line, with its newline.
pub fn line(format: LogFormat, seconds: i64, level: Level, message: fmt::Arguments<'_>) -> String {
    let mut text = Line::new(MAX_MESSAGE_BYTES);
    // Fails only if a Display of ours does.
    let _ = fmt::Write::write_fmt(&mut text, message);
    let text = text.finish();
    let time = DateTime::from_secs(seconds)
        .fmt(Format::DateTime)
        .unwrap_or_else(|_| seconds.to_string());
    match format {
        LogFormat::Text => {
            let level = match level {
                Level::Error => "Error",
                Level::Warn => "Warn",
                Level::Info => "Info",
                Level::Debug => "Debug",
                Level::Trace => "Trace",
            };
            format!("{time} [{level}] {text}\n")
        }
        LogFormat::Json => {
            let level = level.as_str().to_ascii_lowercase();
            let message = serde_json::Value::from(text);
            format!(r#"{{"time":"{time}","level":"{level}","message":{message}}}"#) + "\n"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIME: i64 = 1_795_375_247;

    #[test]
    fn text_lines_are_those_of_the_official_daemon() {
        for (level, expected) in [
            (Level::Error, "2026-11-22T19:20:47Z [Error] a b\n"),
            (Level::Warn, "2026-11-22T19:20:47Z [Warn] a b\n"),
            (Level::Info, "2026-11-22T19:20:47Z [Info] a b\n"),
            (Level::Debug, "2026-11-22T19:20:47Z [Debug] a b\n"),
            (Level::Trace, "2026-11-22T19:20:47Z [Trace] a b\n"),
        ] {
            assert_eq!(
                line(LogFormat::Text, TIME, level, format_args!("a {}", "b")),
                expected
            );
        }
    }

    #[test]
    fn json_lines() {
        let message = format_args!("say \"hi\" \\ é\n\u{1b}");
        assert_eq!(
            line(LogFormat::Json, TIME, Level::Warn, message),
            concat!(
                r#"{"time":"2026-11-22T19:20:47Z","level":"warn","#,
                r#""message":"say \"hi\" \\ é\\n\\u{1b}"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn long_messages_are_cut() {
        let long = "x".repeat(MAX_MESSAGE_BYTES + 7);
        let line = line(LogFormat::Text, TIME, Level::Info, format_args!("{long}"));
        assert!(line.ends_with("x… (7 bytes cut)\n"));
        assert!(line.len() < MAX_MESSAGE_BYTES + 100);
    }

    #[test]
    fn other_packages_are_quiet() {
        for (ours, theirs) in [
            (LevelFilter::Error, LevelFilter::Error),
            (LevelFilter::Warn, LevelFilter::Warn),
            (LevelFilter::Info, LevelFilter::Warn),
            (LevelFilter::Debug, LevelFilter::Warn),
            // ureq's traces are not redacted.
            (LevelFilter::Trace, LevelFilter::Debug),
        ] {
            assert_eq!(others(ours), theirs);
        }
    }

    #[test]
    fn errors_name_the_path_and_the_way_out() {
        let path = PathBuf::from("/nowhere/x.log");
        let error = LogError::Unwritable(path, io::ErrorKind::PermissionDenied.into());
        assert_eq!(
            error.to_string(),
            "cannot write the log file /nowhere/x.log: permission denied; choose a path that this \
             user can write, or leave it out (-f, Logging.LogPath) to log to stdout"
        );
    }

    proptest! {
        #[test]
        fn every_record_is_one_line(message in ".*", seconds: i64) {
            for format in [LogFormat::Text, LogFormat::Json] {
                let line = line(format, seconds, Level::Info, format_args!("{message}"));
                prop_assert_eq!(line.matches('\n').count(), 1);
                prop_assert!(line.ends_with('\n'));
                if format == LogFormat::Json {
                    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
                    prop_assert_eq!(&value["level"], "info");
                }
            }
        }
    }
}
