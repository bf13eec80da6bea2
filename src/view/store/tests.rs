use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::events::MAX_STREAMS;
use super::*;

const CHECKOUT: &str = include_str!("../../../examples/checkout.jsonl");
const T1S: &str = include_str!("../../../tests/golden/otlp.txt");
const LIMIT: usize = 32 << 20;
const NOW: f64 = 1_700_000_100.0;

fn daemon() -> DaemonInfo {
    DaemonInfo {
        version: "1.2.3",
        udp: "127.0.0.1:2000".to_owned(),
        exporter: "console",
    }
}

fn store_of(documents: &str) -> Store {
    let mut store = Store::new(LIMIT);
    for document in documents.lines() {
        store.document(document, NOW);
    }
    store
}

fn filter(parameters: &[(&str, &str)]) -> Result<Filter, String> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Filter::parse(&parameters.iter().map(own).collect::<Vec<_>>(), true)
}

fn list(store: &mut Store, parameters: &[(&str, &str)]) -> Value {
    store.list(&filter(parameters).unwrap(), &daemon())
}

fn ids(store: &mut Store, parameters: &[(&str, &str)]) -> Vec<String> {
    let answer = list(store, parameters);
    let traces = answer["traces"].as_array().unwrap();
    assert_eq!(answer["matched"], traces.len());
    traces
        .iter()
        .map(|trace| trace["id"].as_str().unwrap().to_owned())
        .collect()
}

/// A segment of trace `trace`, with more fields.
fn segment(trace: &str, id: &str, rest: &str) -> String {
    format!(r#"{{"trace_id":"{trace}","id":"{id}","name":"s{id}"{rest}}}"#)
}

#[test]
fn a_trace_in_the_list() {
    let mut store = store_of(CHECKOUT);
    let answer = list(&mut store, &[]);
    let used = store.used();
    let documents = CHECKOUT.lines().count();
    let trace = json!({
        "id": "1-6553f100-a1b2c3d4e5f6a1b2c3d4e5f6",
        "version": documents,
        "name": "web-frontend",
        "method": "POST",
        "url": "https://shop.example.com/checkout",
        "status": 500,
        "start": 1_700_000_000.0,
        "duration": 0.612,
        "outcome": "fault",
        "in_progress": false,
        "partial": false,
        "services": ["web-frontend", "orders", "payments"],
        "segments": 13,
    });
    let expected = json!({
        "version": documents,
        "daemon": {
            "version": "1.2.3", "udp": "127.0.0.1:2000", "exporter": "console",
            "used_bytes": used, "limit_bytes": LIMIT, "dropped": 0,
        },
        "services": ["orders", "payments", "web-frontend"],
        "total": 1,
        "matched": 1,
        "traces": [trace],
    });
    assert_eq!(answer, expected);
    let id = "6553F100A1B2C3D4E5F6A1B2C3D4E5F6";
    let detail = store.trace(id).unwrap();
    assert_eq!(detail["trace"], trace);
    let texts: Vec<_> = detail["documents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|document| {
            assert_eq!(document["format"], "xray");
            assert_eq!(document["received"], NOW);
            document["text"].as_str().unwrap()
        })
        .collect();
    assert_eq!(texts, CHECKOUT.lines().collect::<Vec<_>>());
    assert_eq!(
        (&detail["omitted"], &detail["version"]),
        (&json!(0), &json!(documents))
    );
    assert_eq!(store.trace("1-6553f100-a1b2c3d4e5f6a1b2c3d4e5f7"), None);
}

