use super::*;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

const XRAY: &str = "https://xray.us-east-1.amazonaws.com/";

fn nothing(_: &str) -> Option<String> {
    None
}

fn config<'a>(
    proxy_address: &'a str,
    env: &'a dyn Fn(&str) -> Option<String>,
) -> ServiceConfig<'a> {
    ServiceConfig {
        proxy_address,
        no_verify_ssl: false,
        profile_ca_bundle: None,
        connections: 1,
        user_agent: "xray/test",
        env,
    }
}

fn env_of(pairs: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
    move |name| {
        pairs
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| (*v).to_owned())
    }
}

fn built(config: &ServiceConfig<'_>) -> Service {
    Service::new(config).unwrap_or_else(|e| panic!("{e}"))
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
        let env = env_of(pairs);
        let name = built(&config(flag, &env)).proxy_name(target).unwrap();
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
    ] {
        let Err(error) = Service::new(&config(address, &nothing)) else {
            panic!("{address} was accepted");
        };
        let text = error.to_string();
        assert!(text.starts_with("-p (ProxyAddress): "), "{text}");
        assert!(!text.contains("hun"), "{text}");
    }
}

#[test]
fn a_target_must_be_absolute() {
    let service = built(&config("", &nothing));
    for target in [
        "",
        "/TraceSegments",
        "xray.us-east-1.amazonaws.com",
        "https://",
    ] {
        assert!(matches!(service.agent(target), Err(AgentError::Target(_))));
    }
}

#[test]
fn connect_carries_basic_credentials_and_the_user_agent() {
    for ask in ASKERS {
        let (proxy, seen) = answer_once("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
        let address = proxy.replace("http://", "http://us%40er:p%3Aw@");
        let service = built(&config(&address, &nothing));
        let error = ask(&service, "https://xray.us-east-1.amazonaws.com").unwrap_err();
        let head = seen.join().unwrap();
        assert!(
            head.starts_with("CONNECT xray.us-east-1.amazonaws.com:443 HTTP/1.1\r\n"),
            "{head}"
        );
        // base64 of us@er:p:w
        assert!(
            head.contains("Proxy-Authorization: Basic dXNAZXI6cDp3\r\n"),
            "{head}"
        );
        assert!(head.contains("User-Agent: xray/test\r\n"), "{head}");
        assert!(error.contains("407"), "{error}");
    }
}

#[test]
fn a_plain_endpoint_gets_no_encoding_and_every_status_back() {
    let (url, seen) = answer_once("HTTP/1.1 307 x\r\nLocation: /y\r\nContent-Length: 2\r\n\r\nhi");
    let agent = built(&config("", &nothing)).agent(&url).unwrap();
    let mut response = agent.get(&url).call().unwrap();
    assert_eq!(response.status(), 307);
    assert_eq!(response.body_mut().read_to_string().unwrap(), "hi");
    let head = seen.join().unwrap().to_ascii_lowercase();
    assert!(head.contains("user-agent: xray/test\r\n"), "{head}");
    assert!(!head.contains("accept-encoding"), "{head}");
}

#[test]
fn metadata_answers_as_they_are() {
    let (url, seen) = answer_once("HTTP/1.1 302 x\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(metadata().get(&url).call().unwrap().status(), 302);
    assert!(seen.join().unwrap().starts_with("GET / HTTP/1.1\r\n"));
    // ureq's own default reads six proxy variables; the tests cannot set them for the process.
    assert!(metadata().config().proxy().is_none());
    let service = built(&config("", &nothing)).agent(XRAY).unwrap();
    assert!(service.config().proxy().is_none());
}

#[test]
fn a_header_larger_than_the_buffer_is_an_error() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(4 * BUFFER));
    let (url, seen) = answer_once(Box::leak(long.into_boxed_str()));
    let agent = built(&config("", &nothing)).agent(&url).unwrap();
    assert!(agent.get(&url).call().is_err());
    seen.join().unwrap();
}

#[test]
fn roots_from_bundles() {
    let dir = Scratch::new("roots");
    let pem = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let good = dir.file("good.pem", pem.cert.pem().as_bytes());
    let key_only = dir.file("key.pem", pem.signing_key.serialize_pem().as_bytes());
    let empty = dir.file("empty.pem", b"");
    let cut = dir.file("cut.pem", &pem.cert.pem().as_bytes()[..200]);
    let not_der = dir.file(
        "not_der.pem",
        b"-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n",
    );
    let absent = dir.0.join("absent.pem");
    let none = |name: &str| nothing(name);
    let trusted = |default: &Path| match roots(&config("", &none), default).unwrap() {
        RootCerts::Specific(certificates) => Some(certificates.len()),
        _ => None,
    };
    assert_eq!(trusted(&good), Some(1));
    assert_eq!(trusted(&absent), None);
    for default in [&key_only, &empty, &cut, &not_der, &dir.0] {
        assert_eq!(trusted(default), None, "{default:?}");
    }
    for variable in ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] {
        for (path, reason) in [
            (&key_only, "holds no certificate"),
            (&empty, "holds no certificate"),
            (&cut, "damaged"),
            (&not_der, "damaged"),
            (&absent, "cannot be read"),
            (&PathBuf::from("/dev/zero"), "4 MiB"),
        ] {
            let env = |name: &str| (name == variable).then(|| path.display().to_string());
            let error = roots(&config("", &env), &good).unwrap_err().to_string();
            assert!(error.starts_with(variable), "{error}");
            assert!(error.contains(reason), "{error}");
        }
    }
    let env = |name: &str| match name {
        "AWS_CA_BUNDLE" => Some(good.display().to_string()),
        "SSL_CERT_FILE" => Some(absent.display().to_string()),
        _ => None,
    };
    assert!(
        roots(&config("", &env), &absent).is_ok(),
        "AWS_CA_BUNDLE wins"
    );
}

