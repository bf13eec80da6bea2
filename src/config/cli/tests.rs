use super::*;
use crate::logging::LogFormat;
use proptest::prelude::*;
use std::time::Duration;

fn run(line: &str) -> Result<Parsed, String> {
    parse(line.split_whitespace().map(OsString::from)).map_err(|e| e.to_string())
}

fn flags(line: &str) -> Flags {
    run(line).unwrap().flags
}

#[test]
fn every_spelling_of_a_value() {
    for line in [
        "-bind x:1",
        "--bind x:1",
        "-b x:1",
        "--b x:1",
        "-bind=x:1",
        "--bind=x:1",
        "-b=x:1",
        "--b=x:1",
    ] {
        assert_eq!(flags(line).bind.as_deref(), Some("x:1"), "{line}");
    }
}

#[test]
fn switches_take_no_word_but_may_take_a_value() {
    for (line, expected) in [
        ("-o", Some(true)),
        ("--local-mode", Some(true)),
        ("-o=false", Some(false)),
        ("-o=F", Some(false)),
        ("--local-mode=1", Some(true)),
        // Go ends at the word `false`: the switch before it stays on.
        ("-o false -n x", Some(true)),
        ("", None),
    ] {
        assert_eq!(flags(line).local_mode, expected, "{line}");
    }
    assert_eq!(flags("-o false -n x").region, None);
    let ignored = |line| run(line).unwrap().ignored;
    assert_eq!(ignored("-o false -n x").as_deref(), Some("false"));
    assert_eq!(ignored("-o -n x healthcheck"), None);
}

#[test]
fn the_last_one_wins_whatever_its_spelling() {
    let f = flags("-t 0.0.0.0:2000 -b 0.0.0.0:2000 --bind-tcp=127.0.0.1:1 -b=[::1]:2");
    assert_eq!(f.bind_tcp.as_deref(), Some("127.0.0.1:1"));
    assert_eq!(f.bind.as_deref(), Some("[::1]:2"));
}

#[test]
fn a_value_may_look_like_a_flag_or_be_empty() {
    assert_eq!(flags("-m -1").buffer_memory, Some(-1));
    assert_eq!(flags("-n --help").region.as_deref(), Some("--help"));
    assert_eq!(flags("-n=").region.as_deref(), Some(""));
    assert_eq!(flags("-n=a=b").region.as_deref(), Some("a=b"));
}

#[test]
fn the_first_word_ends_the_flags() {
    for line in ["-n r stray -b x", "-n r -- -b x", "-n r - -b x", "-n r --"] {
        let parsed = run(line).unwrap();
        assert_eq!(parsed.flags.region.as_deref(), Some("r"), "{line}");
        assert_eq!(parsed.flags.bind, None, "{line}");
        assert_eq!(parsed.command, Command::Run, "{line}");
    }
}

#[test]
fn a_first_word_that_is_no_command_is_an_error() {
    for line in ["version", "healthchek -t a:1", "start -n r", "- -n r"] {
        let message = run(line).unwrap_err();
        assert!(message.starts_with("unknown command"), "{line}: {message}");
    }
    // The entry point of an image, repeated in the command of a container.
    for line in ["/xray -n r", "xray", "/usr/bin/xray -o"] {
        let parsed = run(line).unwrap();
        assert_eq!(parsed.command, Command::Run, "{line}");
        assert_eq!(parsed.ignored.as_deref(), line.split(' ').next(), "{line}");
    }
}

#[test]
fn healthcheck_stands_anywhere_among_the_flags() {
    for line in [
        "healthcheck -t a:1 -b b:2",
        "-t a:1 healthcheck -b b:2",
        "-t a:1 -b b:2 healthcheck",
    ] {
        let parsed = run(line).unwrap();
        assert_eq!(parsed.command, Command::Healthcheck, "{line}");
        assert_eq!(parsed.flags.bind_tcp.as_deref(), Some("a:1"), "{line}");
        assert_eq!(parsed.flags.bind.as_deref(), Some("b:2"), "{line}");
    }
    // Taken as a value, it is one.
    let parsed = run("-n healthcheck").unwrap();
    assert_eq!(parsed.command, Command::Run);
}

