//! A running proxy server with everything that it needs.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use xray::aws::clock::Clock;
use xray::credentials::target::Target;
use xray::credentials::{Keeper, Renewal, Source, SourceError, Timing};
use xray::http::client::{Service as Agents, ServiceConfig};
use xray::proxy::{
    AllowedOrigins, ClientResources, Counts, Handler, Limits, LocalAnswer, OperatorEndpoints,
    ProxyParts, ProxyServer, SigningForwarder,
};

use crate::client::{Client, PATIENCE};
use crate::service::{KEY, REGION, SECRET, Service};

/// Memory for clients: far more than they need.
pub const MEMORY: usize = 64 * 1024 * 1024;

/// Sampling rules are kept so long.
const RULES_AGE: Duration = Duration::from_secs(3600);

pub struct House {
    pub address: SocketAddr,
    pub server: ProxyServer,
    pub counts: Arc<Counts>,
    pub forwarder: Arc<SigningForwarder>,
    pub keeper: Arc<Keeper>,
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

pub fn keeper(credentials: Vec<Credentials>) -> Arc<Keeper> {
    let renewal = if credentials.len() > 1 {
        Renewal::Timed
    } else {
        Renewal::Fixed
    };
    let source = InTurn(Mutex::new(credentials), renewal);
    let timing = Timing::new(Arc::new(std::time::SystemTime::now));
    let keeper = Keeper::new(Box::new(source), timing);
    let running = Arc::clone(&keeper);
    thread::spawn(move || running.run(Box::new(|| {})));
    keeper
}

pub fn agents(ca_bundle: Option<String>) -> Agents {
    Agents::new(&ServiceConfig {
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

pub fn target(agents: &Agents, endpoint: &str, keeper: &Arc<Keeper>) -> Arc<Target> {
    Arc::new(Target {
        wire: agents.wire(endpoint).unwrap(),
        agent: agents.agent(endpoint).unwrap(),
        endpoint: endpoint.to_owned(),
        region: REGION.to_owned(),
        keeper: Arc::clone(keeper),
    })
}

pub fn operator() -> OperatorEndpoints {
    OperatorEndpoints {
        paths: &["/healthz", "/metrics"],
        answer: Box::new(|path| LocalAnswer {
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

pub fn server(limits: Limits, handler: Arc<dyn Handler>) -> (SocketAddr, ProxyServer) {
    let (address, server, _) = counted(limits, handler);
    (address, server)
}

pub fn counted(
    limits: Limits,
    handler: Arc<dyn Handler>,
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
    handler: Arc<dyn Handler>,
    counts: Arc<Counts>,
) -> ProxyParts {
    ProxyParts {
        limits,
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
    let deadline = Instant::now() + PATIENCE;
    assert!(server.stop(deadline), "requests are left over");
}

impl House {
    pub fn new(service: &Service) -> House {
        House::with(
            &format!("http://{}", service.address),
            Limits::DEFAULT,
            vec![key(KEY, None)],
        )
    }

    pub fn with(endpoint: &str, limits: Limits, credentials: Vec<Credentials>) -> House {
        House::with_memory(endpoint, limits, credentials, MEMORY)
    }

    pub fn with_memory(
        endpoint: &str,
        limits: Limits,
        credentials: Vec<Credentials>,
        memory: usize,
    ) -> House {
        let keeper = keeper(credentials);
        let resources = ClientResources::new(memory, 0);
        let counts = Arc::new(Counts::default());
        let forwarder = forwarder_with(&resources, &counts);
        forwarder.set_target(target(&agents(None), endpoint, &keeper));
        let handler = Arc::clone(&forwarder) as Arc<dyn Handler>;
        let (address, server) = started(parts(limits, resources, handler, Arc::clone(&counts)));
        House {
            address,
            server,
            counts,
            forwarder,
            keeper,
        }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Ends everything; nothing may be left over.
    #[track_caller]
    pub fn stop(self) {
        stop(&self.server);
        self.keeper.stop();
    }
}
