//! Which certificates are trusted, and the messages for those that are not.

use std::io::{Read, Write};
use std::thread::JoinHandle;

use super::servers::*;
use super::*;

/// Answers one request by TLS; the client may refuse.
fn tls_server(identity: Identity) -> (String, JoinHandle<Vec<usize>>) {
    tls_server_with(server_config(identity))
}

fn tls_server_with(config: Arc<rustls::ServerConfig>) -> (String, JoinHandle<Vec<usize>>) {
    let (port, server) = serve(1, move |stream| {
        answer_all(&mut tls(&config, stream), EMPTY_OK).len()
    });
    (format!("https://localhost:{port}/"), server)
}

#[test]
fn a_private_root_is_trusted_only_when_named() {
    let authority = Authority::new("Corp Root");
    let identity = || authority.issue("localhost");
    let (url, server) = tls_server(identity());
    assert_eq!(ask(&trusting(&authority), &url), Ok(200));
    server.join().unwrap();

    let unchecked = HttpClientFactory::new(HttpClientConfig {
        no_verify_ssl: true,
        ..config("", &nothing)
    });
    let (url, server) = tls_server(identity());
    assert_eq!(ask(&unchecked.unwrap(), &url), Ok(200));
    server.join().unwrap();

    let other = Authority::new("Other Root");
    for factory in [factory("", &nothing), trusting(&other)] {
        let (url, server) = tls_server(identity());
        let error = ask(&factory, &url).unwrap_err();
        assert_eq!(server.join().unwrap(), [0], "nothing is sent to a stranger");
        assert_eq!(error.kind, TransportErrorKind::Tls);
        let text = error.to_string();
        assert!(text.starts_with("localhost:"), "{text}");
        let words = "shows a certificate (CN=localhost) from an unknown CA (CN=Corp Root)";
        assert!(text.contains(words), "{text}");
        assert!(text.contains("AWS_CA_BUNDLE"), "{text}");
    }
}

/// The CA at the end of the chain is the one that would have to be trusted.
#[test]
fn the_unknown_ca_is_the_last_one() {
    let (known, unknown) = (Authority::new("Corp Root"), Authority::new("Other Root"));
    for (authority, expected) in [(&known, Ok(200)), (&unknown, Err("(CN=Other Root)"))] {
        let (url, server) = tls_server(authority.issue_through("Between", "localhost"));
        let answer = ask(&trusting(&known), &url);
        server.join().unwrap();
        match expected {
            Ok(status) => assert_eq!(answer, Ok(status)),
            Err(words) => {
                let text = answer.unwrap_err().to_string();
                assert!(
                    text.contains("from an unknown CA") && text.contains(words),
                    "{text}"
                );
            }
        }
    }
}

#[test]
fn both_versions_of_tls_are_spoken() {
    let authority = Authority::new("A");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = server_config_with(authority.issue("localhost"), &[version]);
        let (url, server) = tls_server_with(config);
        assert_eq!(ask(&trusting(&authority), &url), Ok(200));
        server.join().unwrap();
    }
}

#[test]
fn an_address_may_stand_in_a_certificate() {
    let authority = Authority::new("A");
    let (url, server) = tls_server(authority.issue("127.0.0.1"));
    let url = url.replace("localhost", "127.0.0.1");
    assert_eq!(ask(&trusting(&authority), &url), Ok(200));
    server.join().unwrap();
}

#[test]
fn each_bad_certificate_is_called_by_its_name() {
    let authority = Authority::new("Corp Root");
    let expired = authority.issue_with("localhost", |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let early = authority.issue_with("localhost", |params| {
        params.not_before = rcgen::date_time_ymd(2901, 1, 1);
        params.not_after = rcgen::date_time_ymd(2902, 1, 1);
    });
    let hostile = authority.issue_with("elsewhere", |params| {
        let name = "x\r\n\u{1b}[31m".to_owned() + &"y".repeat(1000);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
    });
    for (identity, words) in [
        (
            authority.as_identity(),
            "uses a CA certificate (CN=Corp Root) as its own, which no server may; issue a \
             server certificate from it, and let AWS_CA_BUNDLE name",
        ),
        (
            self_signed("localhost"),
            "shows a self-signed certificate (CN=localhost) that is not trusted; if it is the \
             right one, let AWS_CA_BUNDLE name a PEM file with it",
        ),
        (
            expired,
            "shows a certificate (CN=localhost) that has expired",
        ),
        (
            early,
            "shows a certificate (CN=localhost) that is not valid yet",
        ),
        (
            authority.issue("elsewhere"),
            "shows a certificate (CN=elsewhere, from CN=Corp Root) that is not for this name",
        ),
        (hostile, "shows a certificate (CN=x[31my"),
    ] {
        let (url, server) = tls_server(identity);
        let error = ask(&trusting(&authority), &url).unwrap_err();
        server.join().unwrap();
        assert_eq!(error.kind, TransportErrorKind::Tls);
        let text = error.to_string();
        assert!(text.contains(words), "{text}");
        assert!(
            text.len() < 400 && !text.contains(char::is_control),
            "{text}"
        );
    }
}

#[test]
fn a_server_without_tls_is_called_that() {
    let (port, server) = serve(1, |mut stream| {
        let _ = stream.read(&mut [0; 2000]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let url = format!("https://127.0.0.1:{port}/");
    let error = ask(&factory("", &nothing), &url).unwrap_err();
    server.join().unwrap();
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("127.0.0.1:{port} does not speak TLS")),
        "{text}"
    );
    assert!(
        text.contains("http://") && text.contains("AWS_CA_BUNDLE"),
        "{text}"
    );
}

#[test]
fn a_handshake_that_ends_early_is_called_that() {
    let (port, server) = serve(1, |mut stream| stream.read(&mut [0; 2000]).unwrap());
    let url = format!("https://127.0.0.1:{port}/");
    let error = ask(&factory("", &nothing), &url).unwrap_err();
    server.join().unwrap();
    assert_eq!(error.kind, TransportErrorKind::Tls);
    let text = error.to_string();
    assert!(
        text.contains("broke the connection off during the TLS handshake"),
        "{text}"
    );
}