#[test]
fn words_that_nobody_reads_are_refused() {
    for (line, message) in [
        ("-- job", "did you mean `xray exec ... -- job`?"),
        ("-o -n r -- job -x", "did you mean `xray exec ... -- job`?"),
        (
            "check -- job",
            "check takes flags only, and \"job\" is none\nsee `xray check --help`",
        ),
        (
            "healthcheck -t a:1 foo",
            "healthcheck takes flags only, and \"foo\" is none\nsee `xray healthcheck --help`",
        ),
        (
            "exec",
            "exec: no program is given: xray exec [options] -- PROGRAM\nsee `xray exec --help`",
        ),
    ] {
        assert_eq!(run(line), Err(message.to_owned()), "{line}");
    }
    // Scripts pass an empty argument where they have nothing to add.
    let empty = ["healthcheck", ""].map(OsString::from);
    assert_eq!(parse(empty).unwrap().command, Command::Healthcheck);
}

#[test]
fn exec_takes_a_program_behind_the_dashes() {
    let words = |line: &str| -> Vec<OsString> { line.split(' ').map(OsString::from).collect() };
    for line in [
        "exec -n r -- job --help -- -n x",
        "-n r exec -- job --help -- -n x",
    ] {
        let parsed = run(line).unwrap();
        assert_eq!(parsed.command, Command::Exec, "{line}");
        assert_eq!(parsed.flags.region.as_deref(), Some("r"), "{line}");
        assert_eq!(parsed.program, words("job --help -- -n x"), "{line}");
        assert!(!parsed.is_hosted);
    }
    for line in [
        "exec",
        "exec --",
        "exec job",
        "exec -n r job",
        "exec-daemon -n r",
    ] {
        assert!(run(line).is_err(), "{line}");
    }
    let hosted = run("exec-daemon exec -n r").unwrap();
    assert!(hosted.is_hosted && hosted.command == Command::Exec);
    // Only in the first place, where nobody writes it by chance.
    assert_eq!(
        run("-n r exec-daemon").unwrap().ignored.as_deref(),
        Some("exec-daemon")
    );
    let help = run("exec --help -- job").unwrap().command;
    assert_eq!(help, Command::Help(Command::Exec.word()));
}

