//! The view as a whole: golden texts and properties.

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::{Console, Options};

const PLAIN: Options = Options {
    width: 100,
    colour: false,
    ascii: false,
    annotations: false,
};
const CHECKOUT: &str = include_str!("../../examples/checkout.jsonl");
const ODD: &str = include_str!("../../tests/golden/odd.jsonl");
/// Encoded by the OpenTelemetry SDK for Python, as its AWS distribution does for UDP.
pub(super) const OTLP: &str = include_str!("../../tests/golden/otlp.txt");

fn drawn(documents: &str, options: Options) -> String {
    let mut out = String::new();
    let mut console = Console::new(options);
    let now = Instant::now();
    for document in documents.lines() {
        console.document(document, now, &mut out);
    }
    console.finish(&mut out);
    out
}

/// `UPDATE_GOLDEN=1 cargo test` writes the texts anew, for `git diff` to show.
fn assert_golden(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(text == golden, "{name} differs; now it is:\n{text}");
}

#[test]
fn a_trace_of_three_services_at_several_widths() {
    let at = |width| Options { width, ..PLAIN };
    let ascii = Options {
        ascii: true,
        ..at(80)
    };
    let full = Options {
        colour: true,
        annotations: true,
        ..PLAIN
    };
    assert_golden("checkout-60.txt", &drawn(CHECKOUT, at(60)));
    assert_golden("checkout-80-ascii.txt", &drawn(CHECKOUT, ascii));
    assert_golden("checkout-100.txt", &drawn(CHECKOUT, PLAIN));
    assert_golden(
        "checkout-100-colour-annotations.txt",
        &drawn(CHECKOUT, full),
    );
    assert_golden("checkout-140.txt", &drawn(CHECKOUT, at(140)));
}

#[test]
fn odd_documents() {
    assert_golden("odd-100.txt", &drawn(ODD, PLAIN));
}

#[test]
fn spans_of_opentelemetry() {
    let options = Options {
        annotations: true,
        ..PLAIN
    };
    assert_golden("otlp-100.txt", &drawn(OTLP, options));
}

