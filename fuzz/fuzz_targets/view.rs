//! The views: a document can put no control character on the terminal and no newline in a line of
//! JSON, lines stay as wide as asked for, and valid JSON comes out as the same value. The store of
//! the page stays within its limit, and whatever it answers is JSON.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::Value;
use xray::view::store::{DaemonInfo, Filter, Store};
use xray::view::{Console, Options, json_line, otlp_line};

fn drawn(documents: &[&str], options: Options) -> String {
    let mut console = Console::new(options);
    let mut out = String::new();
    let mut now = Instant::now();
    for document in documents {
        console.document(document, now, &mut out);
        now += Duration::from_millis(300);
        console.tick(now, &mut out);
    }
    console.finish(&mut out);
    assert!(!console.waits());
    out
}

/// What the page is told of these documents, and of the bytes as a request of OpenTelemetry.
fn answered(documents: &[&str], body: &[u8], limit: usize) {
    let mut store = Store::new(limit);
    let daemon = DaemonInfo {
        version: "",
        udp: String::new(),
        exporter: "console",
    };
    for document in documents {
        store.document(document, 0.0);
        assert!(store.used() <= limit);
    }
    for content_type in ["application/json", "application/x-protobuf"] {
        let taken = store.otlp(body, content_type, 0.0);
        assert!(store.used() <= limit);
        let line = otlp_line(body, content_type);
        assert_eq!(taken.is_ok(), line.is_ok());
        if let Ok(line) = line {
            serde_json::from_str::<IgnoredAny>(&line).expect("a line is JSON");
        }
    }
    let all = Filter::parse(&[], true).expect("no parameters");
    let list = store.list(&all, &daemon);
    for trace in list["traces"].as_array().expect("a list") {
        let id = trace["id"].as_str().expect("a text");
        assert!(store.trace(id).is_some(), "{id:?}");
    }
    store.services(&all);
    assert!(store.used() <= limit);
}

/// `out` without our own colours, which are the only escape sequences in it.
fn without_colours(out: &str) -> String {
    let mut pieces = out.split("\x1b[");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (code, rest) = piece.split_once('m').expect("a colour");
        assert!(code.len() < 3 && code.bytes().all(|b| b.is_ascii_digit()));
        text.push_str(rest);
    }
    text
}

fuzz_target!(|data: &[u8]| {
    // At the end, so that files of documents are seeds as they are.
    let Some((&flags, data)) = data.split_last() else {
        return;
    };
    let text = String::from_utf8_lossy(data);
    let documents: Vec<&str> = text.split('\n').collect();
    let plain = Options {
        width: usize::from(flags),
        colour: false,
        ascii: flags & 1 == 1,
        annotations: flags & 2 == 2,
    };
    let out = drawn(&documents, plain);
    assert!(out.is_empty() || out.ends_with('\n'));
    for line in out.lines() {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        // No character is narrower than none; combining marks and the wide ones are not counted.
        let letters = line.chars().filter(char::is_ascii).count();
        assert!(letters <= plain.width.clamp(60, 200), "{letters}: {line}");
    }
    let coloured = drawn(
        &documents,
        Options {
            colour: true,
            ..plain
        },
    );
    assert_eq!(without_colours(&coloured), out);

    answered(&documents, data, usize::from(flags) << 6);
    for document in documents {
        let line = json_line(document);
        assert!(!line.chars().any(char::is_control), "{line:?}");
        match serde_json::from_str::<Value>(document) {
            Ok(value) => assert_eq!(serde_json::from_str::<Value>(&line).expect("JSON"), value),
            // What this reader refuses may be printed all the same, and deeper than it follows.
            Err(_) => drop(serde_json::from_str::<IgnoredAny>(&line).expect("a line is JSON")),
        }
    }
});
