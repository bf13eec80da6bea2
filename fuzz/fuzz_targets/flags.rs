//! The command line, whose grammar is Go's: every spelling of the same flags is understood alike, the
//! last one wins, what stands behind the end of the flags changes nothing, and numbers, truth values
//! and durations are what Go reads.
#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use xray::config::cli::go::{boolean, duration, integer};
use xray::config::cli::{Command, Flags, Parsed, UsageError, parse};

/// A flag by its long and its short name, and whether it is a switch.
const FLAGS: [(&str, &str, bool); 24] = [
    ("resource-arn", "a", false),
    ("local-mode", "o", true),
    ("buffer-memory", "m", false),
    ("region", "n", false),
    ("bind", "b", false),
    ("bind-tcp", "t", false),
    ("otlp", "otlp", false),
    ("role-arn", "r", false),
    ("external-id", "external-id", false),
    ("config", "c", false),
    ("log-file", "f", false),
    ("log-level", "l", false),
    ("proxy-address", "p", false),
    ("exporter", "exporter", false),
    ("annotations", "annotations", true),
    ("view", "view", true),
    ("view-any-host", "view-any-host", true),
    ("log-format", "log-format", false),
    ("allow-origin", "allow-origin", false),
    ("sampling-cache", "sampling-cache", false),
    ("spool", "spool", false),
    ("spool-limit", "spool-limit", false),
    ("shutdown-timeout", "shutdown-timeout", false),
    ("version", "v", true),
];

fn read(words: &[String]) -> Result<Parsed, UsageError> {
    parse(words.iter().map(OsString::from))
}

/// The words of one flag: with one dash or two, by its long or its short name, the value behind `=` or
/// as a word of its own.
fn spell(flag: (&str, &str, bool), value: &str, spelling: u8) -> Vec<String> {
    let (long, short, is_switch) = flag;
    let dashes = if spelling & 1 == 0 { "-" } else { "--" };
    let name = if spelling & 2 == 0 { long } else { short };
    match is_switch {
        true if spelling & 4 == 0 && value == "true" => vec![format!("{dashes}{name}")],
        false if spelling & 4 == 0 => vec![format!("{dashes}{name}"), value.to_owned()],
        _ => vec![format!("{dashes}{name}={value}")],
    }
}

/// `strconv.ParseInt(word, 0, 64)`, written another way: the digits without their underscores are
/// read by the standard library, after the places of the underscores have been checked.
fn integer_otherwise(word: &str) -> Option<i64> {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let sign = &word[..word.len() - unsigned.len()];
    let lower = unsigned.to_ascii_lowercase();
    let (base, digits) = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, base)| Some((base, lower.strip_prefix(prefix)?)))
        .or_else(|| Some((8, lower.strip_prefix('0').filter(|rest| !rest.is_empty())?)))
        .unwrap_or((10, &lower));
    let has_prefix = digits.len() < lower.len();
    let is_misplaced =
        digits.ends_with('_') || digits.contains("__") || digits.starts_with('_') && !has_prefix;
    let plain = digits.replace('_', "");
    if is_misplaced || !plain.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{plain}"), base).ok()
}

fn numbers(word: &str) {
    assert_eq!(integer(word), integer_otherwise(word), "{word:?}");
    if let Some(number) = integer(word) {
        assert_eq!(integer(&number.to_string()), Some(number));
    }
    if let Some(truth) = boolean(word) {
        let first = word.as_bytes()[0].to_ascii_lowercase();
        assert_eq!(truth, matches!(first, b'1' | b't'), "{word:?}");
    }
    if let Some(time) = duration(word) {
        // It is told in full, and begins a longer one.
        let nanos = time.as_nanos();
        assert_eq!(duration(&format!("{nanos}ns")), Some(time), "{word:?}");
        let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        assert_eq!(duration(&format!("{seconds}s{rest}ns")), Some(time));
        assert_eq!(duration(&format!("{seconds}.{rest:09}")), Some(time));
        if let Some(sum) = time.checked_add(Duration::from_secs(3_600))
            && !word.ends_with(|c: char| c.is_ascii_digit() || c == '.')
            && sum.as_nanos() <= u128::from(u64::MAX)
        {
            assert_eq!(duration(&format!("{word}1h")), Some(sum), "{word:?}");
        }
    }
}

