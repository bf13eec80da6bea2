//! How X-Ray's answers come back.

use std::sync::Arc;

use xray::proxy::{Limits, LocalSampling};

use xray_test_support::endpoint::{Endpoint, Reply};
use xray_test_support::http_client::HttpClient;

use super::harness::{ProxyHarness, ok, reply, server, stop};

const ASK: &str = "POST /SamplingTargets HTTP/1.1\r\nHost: h\r\n\r\n";

/// A server before a service that answers everything with `bytes` and closes.
fn answering(bytes: impl AsRef<[u8]>) -> (Endpoint, ProxyHarness) {
    let bytes = bytes.as_ref().to_vec();
    let service = Endpoint::start(move |_, _| Reply::RawThenClose(bytes.clone()));
    let proxy = ProxyHarness::new(&service);
    (service, proxy)
}

#[test]
fn every_status_comes_back_with_its_headers_and_body() {
    for status in [
        "200 OK",
        "201 Created",
        "302 Found",
        "307 Temporary Redirect",
        "400 Bad Request",
        "403 Forbidden",
        "404 Not Found",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "503 Service Unavailable",
        "599 ",
    ] {
        let service = Endpoint::start(move |_, _| {
            let headers = "x-amzn-RequestId: 7\r\nx-amzn-ErrorType: ThrottledException\r\n\
                           Location: http://127.0.0.1:1/\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n";
            reply(status, headers, "{\"message\":\"\u{e9}\"}")
        });
        let proxy = ProxyHarness::new(&service);
        let answer = proxy.client().ask(ASK);
        assert_eq!(
            status.split(' ').next(),
            Some(answer.status.to_string().as_str())
        );
        assert_eq!(answer.body, "{\"message\":\"\u{e9}\"}".as_bytes());
        assert_eq!(answer.header("x-amzn-requestid"), Some("7"));
        assert_eq!(
            answer.header("x-amzn-errortype"),
            Some("ThrottledException")
        );
        assert_eq!(answer.header("location"), Some("http://127.0.0.1:1/"));
        let cookies = answer
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        assert_eq!(cookies.count(), 2);
        service.next_request();
        assert!(
            !service.has_more_requests(),
            "{status} was not taken for an answer"
        );
        proxy.stop();
    }
}

#[test]
fn a_content_coding_is_left_alone() {
    let body = b"\x1f\x8b\x08\x00not really gzip\xff";
    let service = Endpoint::start(move |_, _| reply("200 OK", "Content-Encoding: gzip\r\n", body));
    let proxy = ProxyHarness::new(&service);
    let answer = proxy.client().ask(ASK);
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(
        answer.header("content-length"),
        Some(body.len().to_string().as_str())
    );
    assert_eq!(answer.body, body);
    proxy.stop();
}

#[test]
fn hop_by_hop_headers_end_here() {
    let (_service, proxy) = answering(
        "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: close\r\nUpgrade: h2\r\nTrailer: X-Sum\r\nX-End: 1\r\n\
         Content-Length: 2\r\n\r\n{}",
    );
    let mut client = proxy.client();
    // Twice: the service's `Connection: close` is not the client's.
    for _ in 0..2 {
        let answer = client.ask(ASK);
        let names = answer.headers.iter();
        let mut names: Vec<_> = names.map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "x-end"]);
        assert_eq!(answer.body, b"{}");
    }
    proxy.stop();
}