#[test]
fn formats_meet_in_one_trace() {
    let mut store = store_of(T1S);
    let id = "1-6553f100-5f84c7a3e7d24ab39c55c2e0";
    let before = list(&mut store, &[])["traces"][0]["segments"]
        .as_u64()
        .unwrap();
    store.document(&segment(id, "x", r#","start_time":1,"end_time":2"#), NOW);
    let span = r#"{"traceId":"6553F1005f84c7a3e7d24ab39c55c2e0","spanId":"ab","name":"n"}"#;
    let other = r#"{"traceId":"6553f1005f84c7a3e7d24ab39c55c2e1","spanId":"ab","name":"n"}"#;
    let body = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}, {other}]}}]}}]}}"#);
    store
        .otlp(body.as_bytes(), "application/json", NOW)
        .unwrap();
    let detail = store.trace(id).unwrap();
    assert_eq!(detail["trace"]["segments"], before + 2);
    let documents = detail["documents"].as_array().unwrap();
    let formats: Vec<_> = documents
        .iter()
        .map(|document| &document["format"])
        .collect();
    assert_eq!(formats, ["otlp", "xray", "otlp"]);
    let texts = documents
        .iter()
        .map(|document| document["text"].as_str().unwrap());
    let texts: Vec<Value> = texts
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    let first = &texts[0]["resourceSpans"][0];
    assert_eq!(first["resource"]["attributes"][0]["key"], "service.name");
    let spans = &texts[2]["resourceSpans"][0]["scopeSpans"][0]["spans"];
    assert_eq!(
        spans,
        &json!([serde_json::from_str::<Value>(span).unwrap()])
    );
    assert_eq!(store.traces.len(), 2);
    assert_eq!(store.otlp(b"{}", "application/json", NOW), Ok(()));
    assert_eq!(
        store.otlp(b"{}", "text/plain", NOW),
        Err(OtlpError::ContentType)
    );
    assert!(store.otlp(b"{", "application/json", NOW).is_err());
    assert_eq!(store.traces.len(), 2);
}