#[test]
fn what_is_deep_is_drawn() {
    let nested = |depth: usize| {
        let open = |n: usize| {
            format!(r#"{{"trace_id":"t","id":"n{n}","name":"n{n}","end_time":1,"subsegments":["#)
        };
        let open: Vec<_> = (0..depth).map(open).collect();
        [open.concat(), "]}".repeat(depth)].concat()
    };
    for depth in [100, 1_000] {
        let out = drawn(&nested(depth), PLAIN);
        assert!(out.starts_with("t  OK\n"), "{out}");
        assert_eq!(out.lines().count(), 2 + depth + 1);
        assert!(out.contains(&format!("└╴n{} ", depth - 1)), "{out}");
    }
    let out = drawn(&nested(2_500), PLAIN);
    assert!(out.starts_with("t  OK  500 subsegments folded\n"), "{out}");
    assert!(out.contains("└╴… 500 more\n"), "{out}");
    let arrays = ["[".repeat(30_000), "]".repeat(30_000)].concat();
    assert_eq!(drawn(&arrays, PLAIN).lines().count(), 1);
    let link = |n: i32| {
        let parent = n - 1;
        format!("{{\"trace_id\":\"t\",\"id\":\"{n}\",\"parent_id\":\"{parent}\"}}\n")
    };
    let chain: String = (0..400).map(link).collect();
    assert_eq!(drawn(&chain, PLAIN).lines().count(), 2 + 400 + 1);
}

#[test]
fn a_large_trace_keeps_its_root_and_what_failed() {
    // As SDKs send it: children first, the segment last.
    let mut documents = String::new();
    for n in 0..2_000 {
        let fault = if n % 900 == 899 {
            r#","fault":true"#
        } else {
            ""
        };
        let parent = if n % 2 == 0 { "loop" } else { "root" };
        documents += &format!(
            r#"{{"type":"subsegment","trace_id":"1-x","id":"s{n}","parent_id":"{parent}","name":"step {n}","start_time":{n},"end_time":{}{fault}}}"#,
            n + 1
        );
        documents.push('\n');
    }
    documents += r#"{"type":"subsegment","trace_id":"1-x","id":"loop","parent_id":"root","name":"loop","start_time":0,"end_time":2000}"#;
    documents.push('\n');
    documents += r#"{"trace_id":"1-x","id":"root","name":"batch","start_time":0,"end_time":2000"#;
    let out = drawn(&[&documents, r#","fault":true}"#].concat(), PLAIN);
    assert!(
        out.starts_with("1-x  FAULT  1502 subsegments folded\n"),
        "{out}"
    );
    let lines: Vec<_> = out.lines().collect();
    assert!(lines[2].starts_with("batch "), "{}", lines[2]);
    let failed = lines[2..].iter().filter(|line| line.contains(" FAULT "));
    assert_eq!(failed.count(), 1 + 2);
    let folded: Vec<_> = lines.iter().filter(|line| line.contains(" more")).collect();
    assert_eq!(folded, [&"│ └╴… 752 more", &"└╴… 750 more"]);
    let out = drawn(&[&documents, "}"].concat(), PLAIN);
    assert!(
        out.starts_with("1-x  OK  FAULT inside  1502 subsegments folded\n"),
        "{out}"
    );
}

#[test]
fn the_faults_of_what_is_folded_show() {
    let mut documents = String::new();
    for n in 0..1_000 {
        documents += &format!(
            r#"{{"type":"subsegment","trace_id":"1-x","id":"s{n}","parent_id":"root","name":"s","start_time":{n},"end_time":{n},"error":true}}"#,
        );
        documents.push('\n');
    }
    documents += r#"{"trace_id":"1-x","id":"root","name":"batch","start_time":0,"end_time":2000}"#;
    let out = drawn(&documents, PLAIN);
    assert!(
        out.starts_with("1-x  OK  ERROR inside  501 subsegments folded\n"),
        "{out}"
    );
    assert!(out.contains("└╴… 501 more  501 ERROR\n"), "{out}");
}

#[test]
fn a_request_of_opentelemetry_is_drawn_like_a_datagram() {
    let body = super::otlp::base64_to_json(OTLP.trim_end().strip_prefix("T1S").unwrap());
    let mut out = String::new();
    let mut console = Console::new(PLAIN);
    let now = Instant::now();
    let json = body.unwrap();
    console
        .otlp(json.as_bytes(), "application/json", now, &mut out)
        .unwrap();
    console.finish(&mut out);
    assert_eq!(out, drawn(OTLP, PLAIN));
    for (body, content_type) in [
        ("{", "application/json"),
        ("x", "application/x-protobuf"),
        ("{}", ""),
    ] {
        assert!(
            console
                .otlp(body.as_bytes(), content_type, now, &mut out)
                .is_err()
        );
    }
    out.clear();
    console
        .otlp(b"", "application/x-protobuf", now, &mut out)
        .unwrap();
    assert!(out.starts_with("✗ holds no segment"), "{out}");
}

/// A combining mark takes no column of its own.
#[test]
fn a_mark_without_a_letter_fits_nowhere_behind_the_end_of_a_line() {
    for width in 60..80 {
        for length in [8, 9_999, 60_000] {
            let document = format!("\u{301}{}", "x".repeat(length));
            let out = drawn(&document, Options { width, ..PLAIN });
            let most = out.lines().map(|line| line.width()).max();
            assert!(most.is_some_and(|most| most <= width), "{width}: {out}");
        }
    }
}

#[test]
fn a_terminal_may_change_its_width() {
    let mut out = String::new();
    let mut console = Console::new(PLAIN);
    for (width, drawn) in [(72, 72), (10, 60), (1_000, 200)] {
        out.clear();
        console.resize(width);
        for document in CHECKOUT.lines() {
            console.document(document, Instant::now(), &mut out);
        }
        console.finish(&mut out);
        let widest = out.lines().map(|line| line.chars().count()).max();
        assert_eq!(widest, Some(drawn), "{out}");
    }
}

#[test]
fn options_come_from_the_environment() {
    let from = |terminal, vars: &[(&str, &str)]| {
        Options::from_env(terminal, |name| {
            let var = vars.iter().find(|(key, _)| *key == name)?;
            Some(var.1.to_owned())
        })
    };
    assert_eq!(from(false, &[]), PLAIN);
    assert!(from(true, &[]).colour);
    assert!(from(true, &[("NO_COLOR", "")]).colour);
    for var in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        assert!(!from(true, &[var]).colour, "{var:?}");
    }
    for (columns, width) in [
        ("120", 120),
        ("5", 60),
        ("9999", 200),
        ("x", 100),
        ("", 100),
    ] {
        assert_eq!(
            from(true, &[("COLUMNS", columns)]).width,
            width,
            "{columns}"
        );
    }
    assert!(from(true, &[("LANG", "C")]).ascii);
    assert!(!from(true, &[("LANG", "de_DE.UTF-8")]).ascii);
    assert!(from(true, &[("LC_ALL", "POSIX"), ("LANG", "en_US.utf8")]).ascii);
}

/// Any JSON value.
pub(super) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Documents that are nearly valid: few ids, so that they collide; any text; odd times and types.
pub(super) fn any_document() -> impl Strategy<Value = Value> {
    let id = || (0..6u8).prop_map(|n| n.to_string());
    let time = prop_oneof![
        (0..1_000_000i64).prop_map(|us| json!(1.7e9 + us as f64 / 1e6)),
        any::<f64>().prop_map(|time| json!(time)),
        any_json(),
    ];
    let flag = prop_oneof![any::<bool>().prop_map(Value::from), any_json()];
    let fields = (
        id(),
        id(),
        any::<String>(),
        time.clone(),
        time,
        flag,
        any_json(),
    );
    let leaf = fields.prop_map(|(id, parent, text, start, end, flag, any)| {
        json!({
            "trace_id": "t", "id": id, "parent_id": parent, "name": text,
            "start_time": start, "end_time": end, "in_progress": flag, "fault": flag,
            "namespace": if flag == true { json!("aws") } else { any.clone() },
            "http": {"request": {"method": text, "url": text}, "response": {"status": any}},
            "aws": {"operation": text, "queue_url": text}, "sql": any,
            "annotations": {text.as_str(): text.as_str(), "b": any},
            "cause": {"exceptions": [{"type": text, "message": text}, any]},
        })
    });
    leaf.prop_recursive(4, 16, 4, |inner| {
        let children = proptest::collection::vec(prop_oneof![inner.clone(), any_json()], 0..4);
        (inner, children).prop_map(|(mut document, children)| {
            document["subsegments"] = children.into();
            document
        })
    })
}

prop_compose! {
    fn any_options()(
        width in 0usize..260,
        colour in any::<bool>(),
        ascii in any::<bool>(),
        annotations in any::<bool>(),
    ) -> Options {
        Options { width, colour, ascii, annotations }
    }
}

/// What a terminal shows of `out`, with only our own SGR sequences taken out.
fn without_colours(out: &str) -> String {
    let mut pieces = out.split("\x1b[");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (code, rest) = piece.split_once('m').unwrap();
        assert!(
            code.len() < 3 && code.bytes().all(|b| b.is_ascii_digit()),
            "{code:?}"
        );
        text.push_str(rest);
    }
    text
}

proptest! {
    // A case draws up to seven traces.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 2))]

    #[test]
    fn no_document_breaks_a_line(
        documents in proptest::collection::vec(any_document(), 1..6),
        text in any::<String>(),
        options in any_options(),
    ) {
        let mut out = String::new();
        let mut console = Console::new(options);
        let now = Instant::now();
        for document in &documents {
            console.document(&document.to_string(), now, &mut out);
            console.tick(now + Duration::from_secs(20), &mut out);
        }
        for text in [text.clone(), format!("T1S{text}")] {
            console.document(&text, now, &mut out);
        }
        console.finish(&mut out);
        prop_assert!(options.colour || !out.contains('\x1b'));
        for line in without_colours(&out).lines() {
            prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            let columns = super::terminal::Text::foreign(line, usize::MAX).columns();
            prop_assert!(columns <= options.width.clamp(60, 200), "{columns}: {line}");
            prop_assert!(!line.ends_with(' '), "{line:?}");
        }
    }

    #[test]
    fn bytes_for_spans_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        // Real spans with some bytes overwritten reach deeper than noise does.
        let mut otlp = OTLP.trim_end().as_bytes().to_vec();
        for pair in bytes.chunks_exact(2) {
            let at = 3 + usize::from(pair[0]) * (otlp.len() - 3) / 256;
            otlp[at] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
                [usize::from(pair[1] % 64)];
        }
        let out = drawn(std::str::from_utf8(&otlp).unwrap(), PLAIN);
        prop_assert!(!out.is_empty());
    }
}
