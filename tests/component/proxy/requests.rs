//! What real clients send, and what of it reaches X-Ray.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use xray::proxy::Limits;

use xray_test_support::endpoint::Endpoint;
use xray_test_support::http::Request;
use xray_test_support::watch::wait_until;
use xray_test_support::xray::{KEY_ID, SECRET};

use super::harness::{ProxyHarness, answered, assert_signed_by, key, ok, reply};

/// Header names that may go upstream; those of the client only where it sent them.
const ALWAYS: [&str; 5] = [
    "accept-encoding",
    "authorization",
    "host",
    "user-agent",
    "x-amz-date",
];
const CLIENTS: [&str; 2] = ["content-encoding", "content-type"];

struct Case {
    who: &'static str,
    sent: &'static str,
    line: &'static str,
    /// Content-Type and Content-Encoding as they must arrive.
    headers: [Option<&'static str>; 2],
    /// `None`: no Content-Length either.
    body: Option<&'static str>,
}

const JSON: Option<&str> = Some("application/json");

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case {
        who: "aws-xray-sdk (Python) 2.15 by botocore 1.44",
        sent: "POST /GetSamplingRules HTTP/1.1\r\nHost: 127.0.0.1:2000\r\nAccept-Encoding: identity\r\nContent-Type: application/json\r\nUser-Agent: Botocore/1.44.5\r\namz-sdk-invocation-id: 85d92df4\r\namz-sdk-request: attempt=1; max=3\r\nContent-Length: 2\r\n\r\n{}",
        line: "POST /GetSamplingRules",
        headers: [JSON, None], body: Some("{}"),
    },
    Case {
        who: "aws-xray-sdk-core (Node) 3.12",
        sent: "POST /GetSamplingRules HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\nHost: 127.0.0.1:2000\r\nConnection: keep-alive\r\n\r\n{}",
        line: "POST /GetSamplingRules",
        headers: [JSON, None], body: Some("{}"),
    },
    Case {
        who: "aws-xray-sdk-go 2.0: no Content-Type, gzip asked for",
        sent: "POST /GetSamplingRules HTTP/1.1\r\nHost: 127.0.0.1:2000\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: 19\r\nAccept-Encoding: gzip\r\n\r\n{\"NextToken\": null}",
        line: "POST /GetSamplingRules",
        headers: [None, None], body: Some("{\"NextToken\": null}"),
    },
    Case {
        who: "aws-xray-sdk-java by HttpURLConnection",
        sent: "POST /SamplingTargets HTTP/1.1\r\nContent-Type: application/json\r\nUser-Agent: Java/17.0.15\r\nHost: 127.0.0.1:2000\r\nAccept: text/html, image/gif, image/jpeg, */*; q=0.2\r\nConnection: keep-alive\r\nContent-Length: 27\r\n\r\n{\"Timestamp\":1700000000123}",
        line: "POST /SamplingTargets",
        headers: [JSON, None], body: Some("{\"Timestamp\":1700000000123}"),
    },
    Case {
        who: "aws-xray-sdk-dotnet: empty body with a charset",
        sent: "POST /GetSamplingRules HTTP/1.1\r\nHost: 127.0.0.1:2000\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 0\r\n\r\n",
        line: "POST /GetSamplingRules",
        headers: [Some("application/json; charset=utf-8"), None], body: Some(""),
    },
    Case {
        who: "ADOT Python by requests: empty body",
        sent: "POST /GetSamplingRules HTTP/1.1\r\nHost: 127.0.0.1:2000\r\nUser-Agent: python-requests/2.34\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\ncontent-type: application/json\r\nContent-Length: 0\r\n\r\n",
        line: "POST /GetSamplingRules",
        headers: [JSON, None], body: Some(""),
    },
    Case {
        who: "@opentelemetry/sampler-aws-xray (JS): neither body nor type",
        sent: "POST /GetSamplingRules HTTP/1.1\r\nHost: localhost:2000\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        line: "POST /GetSamplingRules",
        headers: [None, None], body: Some(""),
    },
    Case {
        who: "curl -X POST: no length at all",
        sent: "POST /GetSamplingRules HTTP/1.1\r\nHost: xray-daemon:2000\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n",
        line: "POST /GetSamplingRules",
        headers: [None, None], body: Some(""),
    },
    Case {
        who: "aws-xray-sdk-ruby: signed with dummy keys, an empty header value",
        sent: "POST /GetSamplingRules HTTP/1.1\r\nAccept-Encoding: \r\nUser-Agent: aws-sdk-ruby3/3.168.1\r\nContent-Type: application/json\r\nHost: 127.0.0.1:33786\r\nX-Amz-Date: 20261122T193112Z\r\nX-Amz-Security-Token: stale\r\nX-Amz-Content-Sha256: 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\r\nAuthorization: AWS4-HMAC-SHA256 Credential=dummy/20261122/us-west-2/xray/aws4_request, SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date, Signature=f5c6\r\nContent-Length: 2\r\nAccept: */*\r\n\r\n{}",
        line: "POST /GetSamplingRules",
        headers: [JSON, None], body: Some("{}"),
    },
    Case {
        // https://github.com/aws/aws-xray-daemon/issues/199: any of these broke the signature.
        who: "behind Envoy, Istio or a load balancer",
        sent: "POST /SamplingTargets HTTP/1.1\r\nHost: xray.tracing.svc.cluster.local:2000\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: http\r\nForwarded: for=10.0.0.1\r\nVia: 1.1 mesh\r\nX-Envoy-Attempt-Count: 1\r\nX-Request-Id: 7\r\nX-Amzn-Trace-Id: Root=1-a\r\nTE: trailers\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nConnection: keep-alive, X-Private\r\nX-Private: 1\r\nUpgrade: h2c\r\nCookie: a=b\r\nSec-Fetch-Mode: cors\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]",
        line: "POST /SamplingTargets",
        headers: [JSON, None], body: Some("[]"),
    },
    Case {
        who: "a compressed body",
        sent: "POST /SamplingTargets HTTP/1.1\r\nHost: 127.0.0.1:2000\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x00\x01\x02",
        line: "POST /SamplingTargets",
        headers: [Some("application/x-protobuf"), Some("gzip")], body: Some("\x1f\x00\x01\x02"),
    },
    Case {
        who: "a chunked body, with an extension and a trailer",
        sent: "POST /SamplingTargets HTTP/1.1\r\nHost: h\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\n[\r\n1\r\n]\r\n0\r\nX-Sum: 1\r\n\r\n",
        line: "POST /SamplingTargets",
        headers: [None, None], body: Some("[]"),
    },
    Case {
        who: "HTTP/1.0",
        sent: "POST /GetSamplingRules HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        line: "POST /GetSamplingRules",
        headers: [JSON, None], body: Some("{}"),
    },
    Case {
        who: "a person: any method, path and query",
        sent: "GET /Groups/a%20b?c=d HTTP/1.1\r\nHost: h\r\n\r\n",
        line: "GET /Groups/a%20b?c=d",
        headers: [None, None], body: None,
    },
    Case {
        who: "a target in absolute form",
        sent: "GET http://127.0.0.1:2000/x HTTP/1.1\r\nHost: h\r\n\r\n",
        line: "GET /x",
        headers: [None, None], body: None,
    },
    Case {
        who: "a method of nobody's, with a body",
        sent: "PURGE /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
        line: "PURGE /x",
        headers: [None, None], body: Some("x"),
    },
    Case {
        who: "a GET with a body",
        sent: "GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
        line: "GET /x",
        headers: [None, None], body: Some("x"),
    },
    Case {
        who: "a path of its own as another method",
        sent: "POST /healthz HTTP/1.1\r\nHost: h\r\n\r\n",
        line: "POST /healthz",
        headers: [None, None], body: Some(""),
    },
    Case {
        who: "a list header in two lines",
        sent: "POST /x HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\ncontent-encoding: br\r\n\r\n",
        line: "POST /x",
        headers: [None, Some("gzip, br")], body: Some(""),
    },
    Case {
        who: "an empty Content-Type",
        sent: "POST /x HTTP/1.1\r\nHost: h\r\nContent-Type:\r\n\r\n",
        line: "POST /x",
        headers: [Some(""), None], body: Some(""),
    },
];

