//! Completions for bash, zsh and fish, made from the table of flags. Only packaging calls this:
//! the linker leaves it out of the daemon.

use std::fmt::Write as _;

use super::commands::COMMANDS;
use super::flags::{FLAGS, Flag};

/// The words that a value can be, by its placeholder. Empty: it is free text.
fn choices(placeholder: &str) -> &'static [&'static str] {
    match placeholder {
        "WHERE" => &["xray", "auto", "console", "json"],
        "FORMAT" => &["text", "json"],
        "LEVEL" => &["dev", "debug", "info", "warn", "error", "prod"],
        _ => &[],
    }
}

/// What completes the value of a flag.
enum FlagValue {
    None,
    Words(&'static [&'static str]),
    File,
    Folder,
    Text,
}

fn value(flag: &Flag) -> FlagValue {
    match flag.placeholder() {
        None => FlagValue::None,
        Some("PATH") => FlagValue::File,
        Some("DIR") => FlagValue::Folder,
        Some(placeholder) => match choices(placeholder) {
            [] => FlagValue::Text,
            words => FlagValue::Words(words),
        },
    }
}

/// `--name` and, where there is one, `-n`.
fn spellings(flag: &Flag) -> Vec<String> {
    let mut spellings = vec![format!("--{}", flag.name)];
    if !flag.short.is_empty() {
        spellings.push(format!("-{}", flag.short));
    }
    spellings
}

/// For `/usr/share/bash-completion/completions/xray`.
#[must_use]
pub fn bash() -> String {
    let mut text = String::from(
        "_xray() {\n    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n\
         \x20   COMPREPLY=()\n    case $before in\n",
    );
    // Writing to a String cannot fail, here and below.
    for flag in FLAGS {
        let action = match value(flag) {
            FlagValue::None => continue,
            FlagValue::Words(words) => format!(
                "mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$word\"); ",
                words.join(" ")
            ),
            FlagValue::File => "mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); ".to_owned(),
            FlagValue::Folder => "mapfile -t COMPREPLY < <(compgen -d -- \"$word\"); ".to_owned(),
            FlagValue::Text => String::new(),
        };
        let names = spellings(flag).join("|");
        let _ = writeln!(text, "        {names}) {action}return ;;");
    }
    let names: Vec<String> = FLAGS.iter().flat_map(spellings).collect();
    let commands: Vec<&str> = COMMANDS.iter().map(|word| word.name).collect();
    let _ = write!(
        text,
        "    esac\n    case $word in\n        -*) mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$word\") ;;\n\
         \x20       *) mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$word\") ;;\n    esac\n}}\n\
         complete -F _xray xray\n",
        names.join(" "),
        commands.join(" ")
    );
    text
}

/// For `/usr/share/zsh/vendor-completions/_xray`.
#[must_use]
pub fn zsh() -> String {
    let mut text = String::from("#compdef xray\n\n_arguments -S \\\n");
    for flag in FLAGS {
        let help = flag
            .help
            .replace('\'', "'\\''")
            .replace('[', "\\[")
            .replace(']', "\\]")
            .replace(':', "\\:");
        let placeholder = flag.placeholder().unwrap_or_default();
        let value = match value(flag) {
            FlagValue::None => String::new(),
            FlagValue::Words(words) => format!(":{placeholder}:({})", words.join(" ")),
            FlagValue::File => format!(":{placeholder}:_files"),
            FlagValue::Folder => format!(":{placeholder}:_files -/"),
            FlagValue::Text => format!(":{placeholder}:"),
        };
        for spelling in spellings(flag) {
            let _ = writeln!(text, "  '*{spelling}[{help}]{value}' \\");
        }
    }
    let commands: Vec<String> = COMMANDS
        .iter()
        .map(|word| format!("{}\\:\"{}\"", word.name, word.summary))
        .collect();
    let _ = writeln!(text, "  '1::command:(({}))'", commands.join(" "));
    text
}

/// For `/usr/share/fish/vendor_completions.d/xray.fish`.
#[must_use]
pub fn fish() -> String {
    let mut text = String::from("complete -c xray -f\n");
    for word in COMMANDS {
        let _ = writeln!(
            text,
            "complete -c xray -n __fish_use_subcommand -a {} -d '{}'",
            word.name,
            quoted(word.summary)
        );
    }
    for flag in FLAGS {
        let _ = write!(text, "complete -c xray -l {}", flag.name);
        if !flag.short.is_empty() {
            let _ = write!(text, " -s {}", flag.short);
        }
        match value(flag) {
            FlagValue::None => {}
            FlagValue::Words(words) => {
                let _ = write!(text, " -x -a '{}'", words.join(" "));
            }
            FlagValue::File => text.push_str(" -r -F"),
            FlagValue::Folder => text.push_str(" -x -a '(__fish_complete_directories)'"),
            FlagValue::Text => text.push_str(" -x"),
        }
        let _ = writeln!(text, " -d '{}'", quoted(flag.help));
    }
    text
}

/// Inside single quotes, as fish reads them.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    #[test]
    fn every_flag_and_command_is_in_every_shell() {
        let (bash, zsh, fish) = (bash(), zsh(), fish());
        for flag in FLAGS {
            for spelling in spellings(flag) {
                assert!(bash.contains(&spelling), "bash {spelling}");
                assert!(zsh.contains(&format!("'*{spelling}[")), "zsh {spelling}");
            }
            assert!(
                fish.contains(&format!("-l {}", flag.name)),
                "fish {}",
                flag.name
            );
        }
        for word in COMMANDS {
            for text in [&bash, &zsh, &fish] {
                assert!(text.contains(word.name), "{}", word.name);
            }
        }
    }

    #[test]
    fn the_parser_takes_every_word_offered() {
        let mut offered = 0;
        for flag in FLAGS {
            let FlagValue::Words(words) = value(flag) else {
                continue;
            };
            for word in words {
                let line = format!("--{}={word}", flag.name);
                assert!(
                    super::super::parse([OsString::from(&line)]).is_ok(),
                    "{line}"
                );
                offered += 1;
            }
        }
        assert!(
            offered >= 6,
            "the flags with fixed words have lost their placeholders"
        );
    }
}
