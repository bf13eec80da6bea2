//! Which targets go through the proxy, and how.

use std::io::{Read, Write};

use super::servers::*;
use super::*;

fn env_of(pairs: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
    move |name| {
        let pair = pairs.iter().find(|(known, _)| *known == name);
        pair.map(|(_, value)| (*value).to_owned())
    }
}

#[test]
fn proxy_table() {
    let corp = Some("corp:3128");
    let both = &[("HTTPS_PROXY", "http://corp:3128"), ("https_proxy", "x:1")];
    let lower = &[("https_proxy", "corp:3128")];
    let blank = &[("HTTPS_PROXY", " "), ("https_proxy", "corp:3128")];
    let except = &[
        ("HTTPS_PROXY", "http://corp:3128"),
        ("NO_PROXY", ".amazonaws.com,10.0.0.0/8"),
    ];
    let except_lower = &[
        ("HTTPS_PROXY", "http://corp:3128"),
        ("no_proxy", "amazonaws.com:443"),
    ];
    let other = &[("ALL_PROXY", "http://a:1"), ("HTTP_PROXY", "http://b:2")];
    type Case = (
        &'static str,
        &'static [(&'static str, &'static str)],
        &'static str,
        Option<&'static str>,
    );
    let cases: &[Case] = &[
        ("", &[], XRAY, None),
        ("", both, XRAY, corp),
        ("", both, "http://xray.internal/", corp),
        ("", lower, XRAY, corp),
        ("", blank, XRAY, corp),
        ("", other, XRAY, None),
        (" ", both, "https://localhost/", None),
        ("", both, "http://127.0.0.1:8080/", None),
        ("", both, "https://localhost/", None),
        ("", both, "http://[::1]:8080/", None),
        ("", except, XRAY, None),
        ("", except, "https://10.1.2.3/", None),
        ("", except, "https://xray.internal/", corp),
        ("", except_lower, XRAY, None),
        ("", except_lower, "https://x.amazonaws.com:8443/", corp),
        ("flag:1", both, XRAY, Some("flag:1")),
        ("https://u:p@flag", both, XRAY, Some("flag:443")),
        ("flag:1", &[], "http://127.0.0.1:8080/", Some("flag:1")),
        ("flag:1", except, XRAY, None),
    ];
    for (flag, pairs, target, expected) in cases {
        let name = factory(flag, &env_of(pairs)).proxy_name(target).unwrap();
        assert_eq!(name.as_deref(), *expected, "{flag} {pairs:?} {target}");
    }
}

#[test]
fn a_bad_proxy_is_named_without_its_password() {
    for address in [
        "socks5://u:hunter2@corp:1080",
        "http://u:hun@ter2 @corp",
        "ftp://u:hunter2@corp",
        "http://",
        "http:///path",
        "http://u:hunter2@[%10::1]",
        "http://[%10::1]:3128",
        "http://[::1",
        "http://[fe80::1%25eth0]:3128",
        "http://%63orp:3128",
        "http://co,rp:3128",
    ] {
        let Err(error) = HttpClientFactory::new(config(address, &nothing)) else {
            panic!("{address} was accepted");
        };
        let text = error.to_string();
        assert!(text.starts_with("-p (ProxyAddress): "), "{text}");
        assert!(!text.contains("hun"), "{text}");
    }
}

/// A proxy that reads once and answers that.
fn proxy(answer: &'static str) -> (u16, std::thread::JoinHandle<Vec<String>>) {
    serve(1, move |mut stream| {
        let mut head = vec![0; 4096];
        let amount = stream.read(&mut head).unwrap();
        let _ = stream.write_all(answer.as_bytes());
        String::from_utf8(head[..amount].to_vec()).unwrap()
    })
}

