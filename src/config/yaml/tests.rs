use super::*;
use proptest::prelude::*;

/// Each entry as `path=value@line:column`.
fn summary(text: &str) -> Vec<String> {
    let document = read(text);
    let mut lines: Vec<String> = document
        .entries
        .iter()
        .map(|entry| {
            let value = match &entry.value {
                YamlValue::Scalar(s) if s.plain => s.text.clone(),
                YamlValue::Scalar(s) => format!("{:?}", s.text),
                YamlValue::Sequence => "[]".to_owned(),
                YamlValue::Mapping => "{}".to_owned(),
            };
            let Position { line, column } = entry.value_at;
            format!("{}={value}@{line}:{column}", entry.path)
        })
        .collect();
    if let Some(YamlProblem { at, message }) = document.error {
        lines.push(format!("{}:{}: {message}", at.line, at.column));
    }
    lines
}

#[test]
fn keys_sections_and_places() {
    let table: &[(&str, &[&str])] = &[
        ("", &[]),
        ("# only a comment\n", &[]),
        ("~", &[]),
        ("Region: us-east-1", &["Region=us-east-1@1:9"]),
        ("\u{feff}Region: a\n", &["Region=a@1:9"]),
        (
            "Region: a\r\nEndpoint: b\r\n",
            &["Region=a@1:9", "Endpoint=b@2:11"],
        ),
        ("Region:\nEndpoint: b", &["Region=@1:7", "Endpoint=b@2:11"]),
        (
            "Socket:\n  UDPAddress: \"127.0.0.1:2000\"\n  TCPAddress: '[::1]:2000'\n",
            &[
                "Socket.UDPAddress=\"127.0.0.1:2000\"@2:15",
                "Socket.TCPAddress=\"[::1]:2000\"@3:15",
            ],
        ),
        (
            "{Socket: {UDPAddress: a}, Version: 2}",
            &["Socket.UDPAddress=a@1:23", "Version=2@1:36"],
        ),
        ("Socket: {}", &["Socket={}@1:9"]),
        (
            "Region: {}\nVersion: 1",
            &["Region={}@1:9", "Version=1@2:10"],
        ),
        (
            "Socket:\n  A:\n    b: c\nVersion: 1",
            &["Socket.A={}@3:5", "Version=1@4:10"],
        ),
        (
            "Region: [a, {b: [c]}]\nVersion: 1",
            &["Region=[]@1:9", "Version=1@2:10"],
        ),
        (
            "Region: &r x\nEndpoint: *r",
            &["Region=x@1:9", "Endpoint=x@2:11"],
        ),
        ("Version: !!str 2", &["Version=\"2\"@1:10"]),
        ("Version: !!int '2'", &["Version=2@1:10"]),
        ("Region: >\n  a\n  b\n", &["Region=\"a b\\n\"@2:3"]),
        ("---\nVersion: 1\n---\nVersion: 2\n", &["Version=1@2:10"]),
        (
            "Version: 1\nVersion: 2",
            &["Version=1@1:10", "Version=2@2:10"],
        ),
        // Errors end the reading; what stands before them is kept.
        (
            "Version: 1\n<<: {a: b}",
            &[
                "Version=1@1:10",
                "2:1: merge keys (<<) are not read; write the keys out",
            ],
        ),
        (
            "Socket: &s {UDPAddress: a}\nLogging: *s",
            &[
                "Socket.UDPAddress=a@1:25",
                "2:10: only a single value can be an alias; write this one out",
            ],
        ),
        ("[a]: b", &["1:1: a key must be a word"]),
        ("- a", &["1:1: the file must consist of `Key: value` lines"]),
        (
            "word",
            &["1:1: the file must consist of `Key: value` lines"],
        ),
    ];
    for (text, expected) in table {
        assert_eq!(summary(text), *expected, "{text:?}");
    }
}