#[test]
fn a_body_of_unknown_length_is_framed_for_the_client() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\n{\"a\r\n5;x=y\r\n\":12}\r\n0\r\nX-Sum: 1\r\n\r\n";
    let until_close = "HTTP/1.1 200 OK\r\n\r\n{\"a\":12}";
    for reply in [
        Reply::Raw(chunked.as_bytes().to_vec()),
        Reply::RawThenClose(until_close.as_bytes().to_vec()),
    ] {
        let service = Endpoint::start(move |_, _| reply.clone());
        let proxy = ProxyHarness::new(&service);
        let mut client = proxy.client();
        let answer = client.ask(ASK);
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
        assert_eq!(
            (&answer.body[..], answer.is_cut_off),
            (&b"{\"a\":12}"[..], false)
        );
        // Still in step with the connection.
        assert_eq!(client.ask(ASK).body, b"{\"a\":12}");

        let mut client = proxy.client();
        let answer = client.ask("POST / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(answer.header("transfer-encoding"), None);
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(answer.body, b"{\"a\":12}");
        proxy.stop();
    }
}

#[test]
fn answers_of_any_size_come_through() {
    let body = vec![b'x'; 12 * 1024 * 1024];
    let known = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    for head in [known.as_str(), "HTTP/1.1 200 OK\r\n\r\n"] {
        let (_service, proxy) = answering([head.as_bytes(), &body].concat());
        let answer = proxy.client().ask(ASK);
        assert!(
            !answer.is_cut_off && answer.body == body,
            "{} bytes",
            answer.body.len()
        );
        proxy.stop();
    }
}

#[test]
fn answers_without_a_body_have_none() {
    let rows = [
        ("POST", "HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        ("POST", "HTTP/1.1 304 Not Modified\r\n\r\n", 304, None),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
            200,
            Some("7"),
        ),
        ("HEAD", "HTTP/1.1 404 Not Found\r\n\r\n", 404, None),
        (
            "POST",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            200,
            Some("0"),
        ),
    ];
    for (method, bytes, status, length) in rows {
        let service = Endpoint::start(move |_, _| Reply::Raw(bytes.as_bytes().to_vec()));
        let proxy = ProxyHarness::new(&service);
        let mut client = proxy.client();
        for _ in 0..2 {
            client.send(format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n"));
            let answer = if method == "HEAD" {
                client.response_head()
            } else {
                client.response()
            };
            assert_eq!(
                (answer.status, answer.header("content-length")),
                (status, length)
            );
            assert_eq!(answer.header("transfer-encoding"), None);
        }
        proxy.stop();
    }
}

#[test]
fn an_answer_that_breaks_off_is_not_made_whole() {
    // Nothing is out yet: the client can be told.
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}".as_bytes(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}",
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\n{}",
    ] {
        let (_service, proxy) = answering(bytes);
        proxy.client().ask(ASK).assert_empty(502);
        proxy.stop();
    }
    let body = vec![b'x'; 1024 * 1024];
    for head in [
        "Content-Length: 2000000\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n200000\r\n",
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{head}");
        let (_service, proxy) = answering([head.as_bytes(), &body].concat());
        let mut client = proxy.client();
        let answer = client.ask(ASK);
        assert_eq!((answer.status, answer.is_cut_off), (200, true));
        proxy.stop();
    }
}

#[test]
fn the_daemons_own_paths_are_answered_here() {
    let service = Endpoint::start(|_, _| ok());
    let proxy = ProxyHarness::new(&service);
    let mut client = proxy.client();
    for (path, body) in [
        ("/healthz", "ok\n"),
        ("/metrics", "xray_up 1\n"),
        ("/metrics?name=x", "xray_up 1\n"),
    ] {
        let answer = client.ask(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!((answer.status, &answer.body[..]), (200, body.as_bytes()));
        assert_eq!(answer.header("content-type"), Some("text/plain"));
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let head = client.response_head();
        assert_eq!(
            head.header("content-length"),
            Some(body.len().to_string().as_str())
        );
    }
    assert!(!service.has_more_requests());
    // Kubernetes and load balancers ask by HTTP/1.0 or 1.1 and close.
    let answer = proxy.client().ask("GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(answer.body, b"ok\n");
    proxy.stop();
}

#[test]
fn sampling_is_answered_without_aws() {
    let (address, server) = server(Limits::DEFAULT, Arc::new(LocalSampling));
    let mut client = HttpClient::connect(address);
    let mut ask = |line: &str| client.ask(format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n"));

    let answer = ask("POST /GetSamplingRules");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let rules: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let rule = &rules["SamplingRuleRecords"][0]["SamplingRule"];
    // What the SDKs check before they take a rule.
    assert_eq!(rule["Version"], 1);
    assert_eq!(rule["ResourceARN"], "*");
    assert_eq!(rule["Attributes"], serde_json::json!({}));
    assert_eq!(rule["FixedRate"], 1.0);
    assert!(rule["Priority"].as_u64() > Some(0) && rule["RuleName"] == "Default");

    let answer = ask("POST /SamplingTargets");
    let targets: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(targets["LastRuleModification"].is_number());
    assert_eq!(targets["SamplingTargetDocuments"], serde_json::json!([]));
    assert_eq!(targets["UnprocessedStatistics"], serde_json::json!([]));

    ask("POST /EncryptionConfig").assert_empty(404);
    ask("GET /GetSamplingRules").assert_empty(404);
    assert_eq!(ask("GET /healthz").body, b"ok\n");
    stop(&server);
}
