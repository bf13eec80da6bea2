use proptest::prelude::*;

use super::*;
use crate::protobuf::{put_bytes, put_number};
use crate::view::otlp_line;

const PROTOBUF: &[u8] = b"application/x-protobuf";
const JSON: &[u8] = b"application/json";

fn message(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(number, content, &mut out);
    out
}

/// One resource for each row, one scope for each number, that many spans in it.
fn protobuf(rows: &[Vec<usize>]) -> Vec<u8> {
    let span = message(2, &message(5, b"GET /"));
    let resources = rows.iter().map(|scopes| {
        let scopes = scopes.iter().map(|spans| message(2, &span.repeat(*spans)));
        let resource = message(1, &message(1, b"attributes"));
        message(1, &[resource, scopes.collect::<Vec<_>>().concat()].concat())
    });
    resources.collect::<Vec<_>>().concat()
}

fn json(rows: &[Vec<usize>]) -> Vec<u8> {
    let list = |items: Vec<String>| format!("[{}]", items.join(","));
    let resources = rows.iter().map(|scopes| {
        let scopes = scopes.iter().map(|spans| {
            let spans =
                vec![r#"{"name":"spans","attributes":[{"spans":[1,2]}]}"#.to_owned(); *spans];
            format!(r#"{{"scope":{{"spans":[0]}},"spans":{}}}"#, list(spans))
        });
        format!(
            r#"{{"scopeSpans":{},"schemaUrl":null}}"#,
            list(scopes.collect())
        )
    });
    format!(r#"{{"resourceSpans":{}}}"#, list(resources.collect())).into_bytes()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    out.extend(miniz_oxide::deflate::compress_to_vec(body, 6));
    out.extend([0; 4]);
    out.extend((body.len() as u32).to_le_bytes());
    out
}

fn count(content_type: &[u8], body: &[u8]) -> Result<usize, OtlpRefusal> {
    let plain = read("POST", content_type, b"", body).map(|spans| spans.count);
    let compressed = read("POST", content_type, b"gzip", &gzip(body));
    assert_eq!(compressed.map(|spans| spans.count), plain);
    plain
}

#[test]
fn headers_decide_how_a_body_is_read() {
    let spans = |encoding, coding| {
        Ok(Spans {
            encoding,
            coding,
            count: 0,
        })
    };
    let plain = gzip(b"");
    for (method, content_type, content_encoding, body, expected) in [
        (
            "POST",
            PROTOBUF,
            b"" as &[u8],
            b"" as &[u8],
            spans(OtlpEncoding::Protobuf, Coding::Identity),
        ),
        (
            "POST",
            b"Application/JSON; charset=utf-8",
            b" Identity",
            b"{}",
            spans(OtlpEncoding::Json, Coding::Identity),
        ),
        (
            "POST",
            PROTOBUF,
            b"GZIP",
            &plain,
            spans(OtlpEncoding::Protobuf, Coding::Gzip),
        ),
        ("GET", PROTOBUF, b"", b"", Err(OtlpRefusal::Method)),
        ("POST", b"", b"", b"", Err(OtlpRefusal::ContentType)),
        (
            "POST",
            b"text/html",
            b"",
            b"",
            Err(OtlpRefusal::ContentType),
        ),
        ("POST", PROTOBUF, b"zstd", b"", Err(OtlpRefusal::Coding)),
        (
            "POST",
            PROTOBUF,
            b"gzip, gzip",
            b"",
            Err(OtlpRefusal::Coding),
        ),
        ("POST", PROTOBUF, b"gzip", b"{}", Err(OtlpRefusal::Gzip)),
        (
            "POST",
            JSON,
            b"",
            b"",
            Err(OtlpRefusal::Malformed(OtlpEncoding::Json)),
        ),
    ] {
        let read = read(method, content_type, content_encoding, body);
        assert_eq!(read, expected, "{content_type:?} {content_encoding:?}");
    }
}

#[test]
fn the_limits_of_x_ray() {
    let most = protobuf(&[vec![MAX_SPANS]]);
    assert_eq!(count(PROTOBUF, &most), Ok(MAX_SPANS));
    let more = [protobuf(&[vec![1]]), most].concat();
    assert_eq!(
        count(PROTOBUF, &more),
        Err(OtlpRefusal::TooManySpans(MAX_SPANS + 1))
    );
    // A field of an unknown message, up to the limit and past it.
    for (filler, expected) in [
        (MAX_BYTES - 5, Ok(0)),
        (MAX_BYTES - 4, Err(OtlpRefusal::TooLong)),
    ] {
        let body = message(9, &vec![0; filler]);
        assert_eq!(count(PROTOBUF, &body), expected);
    }
}

#[test]
fn what_is_no_request() {
    for body in [
        &b"\x0a"[..],
        b"\x0a\x05\x12",
        // The span, and the scope, go on behind the end of what holds them.
        b"\x0a\x04\x12\x02\x12\x09",
        b"\x0a\x02\x12\x09aaaaaaaaa",
        b"\x0b",
        &[0xff; 11],
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ] {
        let expected = Err(OtlpRefusal::Malformed(OtlpEncoding::Protobuf));
        assert_eq!(count(PROTOBUF, body), expected, "{body:?}");
    }
    for body in [
        "",
        "[]",
        "{",
        "{} {}",
        r#"{"resourceSpans":7}"#,
        r#"{"resourceSpans":[7]}"#,
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{]}]}]}"#,
    ] {
        let expected = Err(OtlpRefusal::Malformed(OtlpEncoding::Json));
        assert_eq!(count(JSON, body.as_bytes()), expected, "{body:?}");
    }
    assert_eq!(count(JSON, br#"{"resourceSpans":null,"spans":[1]}"#), Ok(0));
}

/// Neither stack nor time is used up. `tests/allocations.rs` counts the memory.
#[test]
fn deep_nesting_is_read_over_or_refused() {
    let nested = |depth: usize| [("[".repeat(depth)), ("]".repeat(depth))].concat();
    let malformed = Err(OtlpRefusal::Malformed(OtlpEncoding::Json));
    for (depth, expected) in [(1000, Ok(0)), (1024, malformed), (1 << 20, malformed)] {
        let body = format!(r#"{{"x":{}}}"#, nested(depth));
        assert_eq!(count(JSON, body.as_bytes()), expected, "{depth}");
    }
    let body = format!(r#"{{"resourceSpans":{}"#, "[".repeat(1 << 20));
    assert_eq!(count(JSON, body.as_bytes()), malformed);
    let mut deep = Vec::new();
    for _ in 0..1000 {
        deep = message(2, &deep);
    }
    assert_eq!(count(PROTOBUF, &message(1, &deep)), Ok(1));
}

/// What a client may write into a span is not limited but by the length of the request.
#[test]
fn only_strings_outside_of_spans_are_limited() {
    let long = r#"\"[{"#.repeat(100_000);
    let span = format!(r#"{{"name":"{long}","{long}":[{{"{long}":"{long}"}}]}}"#);
    let body = |outside: &str| {
        format!(
            r#"{{"resourceSpans":[{{"{outside}":0,"resource":{{"attributes":[{{"key":"{long}"}}]}},
            "scopeSpans":[{{"schemaUrl":"{outside}","spans":[{span},{span}]}}]}}]}}"#
        )
    };
    assert_eq!(count(JSON, body(&long[..4000]).as_bytes()), Ok(2));
    let malformed = Err(OtlpRefusal::Malformed(OtlpEncoding::Json));
    assert_eq!(count(JSON, body(&long).as_bytes()), malformed);
}