#[test]
fn late_parts_join_and_copies_are_no_change() {
    let mut store = Store::new(LIMIT);
    let begun = segment("t", "1", r#","start_time":5,"in_progress":true"#);
    let ended = segment("t", "1", r#","start_time":5,"end_time":7,"fault":true"#);
    let child = segment("t", "2", r#","parent_id":"1","start_time":6,"end_time":9"#);
    let states = |store: &mut Store| {
        let trace = &list(store, &[])["traces"][0];
        let fields = ["name", "duration", "outcome", "in_progress", "partial"];
        fields.map(|field| trace[field].to_string()).join(" ")
    };
    store.document(&child, NOW);
    assert_eq!(states(&mut store), r#""s2" 3.0 "ok" false true"#);
    store.document(&begun, NOW);
    assert_eq!(states(&mut store), r#""s1" 4.0 "ok" true false"#);
    store.document(&ended, NOW);
    assert_eq!(states(&mut store), r#""s1" 4.0 "fault" false false"#);
    let version = store.version;
    store.document(&ended, NOW);
    store.document(&begun, NOW);
    assert_eq!(store.version, version, "copies");
    store.document(&begun.replace("s1", "overtaken"), NOW);
    assert_eq!(states(&mut store), r#""s1" 4.0 "fault" false false"#);
    assert_eq!(store.version, version + 1);
}

#[test]
fn what_cannot_be_read_is_a_trace_of_its_own() {
    let mut store = Store::new(LIMIT);
    for document in ["not JSON", "T1S*", "[1]", "M1 metrics are no traces"] {
        store.document(document, NOW);
    }
    let found = ids(&mut store, &[("status", "partial")]);
    assert_eq!(found, ["unreadable 3", "unreadable 2", "unreadable 1"]);
    let detail = store.trace("unreadable 2").unwrap();
    assert_eq!(detail["documents"][0]["text"], "T1S*");
    assert_eq!(detail["trace"]["name"], "(unreadable)");
}

#[test]
fn filters_keep_what_they_say() {
    let mut store = Store::new(LIMIT);
    let http = |status: u16| {
        format!(
            r#","http":{{"request":{{"method":"GET","url":"http://h/Some/Path?secret"}},"response":{{"status":{status}}}}}"#
        )
    };
    store.document(
        &segment(
            "1-a-b",
            "1",
            &format!(r#","start_time":10,"end_time":10.3{}"#, http(200)),
        ),
        NOW,
    );
    store.document(&segment("1-a-c", "2", &format!(r#","start_time":20,"end_time":22,"error":true,"user":"Jo","annotations":{{"tier":"Gold","n":3,"two\nlines":"x=y"}}{}"#, http(404))), NOW);
    store.document(&segment("1-d-e", "3", r#","start_time":30,"in_progress":true,"throttle":true,"sql":{"sanitized_query":"SELECT É"}"#), NOW);
    store.document(&segment("1-d-f", "4", r#","parent_id":"gone","start_time":40,"end_time":41,"fault":true,"cause":{"exceptions":[{"type":"Timeout","message":"no answer"}]}"#), NOW);
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], "f e c b"),
        (
            &[("text", ""), ("service", ""), ("status", ""), ("id", "")],
            "f e c b",
        ),
        (&[("text", "some/path")], "c b"),
        (&[("text", "GOLD jo")], "c"),
        (&[("text", "gold timeout")], ""),
        (&[("text", "secret")], "c b"),
        (&[("text", "no answer")], "f"),
        (&[("text", "select é")], "e"),
        (&[("text", "d-")], "f e"),
        (&[("service", "s1")], "b"),
        (&[("service", "s")], ""),
        (&[("status", "ok")], "b"),
        (&[("status", "error, fault")], "f c"),
        (&[("status", "throttle")], "e"),
        (&[("status", "in_progress")], "e"),
        (&[("status", "partial")], "f"),
        (&[("status", "404")], "c"),
        (&[("status", "2xx,4xx")], "c b"),
        (&[("status", "5xx")], ""),
        (&[("min_duration", "1")], "f c"),
        (
            &[("min_duration", "300ms"), ("max_duration", "1.5s")],
            "f b",
        ),
        (&[("max_duration", "0")], ""),
        (&[("annotation", "tier")], "c"),
        (&[("annotation", "tier=Gold"), ("annotation", "n=3")], "c"),
        (&[("annotation", "tier=gold")], ""),
        (&[("annotation", "tier=Go")], ""),
        (&[("annotation", "tie")], ""),
        (&[("annotation", "two\nlines=x=y")], "c"),
        (&[("id", "1-D")], "f e"),
        (&[("id", "ac")], "c"),
        (&[("since", "20"), ("until", "40")], "e c"),
        (&[("since", "-1.5e1")], "f e c b"),
    ];
    for (parameters, expected) in cases {
        let found = ids(&mut store, parameters);
        let found: Vec<_> = found.iter().map(|id| &id[id.len() - 1..]).collect();
        assert_eq!(found.join(" "), *expected, "{parameters:?}");
    }
    let answer = list(&mut store, &[("limit", "1")]);
    assert_eq!(
        (
            &answer["matched"],
            answer["traces"].as_array().unwrap().len()
        ),
        (&json!(4), 1)
    );
    assert_eq!(answer["traces"][0]["id"], "1-d-f");
}

#[test]
fn a_misspelt_filter_is_an_error() {
    let long = "x".repeat(1_000);
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("txt", "a")], "there is no parameter \"txt\""),
        (&[("text", "a"), ("text", "b")], "\"text\" is given twice"),
        (
            &[("status", "okay")],
            "status is \"okay\", which is no list of ok",
        ),
        (&[("status", "6xx")], "status is"),
        (&[("status", "99")], "status is"),
        (&[("status", "éx")], "status is"),
        (
            &[("limit", "10001")],
            "limit is \"10001\", which is no number from 0 to 10000",
        ),
        (&[("limit", "")], "limit is"),
        (
            &[("min_duration", "1h")],
            "min_duration is \"1h\", which is no duration",
        ),
        (&[("max_duration", "-1")], "max_duration is"),
        (&[("since", "inf")], "since is \"inf\", which is no time"),
        (&[("until", "yesterday")], "until is"),
        (&[("since", &long)], "since is"),
    ];
    for (parameters, error) in cases {
        let found = filter(parameters).unwrap_err();
        assert!(
            found.starts_with(error) && found.len() < 300,
            "{parameters:?}: {found}"
        );
    }
    let limit = [("limit".to_owned(), "1".to_owned())];
    assert!(Filter::parse(&limit, false).is_err());
}

#[test]
fn the_service_map_of_a_trace() {
    let mut store = store_of(CHECKOUT);
    store.document(
        &segment("1-t", "1", r#","start_time":1700000120,"in_progress":true"#),
        NOW,
    );
    let map = store.services(&filter(&[]).unwrap());
    assert_eq!(
        (&map["traces"], &map["seconds"]),
        (&json!(2), &json!(120.0))
    );
    let pick = |row: &Value, fields: &[&str]| {
        let texts = fields.iter().map(|field| match &row[*field] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        texts.collect::<Vec<_>>().join(" ")
    };
    let rows = |list: &Value, fields: &[&str]| -> Vec<String> {
        list.as_array()
            .unwrap()
            .iter()
            .map(|row| pick(row, fields))
            .collect()
    };
    let nodes = rows(
        &map["nodes"],
        &[
            "id",
            "kind",
            "name",
            "requests",
            "errors",
            "throttles",
            "faults",
        ],
    );
    assert_eq!(
        nodes,
        [
            "aws:DynamoDB aws DynamoDB 3 0 1 0",
            "client:client client client 2 0 0 1",
            "service:orders service orders 1 0 0 1",
            "service:payments service payments 1 0 0 1",
            "service:s1 service s1 1 0 0 0",
            "service:web-frontend service web-frontend 1 0 0 1",
            "sql:shop@orders-db.internal sql shop@orders-db.internal 1 0 0 0",
            "remote:acquirer.example.com remote acquirer.example.com 1 0 0 1",
        ]
    );
    let edges = rows(
        &map["edges"],
        &[
            "from",
            "to",
            "requests",
            "per_minute",
            "throttles",
            "faults",
        ],
    );
    assert_eq!(
        edges,
        [
            "service:orders aws:DynamoDB 3 1.5 1 0",
            "client:client service:s1 1 0.5 0 0",
            "client:client service:web-frontend 1 0.5 0 1",
            "service:orders service:payments 1 0.5 0 1",
            "service:orders sql:shop@orders-db.internal 1 0.5 0 0",
            "service:payments remote:acquirer.example.com 1 0.5 0 1",
            "service:web-frontend service:orders 1 0.5 0 1",
        ]
    );
    let latency = |list: &Value, at: usize, field: &str| list[at]["latency"][field].clone();
    let latencies = ["mean", "p50", "p90", "p99", "max"].map(|f| latency(&map["nodes"], 0, f));
    assert_eq!(
        latencies,
        [0.009333, 0.011, 0.012, 0.012, 0.012].map(|s| json!(s))
    );
    assert_eq!(map["nodes"][1]["latency"], Value::Null, "clients have none");
    assert_eq!(map["nodes"][4]["latency"], Value::Null, "nothing has ended");
    // The caller waited longer than the called one worked.
    assert_eq!(latency(&map["nodes"], 2, "max"), json!(0.585));
    assert_eq!(latency(&map["edges"], 6, "max"), json!(0.592));
    let fewer = store.services(&filter(&[("service", "s1")]).unwrap());
    assert_eq!(fewer["nodes"].as_array().unwrap().len(), 2);
}

#[test]
fn the_oldest_goes_when_there_is_no_room() {
    let text = |n: usize| {
        segment(
            &format!("1-{n}"),
            "1",
            &format!(r#","user":"{}""#, "x".repeat(900)),
        )
    };
    let mut store = Store::new(15_000);
    for n in 0..10 {
        store.document(&text(n), NOW);
    }
    assert_eq!(store.dropped, 0);
    store.document(&text(0).replace("xx", "yy"), NOW);
    for n in 10..14 {
        store.document(&text(n), NOW);
    }
    assert!(store.dropped > 0 && store.used <= store.limit);
    assert!(store.traces.contains_key("1-0"), "it changed of late");
    assert!(!store.traces.contains_key("1-1"));
    let dropped = store.dropped;
    let answer = list(&mut store, &[]);
    assert!(
        store.used <= store.limit,
        "what was read of them takes room too"
    );
    assert_eq!(answer["daemon"]["dropped"], store.dropped);
    assert!(store.dropped >= dropped);
}

#[test]
fn a_full_store_is_read_in_steps() {
    let mut store = Store::new(LIMIT);
    for n in 0..5 {
        store.document(&segment(&format!("1-{n}"), "1", ""), NOW);
    }
    let steps: Vec<_> = (0..4).map(|_| store.refresh_some(2)).collect();
    assert_eq!(steps, [true, true, false, false]);
    assert_eq!(store.digests().count(), 5);
}

#[test]
fn one_trace_does_not_fill_the_store_and_keeps_its_root() {
    let mut store = Store::new(1 << 20);
    for n in 0..3_000 {
        let child = segment(
            "1-t",
            &n.to_string(),
            r#","type":"subsegment","parent_id":"root""#,
        );
        store.document(&child, NOW);
    }
    let long = format!(r#","end_time":1,"user":"{}""#, "x".repeat(1_000));
    store.document(&segment("1-t", "root", &long), NOW);
    assert_eq!(store.dropped, 0);
    let detail = store.trace("1-t").unwrap();
    assert_eq!(detail["trace"]["name"], "sroot");
    let kept = detail["documents"].as_array().unwrap().len() as u64;
    assert!(kept > 500);
    assert_eq!(detail["omitted"], 3_001 - kept);
    assert!(store.used < (1 << 20) / 2, "{}", store.used);
}

#[test]
fn hostile_traces_are_text() {
    let mut store = Store::new(LIMIT);
    let long = "<script>alert(1)</script>\\u001b[31m\\u202e\\ud83d".repeat(1_000);
    let hostile = format!(
        r#"{{"trace_id":"1-<b>\u0000","id":"\"","name":"{long}","parent_id":"\"",
        "http":{{"request":{{"method":"{long}","url":"javascript:{long}"}},"response":{{"status":1e9}}}},
        "annotations":{{"{long}":"{long}"}},"start_time":-1e300,"end_time":NaN}}"#
    );
    store.document(&hostile, NOW);
    let children: Vec<_> = (0..10_000).map(|n| format!(r#"{{"id":"{n}"}}"#)).collect();
    let wide = segment(
        "1-wide",
        "w",
        &format!(r#","subsegments":[{}]"#, children.join(",")),
    );
    store.document(&wide, NOW);
    let deep = [
        r#"{"id":"a","trace_id":"1-deep","subsegments":["#.repeat(1_000),
        "]}".repeat(1_000),
    ]
    .concat();
    store.document(&deep, NOW);
    let answer = list(&mut store, &[]);
    for trace in answer["traces"].as_array().unwrap() {
        let text = trace.to_string();
        assert!(text.len() < 10_000, "{}", text.len());
        let detail = store
            .trace(trace["id"].as_str().unwrap())
            .unwrap()
            .to_string();
        let again: Value = serde_json::from_str(&detail).unwrap();
        assert_eq!(&again["trace"], trace);
    }
    assert_eq!(
        store.trace("1-<b>\0").unwrap()["documents"][0]["text"],
        hostile.as_str()
    );
    let map = store.services(&filter(&[]).unwrap());
    let names = map["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["name"].to_string());
    let names: Vec<_> = names
        .map(|name| name.chars().take(9).collect::<String>())
        .collect();
    assert_eq!(names, ["\"client\"", "\"<script>", "\"sw\""]);
    assert_eq!(ids(&mut store, &[("text", "<script>")]).len(), 1);
}

#[test]
fn events_say_what_changed() {
    let mut store = Store::new(LIMIT);
    let mut stream = Streams::default().open().unwrap();
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let event = |version: u64, total: usize, ids: &str, more: bool| {
        StreamStep::Write(format!(
            "event: change\nid: {version}\ndata: {{\"ids\":[{ids}],\"more\":{more},\"total\":{total},\"version\":{version}}}\n\n"
        ))
    };
    store.document(&segment("1-a", "1", ""), NOW);
    let StreamStep::Write(first) = stream.next(&store, at(0)) else {
        panic!("the first event comes at once");
    };
    assert_eq!(
        StreamStep::Write(first.replace("retry: 2000\n\n", "")),
        event(1, 1, "", false)
    );
    assert_eq!(stream.next(&store, at(0)), StreamStep::Wait(HEARTBEAT));
    store.document(&segment("1-b", "1", ""), NOW);
    assert_eq!(
        stream.next(&store, at(100)),
        StreamStep::Wait(Duration::from_millis(150))
    );
    store.document(&segment("1-\\nc", "1", ""), NOW);
    assert_eq!(
        stream.next(&store, at(250)),
        event(3, 3, r#""1-b","1-\nc""#, false)
    );
    assert_eq!(
        stream.next(&store, at(15_249)),
        StreamStep::Wait(Duration::from_millis(1))
    );
    assert_eq!(
        stream.next(&store, at(15_250)),
        StreamStep::Write(":\n\n".to_owned())
    );
    for n in 0..101 {
        store.document(&segment(&format!("1-{n}"), "1", ""), NOW);
    }
    let StreamStep::Write(text) = stream.next(&store, at(16_000)) else {
        panic!("there is news");
    };
    let data = text
        .lines()
        .find_map(|line| line.strip_prefix("data: "))
        .unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(
        (data["ids"].as_array().unwrap().len(), &data["more"]),
        (100, &json!(true))
    );
}

const HEARTBEAT: Duration = Duration::from_secs(15);

#[test]
fn streams_are_counted_until_they_end() {
    let streams = Streams::default();
    let mut open: Vec<_> = std::iter::from_fn(|| streams.open()).collect();
    assert_eq!(open.len(), MAX_STREAMS);
    open.pop();
    assert!(streams.open().is_some());
    assert!(streams.open().is_some(), "the one before has ended");
}

#[test]
fn events_name_what_was_let_go() {
    let mut store = Store::new(3_000);
    let text = |n: usize| {
        segment(
            &format!("1-{n}"),
            "1",
            &format!(r#","user":"{}""#, "x".repeat(200)),
        )
    };
    let mut seen = 0;
    let mut alive = BTreeSet::new();
    for n in 0..20 {
        store.document(&text(n), NOW);
        let (changed, more) = store.changed_since(seen, 100);
        assert!(!more);
        for id in changed {
            if store.traces.contains_key(id) {
                alive.insert(id.to_owned());
            } else {
                alive.remove(id);
            }
        }
        seen = store.version;
        assert_eq!(alive.len(), store.traces.len(), "after {n}");
    }
    for n in 0..2 * MAX_GONE {
        store.document(&text(n), NOW);
    }
    assert!(
        store.changed_since(seen, 1_000).1,
        "more went than are remembered"
    );
    assert!(!store.changed_since(store.version, 1_000).1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn any_documents_fit_and_are_answered(
        documents in proptest::collection::vec(
            prop_oneof![
                crate::view::tests::any_document().prop_map(|json| json.to_string()),
                any::<String>(),
            ],
            0..30,
        ),
        limit in 0usize..40_000,
        look in 0usize..10,
    ) {
        let mut store = Store::new(limit);
        for (n, document) in documents.iter().enumerate() {
            store.document(document, NOW);
            prop_assert!(store.used <= limit);
            if n % (look + 1) == 0 {
                let found = ids(&mut store, &[]);
                for id in &found {
                    prop_assert!(store.trace(id).is_some());
                }
                store.services(&filter(&[]).unwrap());
                prop_assert!(store.used <= limit);
            }
            let bytes = store.traces.iter().map(|(id, trace)| {
                let digest = trace.digest.as_ref().map_or(0, |digest| digest.bytes());
                trace.bytes + digest + TRACE_BYTES + 2 * id.len()
            });
            prop_assert_eq!(store.used, bytes.sum::<usize>());
            prop_assert_eq!(store.order.len(), store.traces.len());
        }
    }
}
