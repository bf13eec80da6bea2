//! A fake of the EC2 metadata service.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::endpoint::{Endpoint, Reply};
use crate::http::{Request, Response};
use crate::keys::Keys;
use crate::watch::Watch;

/// What a container endpoint or the EC2 metadata service says of the keys that all fakes give.
pub fn keys(id: &str, expiration: &str) -> String {
    Keys::new(id, "hush", Some("session/token/of/fakes")).json_until(expiration)
}

/// How the EC2 metadata service behaves.
#[derive(Clone)]
pub struct Ec2 {
    /// Status of token requests; 0 never answers.
    pub put: u16,
    /// Seconds granted; `None` says nothing of it.
    pub life: Option<u64>,
    /// How far from the instance a token may go.
    pub hops: u32,
    /// Whether requests without a token are answered.
    pub version_1: bool,
    /// The one token that is good.
    pub token: String,
    /// Bodies and statuses by path below `/latest/`.
    pub pages: BTreeMap<String, (u16, String)>,
}

impl Default for Ec2 {
    fn default() -> Self {
        Self {
            put: 200,
            life: Some(21600),
            hops: 64,
            version_1: false,
            token: "good".to_owned(),
            pages: BTreeMap::new(),
        }
    }
}

impl Ec2 {
    /// With a role and its credentials.
    pub fn with_role(id: &str, expiration: &str) -> Self {
        Self::default().role(&keys(id, expiration))
    }

    /// With a role, whose credentials these are.
    pub fn role(self, credentials: &str) -> Self {
        self.page(ROLES, 200, "app\n")
            .page(&format!("{ROLES}app"), 200, credentials)
    }

    /// With one more page.
    pub fn page(mut self, path: &str, status: u16, body: &str) -> Self {
        self.pages
            .insert(path.to_owned(), (status, body.to_owned()));
        self
    }

    /// What it answers.
    pub fn answer(&self, request: &Request) -> Reply {
        let path = request.path().strip_prefix("/latest/").unwrap_or_default();
        if request.method == "PUT" && path == "api/token" {
            // What the real one insists on.
            assert!(
                request
                    .header("x-aws-ec2-metadata-token-ttl-seconds")
                    .is_some()
            );
            assert_eq!(request.header("content-length"), Some("0"));
            assert_eq!(request.header("x-forwarded-for"), None);
            if self.put == 0 {
                return Reply::Hang;
            }
            let response = Response::new(self.put, self.token.as_str());
            let response = match self.life {
                Some(life) => {
                    response.with("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", &life.to_string())
                }
                None => response,
            };
            return Reply::SendNearby(self.hops, response);
        }
        match request.header("x-aws-ec2-metadata-token") {
            Some(token) if token != self.token => Reply::text(401, ""),
            None if !self.version_1 => Reply::text(401, ""),
            _ => match self.pages.get(path) {
                Some((status, body)) => Reply::text(*status, body),
                None => Reply::text(404, "<html>not found</html>"),
            },
        }
    }
}

/// Where the role of an instance is named.
pub const ROLES: &str = "meta-data/iam/security-credentials/";

/// A fake EC2 metadata service.
pub struct FakeEc2 {
    pub endpoint: Endpoint,
    state: Arc<Watch<Ec2>>,
}

impl FakeEc2 {
    pub fn start(ec2: Ec2) -> Self {
        let state = Arc::new(Watch::new(ec2));
        let shared = state.clone();
        let endpoint = Endpoint::start(move |_, request| shared.read(Clone::clone).answer(request));
        Self { endpoint, state }
    }

    /// Changes how it behaves from now on.
    pub fn update(&self, change: impl FnOnce(&mut Ec2)) {
        self.state.update(change);
    }
}