#[test]
fn syntax_errors_have_a_place() {
    for (text, line) in [
        ("Version: 1\nRegion: \"open", 2),
        ("Version: 1\n\tRegion: x", 1),
        ("Version: 1\n  Region: x", 2),
        ("Version: *nowhere", 1),
        ("a: [1, 2", 1),
        ("a: b: c", 1),
    ] {
        let error = read(text).error.expect(text);
        assert!(error.at.line >= line, "{text:?}: {error:?}");
        assert!(!error.message.is_empty());
    }
}

#[test]
fn plain_scalars_follow_yaml_v2() {
    let plain = |text: &str| YamlScalar {
        text: text.to_owned(),
        plain: true,
    };
    for word in [
        "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON",
    ] {
        assert_eq!(plain(word).boolean(), Some(true), "{word}");
    }
    for word in [
        "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF",
    ] {
        assert_eq!(plain(word).boolean(), Some(false), "{word}");
    }
    for word in ["1", "0", "t", "tRUE", "", "yess"] {
        assert_eq!(plain(word).boolean(), None, "{word}");
    }
    for (word, expected) in [
        ("8", Some(8)),
        ("-8", Some(-8)),
        ("+8", Some(8)),
        ("010", Some(8)),
        ("0x10", Some(16)),
        ("0b11", Some(3)),
        ("1_000", Some(1000)),
        ("1__0_", Some(10)),
        ("8.0", Some(8)),
        ("8.9", Some(8)),
        ("1e+2", Some(100)),
        ("_8", None),
        ("", None),
        ("eight", None),
        ("8 MB", None),
        ("1e+300", None),
        ("-.inf", None),
        ("+nan", None),
        ("2020-01-01", None),
    ] {
        assert_eq!(plain(word).integer(), expected, "{word}");
    }
    for word in ["", "~", "null", "Null", "NULL"] {
        assert!(plain(word).is_null(), "{word}");
    }
}

#[test]
fn quoted_scalars_are_text_only() {
    for word in ["yes", "8", "", "~"] {
        let scalar = YamlScalar {
            text: word.to_owned(),
            plain: false,
        };
        assert_eq!(
            (scalar.boolean(), scalar.integer(), scalar.is_null()),
            (None, None, false)
        );
    }
}

#[test]
fn nesting_is_bounded() {
    for text in [
        format!("a: {}", "[".repeat(100_000)),
        format!("a: {}", "{a: ".repeat(50_000)),
        format!("a:\n  b:\n    {}", "- ".repeat(100_000)),
        format!("a: {}x", "? ".repeat(100_000)),
    ] {
        assert!(read(&text).error.is_some());
    }
}

#[test]
fn the_number_of_keys_is_bounded() {
    let keys = |count| "a:\n".repeat(count);
    assert_eq!(read(&keys(MAX_KEYS)).error, None);
    assert!(read(&keys(MAX_KEYS + 1)).error.is_some());
}

/// Each level would be twice the one before, had aliases of lists been expanded.
#[test]
fn an_alias_bomb_is_refused() {
    let mut text = String::from("a0: &a0 [x, x]\n");
    for level in 1..64 {
        let before = level - 1;
        text += &format!("a{level}: &a{level} [*a{before}, *a{before}]\n");
    }
    assert_eq!(read(&text).entries.len(), 64);
    text += "Region: *a63\n";
    assert!(read(&text).error.is_some());
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*") {
        let _ = read(&text);
    }

    #[test]
    fn no_yaml_like_text_panics(text in "([a-c<!&*?|>%@`'\"#,:\\[\\]{}~.0-9+-]|: |- |\n|\n  |\t|\r\n|---\n|\u{85}|\u{2028}|\u{feff}|\0){0,40}") {
        let _ = read(&text);
    }

    /// Whatever single-line text is quoted comes back as it was.
    #[test]
    fn quoted_text_is_read_back(value in "[ -~]{0,40}") {
        let text = format!("Region: '{}'", value.replace('\'', "''"));
        let document = read(&text);
        prop_assert_eq!(document.error, None);
        let scalar = YamlScalar { text: value, plain: false };
        prop_assert_eq!(&document.entries[0].value, &YamlValue::Scalar(scalar));
    }
}
