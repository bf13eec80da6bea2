//! The view as a whole: golden texts and properties.

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

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
const OTLP: &str = include_str!("../../tests/golden/otlp.txt");

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
fn a_nesting_bomb_is_one_line() {
    let bomb = [
        r#"{"id":"a","subsegments":["#.repeat(10_000),
        "]}".repeat(10_000),
    ]
    .concat();
    let out = drawn(&bomb, PLAIN);
    assert_eq!(out.lines().count(), 1, "{out}");
    let chain: String = (0..400)
        .map(|n| {
            format!(
                "{{\"trace_id\":\"t\",\"id\":\"{n}\",\"parent_id\":\"{}\"}}\n",
                n - 1
            )
        })
        .collect();
    assert_eq!(drawn(&chain, PLAIN).lines().count(), 2 + 400 + 1);
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

/// Documents that are nearly right: few ids, so that they meet; any text; odd times and types.
fn any_document() -> impl Strategy<Value = Value> {
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
    #![proptest_config(ProptestConfig::with_cases(100))]

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
            let columns = super::text::Text::foreign(line, usize::MAX).columns();
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