/// The same flags in any spelling give the same settings.
fn spellings(given: &[(u8, u8, String)]) {
    let flag = |number: u8| FLAGS[usize::from(number) % FLAGS.len()];
    // A truth value is one in half of the cases.
    let value = |flag: (&str, &str, bool), spelling: u8, value: &String| match flag.2 {
        true if spelling & 8 == 0 => "true".to_owned(),
        _ => value.clone(),
    };
    let words = |spelling: &dyn Fn(u8) -> u8| -> Vec<String> {
        let spelled = given.iter().flat_map(|(number, how, text)| {
            let flag = flag(*number);
            spell(flag, &value(flag, *how, text), spelling(*how))
        });
        spelled.collect()
    };
    let plain = read(&words(&|_| 4));
    let varied = words(&|how| how);
    let other = read(&varied);
    match (&plain, &other) {
        (Ok(plain), Ok(other)) => assert_eq!(plain, other, "{varied:?}"),
        // The name is told as it was spelled.
        (Err(_), Err(_)) => {}
        _ => panic!("{varied:?}: {plain:?}, {other:?}"),
    }
    let Ok(parsed) = plain else { return };
    // The last one wins: once more changes nothing, and what comes later does.
    let twice = [varied.clone(), varied.clone()].concat();
    assert_eq!(read(&twice).as_ref(), Ok(&parsed), "{varied:?}");
    let mut later = varied.clone();
    later.push("--region=the-last".to_owned());
    let expected = Flags {
        region: Some("the-last".to_owned()),
        ..parsed.flags.clone()
    };
    assert_eq!(read(&later).expect("it was well before").flags, expected);
    // A word ends the flags.
    if !varied.is_empty() {
        let mut ended = varied.clone();
        ended.extend(["word", "--region", "never", "--nonsense"].map(str::to_owned));
        let ended = read(&ended).expect("nothing behind a word is read");
        assert_eq!(ended.flags, parsed.flags);
        assert_eq!(ended.ignored.as_deref(), Some("word"));
    }
    // Nothing of a program's arguments is a flag of ours.
    let mut exec = vec!["exec".to_owned()];
    exec.extend(varied);
    exec.extend(["--", "program", "--region", "theirs"].map(str::to_owned));
    let exec = read(&exec).expect("it was well before");
    assert_eq!(exec.flags, parsed.flags);
    assert_eq!(exec.program, ["program", "--region", "theirs"]);
}

fuzz_target!(|input: (Vec<(u8, u8, String)>, Vec<Vec<u8>>)| {
    let (given, raw) = input;
    for (_, _, text) in &given {
        numbers(text);
    }
    spellings(&given);

    // Any bytes are a command line, or an error that says something.
    let raw: Vec<OsString> = raw.into_iter().map(OsString::from_vec).collect();
    match parse(raw.clone()) {
        Ok(parsed) => {
            let is_exec = parsed.command == Command::Exec;
            assert_eq!(is_exec && !parsed.is_hosted, !parsed.program.is_empty());
            let asks = matches!(parsed.command, Command::Help(_) | Command::Version);
            assert!(asks || parsed.flags.version != Some(true));
            if parsed.ignored.is_none() && parsed.program.is_empty() && !asks {
                let first: Vec<OsString> = raw.iter().take_while(|w| *w != "--").cloned().collect();
                // Behind a flag that needs one, `--` is its value.
                if let Ok(first) = parse(first) {
                    assert_eq!(first, parsed);
                }
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