#[test]
fn connect_leaves_in_one_piece() {
    let (port, server) = proxy("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    let address = format!("http://us%40er:p%3Aw@127.0.0.1:{port}");
    let error = ask(&factory(&address, &nothing), XRAY).unwrap_err();
    let head = server.join().unwrap().remove(0);
    assert_eq!(
        head,
        // base64 of us@er:p:w
        "CONNECT xray.us-east-1.amazonaws.com:443 HTTP/1.1\r\n\
         Host: xray.us-east-1.amazonaws.com:443\r\n\
         User-Agent: xray/test\r\n\
         Proxy-Authorization: Basic dXNAZXI6cDp3\r\n\r\n"
    );
    assert_eq!(error.kind, TransportErrorKind::Proxy);
    let text = error.to_string();
    let words = format!("the proxy 127.0.0.1:{port} does not accept the user and password");
    assert!(text.starts_with(&words), "{text}");
}

#[test]
fn a_proxys_refusal_says_whose_it_is_and_what_to_do() {
    for (answer, words) in [
        (
            "HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\n\r\n",
            "wants a user and a password (407); write them into its address",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nforbidden",
            "does not allow connections to xray.us-east-1.amazonaws.com:443 (403)",
        ),
        (
            "HTTP/1.1 503 x\r\n\r\n",
            "could not connect to xray.us-east-1.amazonaws.com:443 (503)",
        ),
        ("", "does not answer as an HTTP proxy does (it closed"),
        ("SSH-2.0-x\r\n\r\n", "does not answer as an HTTP proxy does"),
        (
            "HTTP/1.1 200 OK\r\n\r\nSSH-2.0-x",
            "does not answer as an HTTP proxy does (it sends data before",
        ),
    ] {
        let (port, server) = proxy(answer);
        let factory = factory(&format!("127.0.0.1:{port}"), &nothing);
        let error = ask(&factory, XRAY).unwrap_err();
        server.join().unwrap();
        assert_eq!(error.kind, TransportErrorKind::Proxy);
        let text = error.to_string();
        assert!(text.contains(words), "{text}");
        assert!(text.contains(&format!("127.0.0.1:{port} ")), "{text}");
    }
}

#[test]
fn a_proxys_head_without_end_is_not_read_for_ever() {
    let (port, server) = serve(1, |mut stream| {
        let line = format!("X: {}\r\n", "x".repeat(1000));
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(line.as_bytes()).is_ok() {}
    });
    let factory = factory(&format!("127.0.0.1:{port}"), &nothing);
    let error = ask(&factory, XRAY).unwrap_err().to_string();
    server.join().unwrap();
    assert!(error.contains("its headers do not end"), "{error}");
}

#[test]
fn tls_goes_through_the_tunnel_to_the_target() {
    let authority = Authority::new("A");
    let target = server_config(authority.issue("xray.test"));
    let outer = server_config(authority.issue("localhost"));
    for scheme in ["http", "https"] {
        let (target, outer) = (Arc::clone(&target), Arc::clone(&outer));
        let (port, proxy) = serve(1, move |mut stream| match scheme {
            "http" => tunnel(&mut stream, &target),
            _ => tunnel(&mut tls(&outer, stream), &target),
        });
        let bundle = authority.file.display().to_string();
        let env = |name: &str| match name {
            // The name of the proxy's certificate, which is no loopback for NO_PROXY's sake.
            "HTTPS_PROXY" => Some(format!("{scheme}://localhost:{port}")),
            "NO_PROXY" => Some("xray.test:8443".to_owned()),
            "AWS_CA_BUNDLE" => Some(bundle.clone()),
            _ => None,
        };
        // The name exists nowhere: only the proxy is asked for it.
        let factory = factory("", &env);
        let agent = factory.agent("https://xray.test").unwrap();
        let body = vec![7; 300_000];
        let sent = agent
            .post("https://xray.test/TraceSegments")
            .send(&body[..]);
        assert_eq!(status(sent), Ok(200));
        drop(agent);
        let (connect, requests) = proxy.join().unwrap().remove(0);
        assert!(connect.starts_with("CONNECT xray.test:443 "), "{connect}");
        assert_eq!(requests.len(), 1);
        assert!(requests[0].0.starts_with("POST /TraceSegments "));
        assert!(requests[0].1 == body);
    }
}

fn tunnel<S: Read + Write>(
    stream: &mut S,
    target: &Arc<rustls::ServerConfig>,
) -> (String, Vec<(String, Vec<u8>)>) {
    let (connect, _) = request(stream).unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    stream.flush().unwrap();
    (connect, answer_all(&mut tls(target, stream), EMPTY_OK))
}

#[test]
fn a_proxy_that_cannot_be_reached_is_named() {
    let refusing = Refusing::new();
    let port = refusing.port;
    let error = ask(&factory(&format!("127.0.0.1:{port}"), &nothing), XRAY).unwrap_err();
    assert_eq!(error.kind, TransportErrorKind::Refused);
    let words = format!("connection refused by the proxy 127.0.0.1:{port}");
    assert!(error.to_string().starts_with(&words), "{error}");
    let error = ask(&factory("proxy.invalid:1", &nothing), XRAY).unwrap_err();
    assert_eq!(error.kind, TransportErrorKind::UnknownHost);
    let words = "unknown host the proxy proxy.invalid:1 (";
    assert!(error.to_string().starts_with(words), "{error}");
}
