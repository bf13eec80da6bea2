//! Fakes of the endpoints that give credentials: any of them, and the EC2 metadata service.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use super::http::{self, Request, Response};
use super::keys::Keys;
use super::watch::{DEADLINE, Watch};

/// What a fake does with a request.
pub enum Answer {
    /// An HTTP response.
    Say(Response),
    /// One whose packets come no further than so many hops.
    Near(u32, Response),
    /// These bytes, then the end of the connection.
    Raw(Vec<u8>),
    /// Nothing, until the client gives up.
    Silence,
}

impl Answer {
    /// A JSON body with status 200.
    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::Say(Response::new(200, body).with("Content-Type", "application/json"))
    }

    /// A text body.
    pub fn text(status: u16, body: &str) -> Self {
        Self::Say(Response::new(status, body).with("Content-Type", "text/plain"))
    }
}

/// An HTTP endpoint on loopback that answers as it is told and remembers who asked.
pub struct Fake {
    pub address: SocketAddr,
    requests: Arc<Watch<Vec<Request>>>,
}

impl Fake {
    /// Calls `answer` with the number of the request, from 0, and the request.
    pub fn start(answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::on("127.0.0.1:0", answer)
    }

    /// As [`start`](Self::start), on an address of choice.
    pub fn on(
        address: &str,
        answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Watch::new(Vec::new()));
        let (seen, answer) = (requests.clone(), Arc::new(answer));
        // Ends with the test process, as its connections do.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (seen.clone(), answer.clone());
                thread::spawn(move || {
                    // A client that goes away in the middle is what some tests want.
                    let _ = serve(stream, &seen, &*answer);
                });
            }
        });
        Self { address, requests }
    }

    /// The root, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.read(Clone::clone)
    }

    /// Waits for so many requests.
    #[track_caller]
    pub fn wait_asked(&self, times: usize) {
        let enough = |all: &Vec<Request>| (all.len() >= times).then_some(());
        let asked = self.requests.wait(DEADLINE, enough);
        assert!(
            asked.is_some(),
            "{} was not asked {times} times",
            self.url()
        );
    }

    /// Method and target of every request so far.
    pub fn asked(&self) -> Vec<String> {
        let line = |request: &Request| format!("{} {}", request.method, request.target);
        self.requests.read(|all| all.iter().map(line).collect())
    }
}

fn serve(
    stream: TcpStream,
    seen: &Watch<Vec<Request>>,
    answer: &dyn Fn(usize, &Request) -> Answer,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut reader = BufReader::new(stream);
    let Some(request) = http::read_request(&mut reader)? else {
        return Ok(());
    };
    let number = seen.update(|all| {
        all.push(request.clone());
        all.len() - 1
    });
    let answer = answer(number, &request);
    if let Answer::Near(hops, _) = answer {
        reader.get_ref().set_ttl(hops)?;
    }
    match answer {
        Answer::Say(response) | Answer::Near(_, response) => {
            let response = response.with("Connection", "close");
            reader.get_mut().write_all(&response.to_bytes())
        }
        Answer::Raw(bytes) => reader.get_mut().write_all(&bytes),
        Answer::Silence => {
            let mut rest = [0; 1];
            reader.read(&mut rest).map(drop)
        }
    }
}

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
    pub fn answer(&self, request: &Request) -> Answer {
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
                return Answer::Silence;
            }
            let response = Response::new(self.put, self.token.as_str());
            let response = match self.life {
                Some(life) => {
                    response.with("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", &life.to_string())
                }
                None => response,
            };
            return Answer::Near(self.hops, response);
        }
        match request.header("x-aws-ec2-metadata-token") {
            Some(token) if token != self.token => Answer::text(401, ""),
            None if !self.version_1 => Answer::text(401, ""),
            _ => match self.pages.get(path) {
                Some((status, body)) => Answer::text(*status, body),
                None => Answer::text(404, "<html>not found</html>"),
            },
        }
    }
}

/// Where the role of an instance is named.
pub const ROLES: &str = "meta-data/iam/security-credentials/";

/// A fake EC2 metadata service.
pub struct FakeEc2 {
    pub fake: Fake,
    state: Arc<Watch<Ec2>>,
}

impl FakeEc2 {
    pub fn start(ec2: Ec2) -> Self {
        let state = Arc::new(Watch::new(ec2));
        let shared = state.clone();
        let fake = Fake::start(move |_, request| shared.read(Clone::clone).answer(request));
        Self { fake, state }
    }

    /// Changes how it behaves from now on.
    pub fn update(&self, change: impl FnOnce(&mut Ec2)) {
        self.state.update(change);
    }
}
