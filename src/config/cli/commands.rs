//! The commands besides the daemon itself.

use std::fmt::Write as _;

use super::flags::{FLAGS, Flag};

/// What the command line asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Command {
    /// Be the daemon.
    #[default]
    Run,
    /// Ask the daemon on this machine whether it is well.
    Healthcheck,
    /// Try whether segments would reach X-Ray.
    Check,
    /// Run a program with a daemon beside it.
    Exec,
    /// Print the help of all, or of the command that the word asks for, and exit 0.
    Help(Option<&'static CommandWord>),
    /// Print the version and exit 0.
    Version,
}

/// A word, and what the help says of it.
#[derive(Debug, PartialEq, Eq)]
pub struct CommandWord {
    /// The word.
    pub(super) name: &'static str,
    /// What follows it.
    pub(super) arguments: &'static str,
    /// What it does, in the one line that the general help has of it.
    pub(super) summary: &'static str,
    /// What else its own help says, in whole lines.
    details: &'static str,
    /// The flags that its own help shows, by their long names.
    flags: &'static [&'static str],
    /// Differences in the flags' help for this command: the usual text and its replacement.
    differences: &'static [(&'static str, &'static str)],
    pub(super) command: Command,
}

/// Every command, in the order of the help.
pub(super) const COMMANDS: &[CommandWord] = &[
    CommandWord {
        name: "healthcheck",
        arguments: "[options]",
        summary: "exit 0 if the daemon on this machine is well, 1 if not",
        details: "\
It asks for /healthz on the daemon's TCP port, for at most a second, and prints a line if the
daemon is not well. Give it the flags of the daemon: it reads its address from them and from
cfg.yaml. Others than these change nothing.
",
        flags: &["bind-tcp", "config", "help"],
        differences: &[],
        command: Command::Healthcheck,
    },
    CommandWord {
        name: "check",
        arguments: "[options]",
        summary: "say whether segments would reach X-Ray with these options",
        details: "\
It reads flags, cfg.yaml and the AWS profile as the daemon does, finds region and credentials,
connects to X-Ray, asks for the sampling rules and uploads an empty batch. It listens nowhere and
sends no segment. The exit status is 0 if segments would reach X-Ray, 1 if not.
",
        flags: &[
            "local-mode",
            "region",
            "role-arn",
            "external-id",
            "config",
            "log-level",
            "proxy-address",
            "spool",
            "help",
        ],
        differences: &[],
        command: Command::Check,
    },
    CommandWord {
        name: "exec",
        arguments: "[options] -- PROGRAM",
        summary: "run PROGRAM with a daemon beside it, for jobs in one container",
        details: "\
The daemon listens on a free port of the loopback, which PROGRAM and its arguments find in
AWS_XRAY_DAEMON_ADDRESS; with --otlp also OTEL_EXPORTER_OTLP_ENDPOINT is set, unless it is already.
The log goes to stderr. Signals are passed on. When PROGRAM has ended, the daemon delivers what it
holds within --shutdown-timeout. The exit status is that of PROGRAM, 128 and its number for a
signal, 126 or 127 if PROGRAM cannot be started. A fault of the daemon never stops PROGRAM. All
options of the daemon are taken.
",
        flags: &[
            "local-mode",
            "buffer-memory",
            "region",
            "bind",
            "bind-tcp",
            "otlp",
            "role-arn",
            "config",
            "log-file",
            "log-level",
            "exporter",
            "shutdown-timeout",
            "help",
        ],
        differences: &[
            ("default 127.0.0.1:2000", "default a free port"),
            ("usually 127.0.0.1:4318", "127.0.0.1:0 for a free port"),
            ("instead of stdout", "instead of stderr"),
        ],
        command: Command::Exec,
    },
];

/// The first argument of the daemon that `exec` starts. It is not meant for users.
pub(crate) const HOSTED: &str = "exec-daemon";

/// The command of this name.
pub(super) fn command(name: &str) -> Option<&'static CommandWord> {
    COMMANDS.iter().find(|command| command.name == name)
}

impl Command {
    /// The word that asks for it, if one does.
    pub(super) fn word(self) -> Option<&'static CommandWord> {
        COMMANDS.iter().find(|word| word.command == self)
    }
}

impl CommandWord {
    /// Its help, ending in a newline.
    #[must_use]
    pub(crate) fn help(&self) -> String {
        let mut summary = self.summary.to_owned();
        summary[..1].make_ascii_uppercase();
        let mut text = format!(
            "Usage: xray {} {}\n\n{summary}.\n{}\n",
            self.name, self.arguments, self.details
        );
        let shown = |flag: &&Flag| self.flags.contains(&flag.name);
        FLAGS
            .iter()
            .filter(shown)
            .for_each(|flag| flag_line(&mut text, flag));
        for (general, own) in self.differences {
            text = text.replace(general, own);
        }
        text
    }
}

/// The help text, one line a flag, ending in a newline.
#[must_use]
pub fn help() -> String {
    let daemon = "receive segments and send them to AWS X-Ray";
    let commands = COMMANDS.iter().map(|word| {
        let usage = format!("{} {}", word.name, word.arguments);
        (usage, word.summary)
    });
    let usages: Vec<(String, &str)> = [("[options]".to_owned(), daemon)]
        .into_iter()
        .chain(commands)
        .collect();
    let width = usages.iter().map(|(usage, _)| usage.len()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for (index, (usage, summary)) in usages.iter().enumerate() {
        let start = if index == 0 { "Usage:" } else { "      " };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "{start} xray {usage:<width$}  {summary}");
    }
    text.push('\n');
    FLAGS.iter().for_each(|flag| flag_line(&mut text, flag));
    text
}

fn flag_line(text: &mut String, flag: &Flag) {
    let short = match flag.short {
        "" => "    ".to_owned(),
        short => format!("-{short}, "),
    };
    let placeholder = flag.placeholder().unwrap_or_default();
    let long = format!("--{} {placeholder}", flag.name);
    let _ = writeln!(text, "  {short}{long:<26}{}", flag.help);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_a_help_of_its_own() {
        for word in COMMANDS {
            let help = word.help();
            let usage = format!("Usage: xray {} {}\n", word.name, word.arguments);
            assert!(help.starts_with(&usage), "{help}");
            for name in word.flags {
                assert!(help.contains(&format!("--{name} ")), "{name} in\n{help}");
            }
            for (general, own) in word.differences {
                assert!(super::help().contains(general), "{general}");
                assert!(!help.contains(general) && help.contains(own), "{help}");
            }
            assert!(word.details.lines().all(|line| line.len() <= 100), "{help}");
            assert_eq!(command(word.name), Some(word));
            assert_eq!(word.command.word(), Some(word));
        }
        assert_eq!(Command::Run.word(), None);
    }
}
