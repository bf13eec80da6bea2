use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::view::store::StreamStep;

const REQUEST: ApiRequest<'_> = ApiRequest {
    method: "GET",
    target: "/",
    host: Some("localhost:2000"),
    origin: None,
    fetch_site: None,
    fetch_mode: None,
    if_none_match: None,
    destination: ConnectedAddress {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        any: false,
    },
};

fn ask(request: ApiRequest<'_>, streams: &Streams) -> Option<ApiResponse> {
    let mut store = Store::new(1 << 20);
    for document in include_str!("../../../examples/checkout.jsonl").lines() {
        store.document(document, 1.0);
    }
    let odd = r#"{"id":"a","name":"odd","trace_id":"a/b <c> é"}"#;
    store.document(odd, 1.0);
    let daemon = DaemonInfo {
        version: "1.2.3",
        udp: "127.0.0.1:2000".to_owned(),
        exporter: "console",
    };
    respond(&request, &mut store, &daemon, streams)
}

fn get(target: &str) -> ApiResponse {
    ask(ApiRequest { target, ..REQUEST }, &Streams::default()).unwrap()
}

fn header(response: &ApiResponse, name: &str) -> Option<&'static str> {
    let mut found = response.headers.iter().filter(|(own, _)| *own == name);
    let value = found.next().map(|(_, value)| *value);
    assert!(found.next().is_none(), "{name} is given twice");
    value
}

fn json_of(response: &ApiResponse) -> Value {
    assert_eq!(header(response, "Content-Type"), Some("application/json"));
    assert_eq!(header(response, "Cache-Control"), Some("no-store"));
    let ApiBody::Bytes(bytes) = &response.body else {
        panic!("it is a stream");
    };
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn paths_of_others_are_left_to_them() {
    for target in [
        "/GetSamplingRules",
        "/SamplingTargets",
        "/v1/traces",
        "/metrics",
        "/api",
        "/page",
        "",
        "*",
        "/?",
    ] {
        let answered = ask(ApiRequest { target, ..REQUEST }, &Streams::default()).is_some();
        assert_eq!(answered, target == "/?", "{target}");
        let method = "POST";
        assert_eq!(
            ask(
                ApiRequest {
                    method,
                    target,
                    ..REQUEST
                },
                &Streams::default()
            )
            .is_some(),
            target == "/?"
        );
    }
}

#[test]
fn each_path_has_its_answer() {
    let cases = [
        ("/api/traces", 200, "matched", json!(2)),
        ("/api/traces?", 200, "matched", json!(2)),
        (
            "/api/traces?service=orders&limit=0",
            200,
            "matched",
            json!(1),
        ),
        (
            "/api/traces?text=%zz",
            400,
            "error",
            json!("the query is no percent-encoded text"),
        ),
        (
            "/api/traces?nope=1",
            400,
            "error",
            json!("there is no parameter \"nope\""),
        ),
        ("/api/services", 200, "traces", json!(2)),
        ("/api/services?service=orders", 200, "traces", json!(1)),
        (
            "/api/services?limit=1",
            400,
            "error",
            json!("there is no parameter \"limit\""),
        ),
        (
            "/api/traces/6553f100a1b2c3d4e5f6a1b2c3d4e5f6",
            200,
            "omitted",
            json!(0),
        ),
        (
            "/api/traces/a%2Fb%20%3cc%3E%20%C3%A9",
            200,
            "omitted",
            json!(0),
        ),
        (
            "/api/traces/none",
            404,
            "error",
            json!("this trace is not kept, or not any more"),
        ),
        (
            "/api/traces/none?x",
            400,
            "error",
            json!("there are no parameters here"),
        ),
        (
            "/api/traces/%ff",
            400,
            "error",
            json!("the id of the trace is no percent-encoded text"),
        ),
        (
            "/api/events?x",
            400,
            "error",
            json!("there are no parameters here"),
        ),
    ];
    for (target, status, field, value) in cases {
        let response = get(target);
        let answer = json_of(&response);
        assert_eq!(
            (response.status, &answer[field]),
            (status, &value),
            "{target}"
        );
        assert!(response.send_body);
    }
    for target in [
        "/api/",
        "/api/nothing",
        "/page/",
        "/page/mod.rs",
        "/page/../mod.rs",
    ] {
        assert_eq!(get(target).status, 404, "{target}");
    }
}

#[test]
fn only_reading_is_answered() {
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
        let target = "/api/traces";
        let response = ask(
            ApiRequest {
                method,
                target,
                ..REQUEST
            },
            &Streams::default(),
        )
        .unwrap();
        assert_eq!(response.status, 405, "{method}");
        assert_eq!(header(&response, "Allow"), Some("GET, HEAD"));
        assert!(json_of(&response)["error"].is_string());
    }
    for target in ["/", "/api/traces", "/api/events"] {
        let method = "HEAD";
        let response = ask(
            ApiRequest {
                method,
                target,
                ..REQUEST
            },
            &Streams::default(),
        )
        .unwrap();
        assert_eq!(
            (response.status, response.send_body),
            (200, false),
            "{target}"
        );
        assert!(matches!(response.body, ApiBody::Bytes(_)));
    }
}

