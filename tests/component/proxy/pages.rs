//! Requests that web pages send through a browser.

use std::net::TcpListener;
use std::sync::Arc;

use xray::proxy::{AllowedOrigins, ClientResources, Counts, Limits, LocalSampling, ProxyServer};

use xray_test_support::http_client::HttpClient;

use super::harness::{MEMORY, parts, stop};

fn server(origins: &str) -> (HttpClient, ProxyServer, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let resources = ClientResources::new(MEMORY, 0);
    let handler = Arc::new(LocalSampling);
    let mut parts = parts(Limits::DEFAULT, resources, handler, Arc::clone(&counts));
    parts.origins = AllowedOrigins::new(origins);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = listener.local_addr().unwrap();
    let server = ProxyServer::start(listener, parts).unwrap();
    (HttpClient::connect(client), server, counts)
}

fn request(line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: 127.0.0.1:2000\r\n{headers}\r\n")
}

#[test]
fn no_page_gets_anything() {
    let (mut client, server, counts) = server("");
    let mut refused = 0;
    for line in [
        "POST /PutEncryptionConfig",
        "POST /GetSamplingRules",
        "POST /v1/traces",
        "OPTIONS /v1/traces",
        "GET /metrics",
        "GET /healthz",
    ] {
        for headers in [
            "Origin: https://evil.example\r\nContent-Type: text/plain\r\n",
            "Origin: null\r\n",
            // A name that was made to lead here.
            "Origin: http://evil.example:2000\r\nSec-Fetch-Site: same-origin\r\n",
            "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n",
            "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n",
        ] {
            let answer = client.ask(request(line, headers));
            answer.assert_empty(403);
            assert_eq!(answer.header("access-control-allow-origin"), None);
            refused += 1;
        }
    }
    let counted = counts.snapshot().refused;
    assert!(counted.contains(&("web_page", refused)), "{counted:?}");
    stop(&server);
}

#[test]
fn programs_are_no_pages() {
    let (mut client, server, _) = server("");
    for headers in [
        "",
        // The fetch of Node.
        "Sec-Fetch-Mode: cors\r\n",
        // A person who types the address.
        "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n",
    ] {
        for line in ["POST /GetSamplingRules", "GET /metrics"] {
            assert_eq!(
                client.ask(request(line, headers)).status,
                200,
                "{line} {headers}"
            );
        }
    }
    stop(&server);
}

#[test]
fn pages_of_an_allowed_origin_are_served() {
    let (mut client, server, _) = server("https://app.example.com");
    let origin = "Origin: https://app.example.com\r\nSec-Fetch-Site: cross-site\r\n";
    let headers = format!(
        "{origin}Access-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: content-type\r\n"
    );
    let preflight = client.ask(request("OPTIONS /v1/traces", &headers));
    assert_eq!(preflight.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", "https://app.example.com"),
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "content-type"),
        ("vary", "Origin"),
    ] {
        assert_eq!(preflight.header(name), Some(value));
    }
    let answer = client.ask(request("POST /SamplingTargets", origin));
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://app.example.com")
    );
    let other = "Origin: https://app.example.com.evil.example\r\n";
    client
        .ask(request("POST /v1/traces", other))
        .assert_empty(403);
    stop(&server);
}
