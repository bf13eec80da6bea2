//! What of the daemon's secrets an answer may show: nothing.

use xray::proxy::Limits;

use xray_test_support::endpoint::Endpoint;
use xray_test_support::http::Request;
use xray_test_support::xray::KEY_ID;

use super::harness::{ProxyHarness, key, reply};

const TOKEN: &str = "IQoJb3JpZ2luX2VjEA/session/token+of/some+length/that/is/usual==";

fn ask(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n")
}

/// The request as a service shows it that refuses its signature, escaped by `escape`.
fn echo(request: &Request, escape: fn(&str) -> String) -> String {
    let headers = request.headers.iter();
    let lines: String = headers
        .map(|(n, v)| format!("{n}:{}\\n", escape(v)))
        .collect();
    format!("{{\"message\":\"The canonical string should have been {lines}\"}}")
}

/// Asserts that no form of the token or the signature is in `text`.
#[track_caller]
fn shows_nothing(text: &str, signature: &str) {
    for secret in [TOKEN, signature] {
        for form in [
            secret.to_owned(),
            secret.replace('/', "\\/"),
            secret.replace('/', "\\u002f"),
            secret
                .replace('/', "%2F")
                .replace('+', "%2B")
                .replace('=', "%3D"),
            secret[..secret.len() / 2 + 10].to_owned(),
        ] {
            assert!(!text.contains(&form), "{form} in {text:.3000}");
        }
    }
}

#[test]
fn no_answer_shows_token_or_signature() {
    let escapes: [fn(&str) -> String; 4] = [
        str::to_owned,
        |text| text.replace('/', "\\/"),
        |text| text.replace('/', "\\u002f"),
        |text| {
            text.replace('/', "%2F")
                .replace('+', "%2B")
                .replace('=', "%3D")
        },
    ];
    for status in [
        "200 OK",
        "302 Found",
        "400 Bad Request",
        "403 Forbidden",
        "404 Not Found",
        "500 Internal Server Error",
    ] {
        for escape in escapes {
            for filler in [0, 100_000] {
                let service = Endpoint::start(move |_, request| {
                    let echo = echo(request, escape);
                    let long = "x".repeat(filler);
                    let token = request.header("x-amz-security-token").unwrap();
                    let headers = format!("X-Echo: {token}\r\n");
                    reply(status, &headers, format!("{long}{echo}{long}"))
                });
                let endpoint = format!("http://{}", service.address());
                let proxy =
                    ProxyHarness::with(&endpoint, Limits::DEFAULT, vec![key(KEY_ID, Some(TOKEN))]);
                for path in ["/SamplingTargets", "/GetSamplingRules"] {
                    let answer = proxy.client().ask(ask(path));
                    assert!(!answer.is_cut_off);
                    assert_eq!(answer.status.to_string(), status[..3]);
                    let received = service.next_request();
                    let authorization = received.header("authorization").unwrap();
                    let signature = authorization.rsplit('=').next().unwrap();
                    let text = String::from_utf8(answer.body.clone()).unwrap();
                    // What is no secret is there.
                    assert!(text.contains("x-amz-security-token:***"), "{text:.3000}");
                    assert!(text.contains(KEY_ID), "{text:.3000}");
                    shows_nothing(&format!("{text}{:?}", answer.headers), signature);
                }
                proxy.stop();
            }
        }
    }
}

#[test]
fn a_compressed_answer_is_not_passed_on_where_there_is_a_token() {
    let service = Endpoint::start(|_, request| {
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        reply(
            "403 Forbidden",
            "Content-Encoding: gzip\r\n",
            b"\x1f\x8b...",
        )
    });
    let endpoint = format!("http://{}", service.address());
    let proxy = ProxyHarness::with(&endpoint, Limits::DEFAULT, vec![key(KEY_ID, Some(TOKEN))]);
    proxy
        .client()
        .ask(ask("/SamplingTargets"))
        .assert_empty(502);
    proxy.stop();
    // Without a token there is nothing to hide.
    let proxy = ProxyHarness::new(&service);
    let answer = proxy.client().ask(ask("/SamplingTargets"));
    assert_eq!(
        (answer.status, &answer.body[..]),
        (403, &b"\x1f\x8b..."[..])
    );
    proxy.stop();
}

/// The search for secrets holds nothing back but what may be one.
#[test]
fn an_answer_is_passed_on_while_it_comes() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n")
            .unwrap();
        stream.write_all(&[b'a'; 20_000]).unwrap();
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(&[b'b'; 10_000]).unwrap();
    });
    let proxy = ProxyHarness::with(&endpoint, Limits::DEFAULT, vec![key(KEY_ID, Some(TOKEN))]);
    let mut client = proxy.client();
    client.send(ask("/SamplingTargets"));
    // The first part is here before the second is sent.
    assert_eq!(client.bytes(10_000).len(), 10_000);
    go.send(()).unwrap();
    proxy.stop();
}