#[test]
fn whoever_may_not_ask_learns_nothing() {
    for target in ["/", "/api/traces", "/api/events", "/page/main.js"] {
        for method in ["GET", "POST"] {
            let host = Some("evil.example");
            let response = ask(
                ApiRequest {
                    method,
                    target,
                    host,
                    ..REQUEST
                },
                &Streams::default(),
            )
            .unwrap();
            assert_eq!(response.status, 403, "{target}");
            assert!(!json_of(&response).to_string().contains("checkout"));
        }
    }
}

#[test]
fn files_are_cached_by_their_tags() {
    let response = get("/");
    assert_eq!(response.status, 200);
    assert_eq!(
        header(&response, "Content-Type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(header(&response, "Content-Encoding"), Some("gzip"));
    assert_eq!(header(&response, "Cache-Control"), Some("no-cache"));
    let tag = header(&response, "ETag").unwrap();
    let ApiBody::Bytes(bytes) = response.body else {
        panic!("a file is no stream");
    };
    assert_eq!(bytes[..2], [0x1f, 0x8b]);
    let both = ["\"other\", ", tag].concat();
    for (known, status) in [(tag, 304), (&both, 304), ("\"other\"", 200), ("", 200)] {
        let if_none_match = Some(known);
        let response = ask(
            ApiRequest {
                if_none_match,
                ..REQUEST
            },
            &Streams::default(),
        )
        .unwrap();
        assert_eq!(response.status, status, "{known}");
        let ApiBody::Bytes(bytes) = response.body else {
            panic!("a file is no stream");
        };
        assert_eq!(bytes.is_empty(), status == 304);
    }
}

#[test]
fn every_answer_has_the_headers_of_the_page() {
    for target in [
        "/",
        "/api/traces",
        "/api/traces/none",
        "/api/events",
        "/api/nothing",
    ] {
        let response = get(target);
        for (name, value) in page::HEADERS {
            assert_eq!(header(&response, name), Some(value), "{target} {name}");
        }
        assert!(header(&response, "Cache-Control").is_some());
        assert!(header(&response, "Access-Control-Allow-Origin").is_none());
    }
}

#[test]
fn streams_are_bounded_in_number() {
    let target = "/api/events";
    let streams = Streams::default();
    let response = ask(ApiRequest { target, ..REQUEST }, &streams).unwrap();
    assert_eq!(header(&response, "Content-Type"), Some("text/event-stream"));
    let ApiBody::Events(mut stream) = response.body else {
        panic!("it is no stream");
    };
    let first = stream.next(&Store::new(0), std::time::Instant::now());
    assert!(matches!(first, StreamStep::Write(text) if text.starts_with("retry: 2000\n\n")));
    let others: Vec<_> = std::iter::from_fn(|| streams.open()).collect();
    let response = ask(ApiRequest { target, ..REQUEST }, &streams).unwrap();
    assert_eq!(response.status, 503);
    assert!(json_of(&response)["error"].is_string());
    drop(others);
    let response = ask(ApiRequest { target, ..REQUEST }, &streams).unwrap();
    assert_eq!(response.status, 200);
}
