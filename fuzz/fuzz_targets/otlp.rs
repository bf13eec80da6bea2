//! Requests of OpenTelemetry's exporters: whatever the bytes are, they are read or refused, the same
//! when they come compressed; spans are counted as a decoder finds them that builds the whole
//! request; answers are messages of OTLP.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::Value;
use xray::otlp::{self, OtlpRefusal};
use xray::view::otlp_line;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

fn read(content_type: &str, content_encoding: &str, body: &[u8]) -> Result<usize, OtlpRefusal> {
    let content_type = content_type.as_bytes();
    let read = otlp::read("POST", content_type, content_encoding.as_bytes(), body);
    if let Err(refusal) = read {
        assert!((400..500).contains(&refusal.status()));
        let answer = otlp::refused(refusal, content_type);
        assert_eq!(answer.status, refusal.status());
        if answer.content_type == JSON {
            let status: Value = serde_json::from_slice(&answer.body).expect("JSON");
            assert_eq!(status["message"], refusal.to_string());
        }
    }
    read.map(|spans| spans.count)
}

/// The body in blocks that are stored as they are (RFC 1951, 3.2.4).
fn gzip(body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = body.chunks(100).peekable();
    if blocks.peek().is_none() {
        out.extend([1, 0, 0, 255, 255]);
    }
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    out.extend([0; 4]);
    out.extend((body.len() as u32).to_le_bytes());
    out
}

/// The spans in OTLP/JSON.
fn spans(line: &str) -> usize {
    let value: Value = serde_json::from_str(line).expect("a line is JSON");
    let items = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let resources = items(&value, "resourceSpans").into_iter();
    let scopes = resources.flat_map(|resource| items(&resource, "scopeSpans"));
    scopes.map(|scope| items(&scope, "spans").len()).sum()
}

fuzz_target!(|body: &[u8]| {
    for content_type in [PROTOBUF, JSON] {
        let count = read(content_type, "", body);
        assert_eq!(read(content_type, "gzip", &gzip(body)), count);
        let _ = read(content_type, "gzip", body);
        let line = otlp_line(body, content_type);
        match (content_type, count, line) {
            (PROTOBUF, Ok(count), Ok(line)) => assert_eq!(count, spans(&line)),
            (JSON, Ok(_), _) => {
                serde_json::from_slice::<IgnoredAny>(body).expect("what was read is JSON");
            }
            _ => {}
        }
    }
});
