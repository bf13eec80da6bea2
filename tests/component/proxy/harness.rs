//! A running proxy server with everything that it needs.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use xray::admin::endpoints::AdminResponse;
use xray::aws::clock::Clock;
use xray::credentials::target::Target;
use xray::credentials::{CredentialCache, Renewal, Source, SourceError, Timing};
use xray::http::client::{HttpClientConfig, HttpClientFactory, ServiceUrls};
use xray::http::dns::Resolver;
use xray::proxy::{
    AllowedOrigins, ClientResources, Counts, Limits, OperatorEndpoints, ProxyParts, ProxyServer,
    RequestHandler, SigningForwarder,
};

use xray_test_support::DEADLINE;
use xray_test_support::endpoint::{Endpoint, Reply};
use xray_test_support::http::Request;
use xray_test_support::http_client::HttpClient;
use xray_test_support::keys::Keys;
use xray_test_support::sigv4::{parse_date, verify};
use xray_test_support::xray::{KEY_ID, REGION, SECRET};

/// Memory for clients: far more than they need.
pub const MEMORY: usize = 64 * 1024 * 1024;

/// Sampling rules are kept so long.
const RULES_AGE: Duration = Duration::from_secs(3600);

pub struct ProxyHarness {
    pub address: SocketAddr,
    pub server: ProxyServer,
    pub counts: Arc<Counts>,
    pub forwarder: Arc<SigningForwarder>,
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

pub fn credential_cache(credentials: Vec<Credentials>) -> Arc<CredentialCache> {
    let renewal = if credentials.len() > 1 {
        Renewal::Timed
    } else {
        Renewal::Fixed
    };
    let source = InTurn(Mutex::new(credentials), renewal);
    let timing = Timing::new(Arc::new(std::time::SystemTime::now));
    let cache = CredentialCache::new(Box::new(source), timing);
    let running = Arc::clone(&cache);
    thread::spawn(move || running.run(&|_| ()));
    cache
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
    cache: &Arc<CredentialCache>,
) -> Arc<Target> {
    let urls = ServiceUrls::only(endpoint.to_owned());
    Arc::new(Target {
        uploads: agents.client(&urls).unwrap(),
        forwards: agents.client(&urls).unwrap(),
        cloudwatch: None,
        region: REGION.to_owned(),
        credentials: Arc::clone(cache),
    })
}

pub fn operator() -> OperatorEndpoints {
    OperatorEndpoints {
        paths: &["/healthz", "/metrics"],
        answer: Box::new(|path| AdminResponse {
            status: 200,
            content_type: "text/plain",
            body: match path {
                "/healthz" => "ok\n",
                _ => "xray_up 1\n",
            }
            .to_owned(),
        }),
    }
}

pub fn server(limits: Limits, handler: Arc<dyn RequestHandler>) -> (SocketAddr, ProxyServer) {
    let (address, server, _) = counted(limits, handler);
    (address, server)
}

pub fn counted(
    limits: Limits,
    handler: Arc<dyn RequestHandler>,
) -> (SocketAddr, ProxyServer, Arc<Counts>) {
    let resources = ClientResources::new(MEMORY, 0);
    let counts = Arc::new(Counts::default());
    let parts = parts(limits, resources, handler, Arc::clone(&counts));
    let (address, server) = started(parts);
    (address, server, counts)
}

pub fn parts(
    limits: Limits,
    resources: Arc<ClientResources>,
    handler: Arc<dyn RequestHandler>,
    counts: Arc<Counts>,
) -> ProxyParts {
    ProxyParts {
        otlp: None,
        limits: Limits {
            // A thread that is to end may have to wait for the processor.
            interrupted: DEADLINE,
            ..limits
        },
        resources,
        origins: AllowedOrigins::default(),
        operator: operator(),
        handler,
        counts,
    }
}

pub fn started(parts: ProxyParts) -> (SocketAddr, ProxyServer) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (address, ProxyServer::start(listener, parts).unwrap())
}

/// A forwarder that has no target yet.
pub fn forwarder() -> Arc<SigningForwarder> {
    forwarder_with(&ClientResources::new(MEMORY, 0), &Arc::default())
}

fn forwarder_with(resources: &Arc<ClientResources>, counts: &Arc<Counts>) -> Arc<SigningForwarder> {
    Arc::new(SigningForwarder::new(
        Arc::new(Clock::new(false)),
        Arc::clone(resources),
        Arc::clone(counts),
        RULES_AGE,
    ))
}

/// Requests that were answered like this, whatever was asked.
pub fn answered(counts: &Counts, outcome: &str) -> u64 {
    let rows = counts.snapshot().answered;
    let rows = rows.iter().filter(|row| row.outcome == outcome);
    rows.map(|row| row.count).sum()
}

/// Connections that do this now.
pub fn connections(counts: &Counts, state: &str) -> u64 {
    let states = counts.snapshot().connections;
    states
        .into_iter()
        .find(|(name, _)| *name == state)
        .unwrap()
        .1
}

/// Everything under way may finish; then it must have ended.
#[track_caller]
pub fn stop(server: &ProxyServer) {
    let deadline = Instant::now() + DEADLINE;
    assert!(stop_by(server, deadline), "requests are left over");
}

/// What is under way may finish until `deadline`. Whether all has ended.
#[track_caller]
pub fn stop_by(server: &ProxyServer, deadline: Instant) -> bool {
    let (over, is_over) = channel();
    let on_over = move |all_ended| over.send(all_ended).unwrap();
    server.begin_stop(deadline, Box::new(on_over));
    is_over.recv_timeout(DEADLINE).unwrap()
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
        let cache = credential_cache(credentials);
        let resources = ClientResources::new(MEMORY, 0);
        let counts = Arc::new(Counts::default());
        let forwarder = forwarder_with(&resources, &counts);
        forwarder.set_target(target(&agents(None), endpoint, &cache));
        let handler = Arc::clone(&forwarder) as Arc<dyn RequestHandler>;
        let (address, server) = started(parts(limits, resources, handler, Arc::clone(&counts)));
        ProxyHarness {
            address,
            server,
            counts,
            forwarder,
        }
    }

    pub fn client(&self) -> HttpClient {
        HttpClient::connect(self.address)
    }

    /// Ends everything; nothing may be left over.
    #[track_caller]
    pub fn stop(self) {
        stop(&self.server);
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