#[test]
fn answers_speak_the_language_of_the_client() {
    assert_eq!(accepted(OtlpEncoding::Json).body, b"{}");
    let empty = accepted(OtlpEncoding::Protobuf);
    assert_eq!(
        (empty.status, empty.content_type, &*empty.body),
        (200, "application/x-protobuf", &b""[..])
    );
    let refusal = OtlpRefusal::TooManySpans(10_001);
    let json = refused(refusal, JSON);
    let body: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!((json.status, &body["code"]), (400, &8.into()));
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .contains("has 10001 spans")
    );
    let mut expected = Vec::new();
    put_number(1, 14, &mut expected);
    put_bytes(2, OtlpRefusal::Full.to_string().as_bytes(), &mut expected);
    let binary = refused(OtlpRefusal::Full, PROTOBUF);
    assert_eq!((binary.status, binary.body), (503, expected));
    let unknown = refused(OtlpRefusal::ContentType, b"text/plain");
    assert_eq!(
        (unknown.status, unknown.content_type),
        (415, "application/json")
    );
}

/// The spans that the trace page would show.
fn shown(body: &[u8], content_type: &str) -> usize {
    let line = otlp_line(body, content_type).unwrap();
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    let items =
        |value: &serde_json::Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let resources = items(&value, "resourceSpans").into_iter();
    let scopes = resources.flat_map(|resource| items(&resource, "scopeSpans"));
    scopes.map(|scope| items(&scope, "spans").len()).sum()
}

proptest! {
    #[test]
    fn every_span_is_counted_once(rows in prop::collection::vec(prop::collection::vec(0usize..5, 0..4), 0..4)) {
        let expected: usize = rows.iter().flatten().sum();
        prop_assert_eq!(count(PROTOBUF, &protobuf(&rows)), Ok(expected));
        prop_assert_eq!(count(JSON, &json(&rows)), Ok(expected));
    }

    /// Whatever the bytes are, the count is that of a decoder that builds the whole request.
    #[test]
    fn any_bytes_are_counted_as_they_are_shown(
        body in prop::collection::vec(prop_oneof![Just(0x0au8), Just(0x12), 0u8..12, any::<u8>()], 0..80),
    ) {
        if let Ok(counted) = count(PROTOBUF, &body) && otlp_line(&body, "application/x-protobuf").is_ok() {
            prop_assert_eq!(counted, shown(&body, "application/x-protobuf"));
        }
    }
}