#[test]
fn help_and_version() {
    for line in [
        "-h",
        "--help",
        "-help",
        "-h=x",
        "-n r -h -nonsense",
        "-h healthcheck",
    ] {
        assert_eq!(run(line).unwrap().command, Command::Help(None), "{line}");
    }
    for line in [
        "healthcheck -h",
        "-t x:1 healthcheck --help",
        "healthcheck -n r -h",
    ] {
        let Command::Help(Some(word)) = run(line).unwrap().command else {
            panic!("{line}");
        };
        assert_eq!(word.name, "healthcheck", "{line}");
    }
    for line in ["-v", "--version", "-n r -version=true", "healthcheck -v"] {
        assert_eq!(run(line).unwrap().command, Command::Version, "{line}");
    }
    assert_eq!(run("-v=false").unwrap().command, Command::Run);
    assert!(run("-v -nonsense").is_err(), "later flags are still read");
    assert_eq!(
        version(),
        concat!("AWS X-Ray daemon version: ", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn errors_are_worded_as_in_go() {
    for (line, message) in [
        ("-ob", "flag provided but not defined: -ob"),
        ("--x=1", "flag provided but not defined: -x"),
        ("---b x", "bad flag syntax: ---b"),
        ("-=x", "bad flag syntax: -=x"),
        ("--=x", "bad flag syntax: --=x"),
        (
            "--regoin=x",
            "flag provided but not defined: -regoin; did you mean --region?",
        ),
        ("-n", "flag needs an argument: -n"),
        ("--bind", "flag needs an argument: -bind"),
        (
            "-m 16MB",
            "invalid value \"16MB\" for flag -m: use a whole number of MB",
        ),
        (
            "-m=",
            "invalid value \"\" for flag -m: use a whole number of MB",
        ),
        (
            "-o=yes",
            "invalid boolean value \"yes\" for -o: parse error",
        ),
        (
            "--exporter otlp",
            "invalid value \"otlp\" for flag -exporter: use xray, auto, console or json",
        ),
        (
            "--log-format xml",
            "invalid value \"xml\" for flag -log-format: use text or json",
        ),
        (
            "--shutdown-delay=-1s",
            "invalid value \"-1s\" for flag -shutdown-delay: use a time such as 10s, 500ms or 1m",
        ),
    ] {
        assert_eq!(run(line), Err(message.to_owned()), "{line}");
    }
}

#[test]
fn additions() {
    let f = flags("--exporter json --log-format=json --shutdown-delay 5 --shutdown-timeout 500ms");
    assert_eq!(f.exporter, Some(Exporter::Json));
    assert_eq!(f.log_format, Some(LogFormat::Json));
    assert_eq!(f.shutdown_delay, Some(Duration::from_secs(5)));
    assert_eq!(f.shutdown_timeout, Some(Duration::from_millis(500)));
}

#[test]
fn the_official_flags_are_all_there() {
    for (short, long) in [
        ("a", "resource-arn"),
        ("o", "local-mode"),
        ("m", "buffer-memory"),
        ("n", "region"),
        ("b", "bind"),
        ("t", "bind-tcp"),
        ("r", "role-arn"),
        ("c", "config"),
        ("f", "log-file"),
        ("l", "log-level"),
        ("p", "proxy-address"),
        ("v", "version"),
        ("h", "help"),
    ] {
        assert!(
            FLAGS.iter().any(|f| f.short == short && f.name == long),
            "-{short}, --{long}"
        );
    }
}

#[test]
fn names_are_unique_and_the_help_has_every_one() {
    let help = help();
    let mut names: Vec<&str> = FLAGS.iter().flat_map(|f| [f.name, f.short]).collect();
    names.retain(|n| !n.is_empty());
    for flag in FLAGS {
        assert!(help.contains(&format!("--{} ", flag.name)), "{}", flag.name);
    }
    let total = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), total);
}

#[cfg(unix)]
#[test]
fn arguments_that_are_not_utf8_are_an_error() {
    use std::os::unix::ffi::OsStringExt;
    let bad = || OsString::from_vec(b"-\xff".to_vec());
    assert!(parse([bad()]).is_err());
    assert!(parse([OsString::from("-n"), bad()]).is_err());
    // After the end of the flags nothing is read.
    assert!(parse([OsString::from("--"), bad()]).is_ok());
}

proptest! {
    #[test]
    fn no_arguments_panic(args in proptest::collection::vec(".{0,12}", 0..8)) {
        let _ = parse(args.into_iter().map(OsString::from));
    }

    /// Any mix of spellings of two flags means: each flag's last value.
    #[test]
    fn mixed_spellings(settings in proptest::collection::vec((0..2usize, 0..4usize, "[a-z]{0,5}"), 0..12)) {
        let mut args = Vec::new();
        let mut last = [None, None];
        for (which, spelling, value) in settings {
            let (long, short) = [("region", "n"), ("bind", "b")][which];
            match spelling {
                0 => args.extend([format!("-{short}"), value.clone()]),
                1 => args.push(format!("-{short}={value}")),
                2 => args.extend([format!("--{long}"), value.clone()]),
                _ => args.push(format!("-{long}={value}")),
            }
            last[which] = Some(value);
        }
        let flags = parse(args.into_iter().map(OsString::from)).unwrap().flags;
        prop_assert_eq!([flags.region, flags.bind], last);
    }
}

#[test]
fn the_readme_shows_the_help_as_it_is() {
    let readme = include_str!("../../../README.md");
    assert!(
        readme.contains(&help()),
        "README.md: paste the output of `xray -h`"
    );
}
