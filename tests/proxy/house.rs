//! A running front with everything that it needs.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use aws_credential_types::Credentials;
use xray::aws::clock::Clock;
use xray::credentials::target::Target;
use xray::credentials::{Keeper, Renewal, Source, SourceError, Timing};
use xray::http::client::{HttpClientConfig, HttpClientFactory};
use xray::http::dns::Resolver;
use xray::proxy::{Counts, Front, Limits, Local, LocalAnswer, Signed, Upstream};

use crate::client::Client;
use crate::service::{KEY, REGION, SECRET, Service};

pub struct House {
    pub address: SocketAddr,
    pub front: Front,
    pub counts: Arc<Counts>,
    pub signed: Arc<Signed>,
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

pub fn target(agents: &HttpClientFactory, endpoint: &str, keeper: &Arc<Keeper>) -> Arc<Target> {
    Arc::new(Target {
        wire: agents.wire(endpoint).unwrap(),
        agent: agents.agent(endpoint).unwrap(),
        endpoint: endpoint.to_owned(),
        region: REGION.to_owned(),
        keeper: Arc::clone(keeper),
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

impl House {
    pub fn new(service: &Service) -> House {
        House::with(
            &format!("http://{}", service.address),
            Limits::DEFAULT,
            vec![key(KEY, None)],
        )
    }

    pub fn with(endpoint: &str, limits: Limits, credentials: Vec<Credentials>) -> House {
        let keeper = keeper(credentials);
        let signed = Arc::new(Signed::new(Arc::new(Clock::new(false))));
        signed.set_target(target(&agents(None), endpoint, &keeper));
        let (address, front, counts) = counted(limits, Arc::clone(&signed) as Arc<dyn Upstream>);
        House {
            address,
            front,
            counts,
            signed,
            keeper,
        }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Ends everything; nothing may be left over.
    #[track_caller]
    pub fn stop(self) {
        assert!(
            self.front.stop(Duration::from_secs(30)),
            "threads are left over"
        );
        self.keeper.stop();
    }
}
