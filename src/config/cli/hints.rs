//! Suggestions for a command line that cannot be understood.

use super::commands::COMMANDS;
use super::flags::FLAGS;
use crate::config::nearest::nearest;

/// What the entry points of the images are called. People repeat it in the `command` of a container,
/// where only its arguments belong; the official daemon takes it for a word to ignore.
const ENTRY_POINTS: [&str; 3] = ["/xray", "xray", "/usr/bin/xray"];

/// Why the first argument is no command; `None` if it is one of the words that are ignored, as every
/// word behind a flag is.
pub(super) fn unknown_command(word: &str) -> Option<String> {
    // Scripts pass an empty argument where they have no flags to add.
    if word.is_empty() || ENTRY_POINTS.contains(&word) {
        return None;
    }
    let names = COMMANDS.iter().map(|command| command.name);
    let flags = FLAGS.iter().map(|flag| flag.name);
    let hint = match (nearest(word, names.clone()), nearest(word, flags)) {
        (Some(name), _) => format!("did you mean {name}?"),
        (None, Some(flag)) => format!("did you mean --{flag}?"),
        (None, None) => format!(
            "without a command, xray is the daemon; the commands are {}",
            names.collect::<Vec<_>>().join(", ")
        ),
    };
    Some(format!("unknown command {word:?}; {hint}"))
}

/// The end of a message that a flag is not known: empty if nothing comes near.
pub(super) fn unknown_flag(argument: &str, name: &str) -> String {
    let separate = one_argument(argument);
    if !separate.is_empty() {
        return separate;
    }
    let long = nearest(name, FLAGS.iter().map(|flag| flag.name));
    let shorts = FLAGS.iter().map(|flag| flag.short);
    let short = nearest(name, shorts.filter(|short| !short.is_empty()));
    match (long, short) {
        (Some(long), _) => format!("; did you mean --{long}?"),
        (None, Some(short)) => format!("; did you mean -{short}?"),
        (None, None) => String::new(),
    }
}

/// The end of a message about an argument that holds several, as `"-o -n eu-west-1"` in a task
/// definition; empty if it is one.
pub(super) fn one_argument(argument: &str) -> String {
    let words: Vec<&str> = argument.split_whitespace().collect();
    if words.len() < 2 {
        return String::new();
    }
    let list: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!(
        "; this is one argument with spaces in it: write each as one of its own, in a list as {}",
        list.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_guessed() {
        for (word, expected) in [
            (
                "healthchek",
                Some("unknown command \"healthchek\"; did you mean healthcheck?"),
            ),
            (
                "version",
                Some("unknown command \"version\"; did you mean --version?"),
            ),
            (
                "help",
                Some("unknown command \"help\"; did you mean --help?"),
            ),
            ("", None),
            ("/xray", None),
            ("xray", None),
            ("/usr/bin/xray", None),
        ] {
            assert_eq!(unknown_command(word).as_deref(), expected, "{word}");
        }
        let message = unknown_command("start").unwrap();
        assert!(message.contains("xray is the daemon"), "{message}");
        for command in COMMANDS {
            assert!(message.contains(command.name), "{message}");
        }
    }

    #[test]
    fn flags_are_guessed() {
        for (argument, name, expected) in [
            ("-regoin", "regoin", "; did you mean --region?"),
            ("--Region", "Region", "; did you mean --region?"),
            ("--bind-udp", "bind-udp", "; did you mean --bind-tcp?"),
            ("-N", "N", "; did you mean -n?"),
            ("-x", "x", ""),
            ("-ob", "ob", ""),
            (
                "-o -n us-east-1",
                "o -n us-east-1",
                "; this is one argument with spaces in it: write each as one of its own, in a \
                 list as \"-o\", \"-n\", \"us-east-1\"",
            ),
        ] {
            assert_eq!(unknown_flag(argument, name), expected, "{argument}");
        }
    }
}