fn header_names(request: &Request) -> impl Iterator<Item = String> {
    let names = request.headers.iter();
    names.map(|(name, _)| name.to_ascii_lowercase())
}

#[test]
fn a_fresh_signed_request_goes_upstream() {
    let service = Endpoint::start(|_, _| ok());
    let proxy = ProxyHarness::new(&service);
    for case in CASES {
        let answer = proxy.client().ask(case.sent);
        assert_eq!(
            (answer.status, &answer.body[..]),
            (200, &b"{\"ok\":1}"[..]),
            "{}",
            case.who
        );

        let received = service.next_request();
        assert_eq!(received.line(), case.line, "{}", case.who);
        assert_eq!(
            received.body,
            case.body.unwrap_or_default().as_bytes(),
            "{}",
            case.who
        );
        let length = case.body.map(|body| body.len().to_string());
        assert_eq!(
            received.header("content-length"),
            length.as_deref(),
            "{}",
            case.who
        );
        let [content_type, content_encoding] = case.headers;
        assert_eq!(
            received.header("content-type"),
            content_type,
            "{}",
            case.who
        );
        assert_eq!(
            received.header("content-encoding"),
            content_encoding,
            "{}",
            case.who
        );
        // A compressed answer could not be searched for secrets.
        assert_eq!(received.header("accept-encoding"), Some("identity"));
        assert_eq!(
            received.header("host"),
            Some(service.address().to_string().as_str())
        );
        for name in header_names(&received) {
            assert!(
                ALWAYS.contains(&&*name) || CLIENTS.contains(&&*name) || name == "content-length",
                "{name} of {}",
                case.who
            );
        }
        assert_signed_by(&received, KEY_ID, SECRET);
        let signed = received.header("authorization").unwrap();
        let expected = if content_type.is_some() {
            "SignedHeaders=content-type;host;x-amz-date,"
        } else {
            "SignedHeaders=host;x-amz-date,"
        };
        assert!(signed.contains(expected), "{signed} of {}", case.who);
    }
    assert!(!service.has_more_requests());
    // An answer is there a moment before it is counted.
    wait_until("all are counted", || {
        answered(&proxy.counts, "2xx") == CASES.len() as u64
    });
    proxy.stop();
}