#[test]
fn a_private_root_is_trusted_only_when_named() {
    let dir = Scratch::new("tls");
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let bundle = dir.file("ca.pem", certified.cert.pem().as_bytes());
    let named = |name: &str| (name == "AWS_CA_BUNDLE").then(|| bundle.display().to_string());
    let unchecked = ServiceConfig {
        no_verify_ssl: true,
        ..config("", &nothing)
    };
    for ask in ASKERS {
        let answer = |config: &ServiceConfig<'_>| {
            let (port, server) = tls_server(&certified, false);
            let answer = ask(&built(config), &format!("https://localhost:{port}"));
            server.join().unwrap();
            answer
        };
        assert_eq!(answer(&config("", &named)), Ok(200));
        assert_eq!(answer(&unchecked), Ok(200));
        let refused = answer(&config("", &nothing)).unwrap_err();
        assert!(refused.contains("certificate"), "{refused}");
    }
}

#[test]
fn tls_goes_through_the_tunnel_to_the_target() {
    let certified = rcgen::generate_simple_self_signed(vec!["xray.test".into()]).unwrap();
    let dir = Scratch::new("tunnel");
    let bundle = dir.file("ca.pem", certified.cert.pem().as_bytes());
    for ask in ASKERS {
        let (port, proxy) = tls_server(&certified, true);
        let env = |name: &str| match name {
            "HTTPS_PROXY" => Some(format!("http://127.0.0.1:{port}")),
            "NO_PROXY" => Some("xray.test:8443".to_owned()),
            "SSL_CERT_FILE" => Some(bundle.display().to_string()),
            _ => None,
        };
        // The name exists nowhere: only the proxy is asked for it.
        let status = ask(&built(&config("", &env)), "https://xray.test");
        assert_eq!(status, Ok(200));
        let connect = proxy.join().unwrap();
        assert!(connect.starts_with("CONNECT xray.test:443 "), "{connect}");
        assert!(!connect.contains("GetSamplingRules"), "{connect}");
    }
}

#[test]
fn der_length_table() {
    for (der, expected) in [
        (&[][..], false),
        (&[0x30][..], false),
        (&[0x30, 0][..], true),
        (&[0x30, 1, 0][..], true),
        (&[0x30, 2, 0][..], false),
        (&[0x31, 1, 0][..], false),
        (&[0x30, 0x81, 1, 9][..], true),
        (&[0x30, 0x82, 0, 1, 9][..], true),
        (&[0x30, 0x82, 1, 0, 9][..], false),
        (&[0x30, 0x84, 0, 0, 0, 1, 9][..], false),
    ] {
        assert_eq!(is_der_sequence(der), expected, "{der:x?}");
    }
}

/// A request by either of the two, and its status.
type Ask = fn(&Service, &str) -> Result<u16, String>;

const ASKERS: [Ask; 1] = [|service, endpoint| {
    let url = format!("{endpoint}/GetSamplingRules");
    let response = service.agent(&url).unwrap().get(&url).call();
    response
        .map(|response| response.status().as_u16())
        .map_err(|error| error.to_string())
}];

fn request_head(stream: &std::net::TcpStream) -> String {
    let mut head = String::new();
    let mut reader = BufReader::new(stream);
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
    head
}

fn answer_once(answer: &'static str) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head = request_head(&stream);
        // The client may hang up before it has read all of a hostile answer.
        let _ = stream.write_all(answer.as_bytes());
        head
    });
    (url, server)
}

/// Serves one TLS connection; behind a CONNECT, whose head it returns, if `tunnel` is set.
fn tls_server(
    certified: &rcgen::CertifiedKey<rcgen::KeyPair>,
    tunnel: bool,
) -> (u16, thread::JoinHandle<String>) {
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.unwrap())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut connect = String::new();
        if tunnel {
            connect = request_head(&stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        }
        let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut tls = rustls::StreamOwned::new(connection, stream);
        // Fails where the client refuses the certificate: that is what one of the tests wants.
        let mut line = [0; 512];
        if tls.read(&mut line).is_ok() {
            let _ = tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
        connect
    });
    (port, server)
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("xray-agent-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
