//! A running front with everything that it needs.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use aws_credential_types::Credentials;
use xray::aws::clock::Clock;
use xray::credentials::target::Target;
use xray::credentials::{CredentialCache, Renewal, Source, SourceError, Timing};
use xray::http::client::{HttpClientConfig, HttpClientFactory, ServiceUrls};
use xray::http::dns::Resolver;
use xray::proxy::{Counts, Front, Limits, Local, LocalAnswer, Signed, Upstream};

use xray_test_support::endpoint::{Endpoint, Reply};
use xray_test_support::http::Request;
use xray_test_support::http_client::HttpClient;
use xray_test_support::keys::Keys;
use xray_test_support::sigv4::{parse_date, verify};
use xray_test_support::xray::{KEY_ID, REGION, SECRET};

pub struct ProxyHarness {
    pub address: SocketAddr,
    pub front: Front,
    pub counts: Arc<Counts>,
    pub signed: Arc<Signed>,
}

/// Credentials one after the other; the last ones for ever. Renewable where there are several.
struct InTurn(Mutex<Vec<Credentials>>, Renewal);

impl Source for InTurn {
    fn name(&self) -> String {
        "test".to_owned()
    }

    fn fetch(&mut self) -> Result<Credentials, SourceError> {
        let mut left = self.0.lock().unwrap();
        match left.len() {
            0 => Err(SourceError::Setting("none".to_owned())),
            1 => Ok(left[0].clone()),
            _ => Ok(left.remove(0)),
        }
    }

    fn renewal(&self) -> Renewal {
        self.1
    }
}

pub fn key(id: &str, token: Option<&str>) -> Credentials {
    Credentials::new(id, SECRET, token.map(str::to_owned), None, "test")
}

pub fn keeper(credentials: Vec<Credentials>) -> Arc<CredentialCache> {
    let renewal = if credentials.len() > 1 {
        Renewal::Timed
    } else {
        Renewal::Fixed
    };
    let source = InTurn(Mutex::new(credentials), renewal);
    let timing = Timing::new(Arc::new(std::time::SystemTime::now));
    let keeper = CredentialCache::new(Box::new(source), timing);
    let running = Arc::clone(&keeper);
    thread::spawn(move || running.run(&|_| ()));
    keeper
}

pub fn agents(ca_bundle: Option<String>) -> HttpClientFactory {
    HttpClientFactory::new(HttpClientConfig {
        resolver: Resolver::start().unwrap(),
        proxy_address: "",
        no_verify_ssl: false,
        profile_ca_bundle: None,
        connections: 4,
        user_agent: "xray/test",
        env: &|name| {
            (name == "AWS_CA_BUNDLE")
                .then(|| ca_bundle.clone())
                .flatten()
        },
    })
    .unwrap()
}

pub fn target(
    agents: &HttpClientFactory,
    endpoint: &str,
    keeper: &Arc<CredentialCache>,
) -> Arc<Target> {
    let urls = ServiceUrls::only(endpoint.to_owned());
    Arc::new(Target {
        uploads: agents.client(&urls).unwrap(),
        forwards: agents.client(&urls).unwrap(),
        region: REGION.to_owned(),
        credentials: Arc::clone(keeper),
    })
}

pub fn local() -> Local {
    Box::new(|path| {
        let body = match path {
            "/healthz" => "ok\n",
            "/metrics" => "xray_up 1\n",
            _ => return None,
        };
        Some(LocalAnswer {
            status: 200,
            content_type: "text/plain",
            body: body.to_owned(),
        })
    })
}

pub fn front(limits: Limits, upstream: Arc<dyn Upstream>) -> (SocketAddr, Front) {
    let (address, front, _) = counted(limits, upstream);
    (address, front)
}

pub fn counted(limits: Limits, upstream: Arc<dyn Upstream>) -> (SocketAddr, Front, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let front = Front::start(listener, limits, upstream, local(), Arc::clone(&counts)).unwrap();
    (address, front, counts)
}

impl ProxyHarness {
    pub fn new(service: &Endpoint) -> ProxyHarness {
        ProxyHarness::with(
            &format!("http://{}", service.address()),
            Limits::DEFAULT,
            vec![key(KEY_ID, None)],
        )
    }

    pub fn with(endpoint: &str, limits: Limits, credentials: Vec<Credentials>) -> ProxyHarness {
        let keeper = keeper(credentials);
        let signed = Arc::new(Signed::new(Arc::new(Clock::new(false))));
        signed.set_target(target(&agents(None), endpoint, &keeper));
        let (address, front, counts) = counted(limits, Arc::clone(&signed) as Arc<dyn Upstream>);
        ProxyHarness {
            address,
            front,
            counts,
            signed,
        }
    }

    pub fn client(&self) -> HttpClient {
        HttpClient::connect(self.address)
    }

    /// Ends everything; nothing may be left over.
    #[track_caller]
    pub fn stop(self) {
        assert!(
            self.front.stop(Duration::from_secs(30)),
            "threads are left over"
        );
    }
}

/// An answer of the service with `headers`, lines that end with CRLF, and a length.
pub fn reply(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    Reply::Raw([head.as_bytes(), body].concat())
}

/// The service's answer where a test is about something else.
pub fn ok() -> Reply {
    Reply::json("{\"ok\":1}")
}

/// Checks that the signature is one that X-Ray takes, at the time when it was made.
#[track_caller]
pub fn assert_signed_by(request: &Request, key: &str, secret: &str) {
    let keys = Keys::new(key, secret, request.header("x-amz-security-token"));
    let time = request.header("x-amz-date").and_then(parse_date).unwrap();
    let verdict = verify(request, &[keys], REGION, "xray", time);
    assert_eq!(verdict, Ok(()), "{request:?}");
}