#[test]
fn a_session_token_is_signed_and_sent() {
    let service = Endpoint::start(|_, _| ok());
    let endpoint = format!("http://{}", service.address());
    let proxy = ProxyHarness::with(&endpoint, Limits::DEFAULT, vec![key(KEY_ID, Some("t0ken"))]);
    proxy
        .client()
        .ask("POST /GetSamplingRules HTTP/1.1\r\nHost: h\r\n\r\n");
    let received = service.next_request();
    assert_eq!(received.header("x-amz-security-token"), Some("t0ken"));
    assert_signed_by(&received, KEY_ID, SECRET);
    proxy.stop();
}

#[test]
fn an_endpoint_may_have_a_path() {
    let service = Endpoint::start(|_, _| ok());
    let endpoint = format!("http://{}/base", service.address());
    let proxy = ProxyHarness::with(&endpoint, Limits::DEFAULT, vec![key(KEY_ID, None)]);
    proxy
        .client()
        .ask("POST /GetSamplingRules HTTP/1.1\r\nHost: h\r\n\r\n");
    let received = service.next_request();
    assert_eq!(received.line(), "POST /base/GetSamplingRules");
    assert_signed_by(&received, KEY_ID, SECRET);
    proxy.stop();
}

#[test]
fn continue_is_sent_before_the_body_and_never_asked_upstream() {
    let service = Endpoint::start(|_, _| ok());
    let proxy = ProxyHarness::new(&service);
    let mut client = proxy.client();
    client.send("POST /SamplingTargets HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    let interim = client.response_head();
    assert_eq!((interim.status, interim.headers.len()), (100, 0));
    assert_eq!(client.ask("{}").status, 200);
    assert_eq!(service.next_request().header("expect"), None);
    proxy.stop();
}

#[test]
fn a_connection_serves_many_requests() {
    let service = Endpoint::start(|_, request| reply("200 OK", "", &request.body));
    let proxy = ProxyHarness::new(&service);
    let mut client = proxy.client();
    for i in 0..20 {
        let body = i.to_string();
        let sent = format!(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = client.ask(sent);
        assert_eq!(answer.body, body.as_bytes());
        assert_eq!(answer.header("connection"), None);
    }
    // All at once, then a half-closed connection: every one is answered, in order.
    client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1".repeat(3));
    client.send("POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n2");
    client.shut_down_writing();
    for body in [b"1", b"1", b"1", b"2"] {
        assert_eq!(client.response().body, body);
    }
    assert!(client.is_closed());
    proxy.stop();
}

#[test]
fn http10_is_kept_open_only_when_asked() {
    let service = Endpoint::start(|_, _| ok());
    let proxy = ProxyHarness::new(&service);
    let mut client = proxy.client();
    let answer = client.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(answer.header("connection"), Some("keep-alive"));
    let answer = client.ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(client.is_closed());
    let mut client = proxy.client();
    let answer = client.ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(client.is_closed());
    proxy.stop();
}

#[test]
fn five_megabytes_pass_untouched() {
    let service = Endpoint::start(|_, _| reply("200 OK", "", ""));
    let proxy = ProxyHarness::new(&service);
    let body: Vec<u8> = (0..5_000_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let head = format!(
        "POST /SamplingTargets HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut client = proxy.client();
    client.send(head);
    assert_eq!(client.ask(&body).status, 200);
    let received = service.next_request();
    assert!(
        received.body == body,
        "{} bytes arrived",
        received.body.len()
    );
    assert_signed_by(&received, KEY_ID, SECRET);
    proxy.stop();
}

#[test]
fn requests_that_cannot_be_sent_on_are_the_clients_fault() {
    let service = Endpoint::start(|_, _| ok());
    let proxy = ProxyHarness::new(&service);
    proxy
        .client()
        .ask(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: \xff\xfe\r\n\r\n")
        .assert_empty(400);
    // The answer to a TRACE is the request: signature and session token would come back.
    proxy
        .client()
        .ask("TRACE / HTTP/1.1\r\nHost: h\r\n\r\n")
        .assert_empty(400);
    assert!(!service.has_more_requests());
    proxy.stop();
}

/// The signing library and the HTTP client each have their own idea of a URL. A panic in one of
/// them would end the daemon.
#[test]
fn any_target_is_sent_as_it_is_or_refused() {
    let service = Endpoint::start(|_, _| ok());
    let proxy = ProxyHarness::new(&service);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(
        ProptestConfig::default().cases * 2,
    ));
    let targets = prop_oneof!["/[!-~]{0,40}", "/[a-c/.%?&=+:@;]{0,40}"];
    let outcome = runner.run(&targets, |target| {
        let answer = proxy
            .client()
            .ask(format!("POST {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        if answer.status == 200 {
            prop_assert_eq!(service.next_request().target, target);
        } else {
            answer.assert_empty(400);
        }
        Ok(())
    });
    outcome.unwrap();
    proxy.stop();
}
