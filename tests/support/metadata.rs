//! Fakes of the endpoints that give credentials: any of them, the EC2 metadata service, STS.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use serde_json::json;

use super::http::{self, Request, Response};
use super::watch::Watch;

/// What a fake does with a request.
pub enum Answer {
    /// An HTTP response.
    Say(Response),
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
    stream.set_read_timeout(Some(super::DEADLINE))?;
    let mut reader = BufReader::new(stream);
    let Some(request) = http::read_request(&mut reader)? else {
        return Ok(());
    };
    let number = seen.update(|all| {
        all.push(request.clone());
        all.len() - 1
    });
    match answer(number, &request) {
        Answer::Say(response) => {
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

/// The body of a container endpoint or, with `"Code":"Success"`, of the EC2 metadata service.
pub fn keys(id: &str, expiration: &str) -> String {
    json!({
        "Code": "Success",
        "AccessKeyId": id,
        "SecretAccessKey": "hush",
        "Token": "session token of fakes".replace(' ', "/"),
        "Expiration": expiration,
    })
    .to_string()
}

/// How the EC2 metadata service behaves.
#[derive(Clone)]
pub struct Ec2 {
    /// Status of token requests; 0 never answers.
    pub put: u16,
    /// Seconds granted; `None` says nothing of it.
    pub life: Option<u64>,
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
            version_1: false,
            token: "good".to_owned(),
            pages: BTreeMap::new(),
        }
    }
}

impl Ec2 {
    /// With a role and its credentials.
    pub fn with_role(id: &str, expiration: &str) -> Self {
        Self::default().page(ROLES, 200, "app\n").page(
            &format!("{ROLES}app"),
            200,
            &keys(id, expiration),
        )
    }

    /// With one more page.
    pub fn page(mut self, path: &str, status: u16, body: &str) -> Self {
        self.pages
            .insert(path.to_owned(), (status, body.to_owned()));
        self
    }

    fn answer(&self, request: &Request) -> Answer {
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
            return Answer::Say(match self.life {
                Some(life) => {
                    response.with("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", &life.to_string())
                }
                None => response,
            });
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

/// What STS answers to `action`, in JSON.
pub fn sts_json(action: &str, id: &str, expiration: &str) -> String {
    json!({
        format!("{action}Response"): {
            format!("{action}Result"): {
                "Credentials": {
                    "AccessKeyId": id,
                    "SecretAccessKey": "hush",
                    "SessionToken": "token/of+sts==",
                    "Expiration": serde_json::from_str::<serde_json::Value>(expiration).unwrap(),
                },
                "PackedPolicySize": null,
            },
            "ResponseMetadata": {"RequestId": "r"},
        }
    })
    .to_string()
}

/// The same in XML.
pub fn sts_xml(action: &str, id: &str, expiration: &str) -> String {
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
         <Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>hush</SecretAccessKey>\
         <SessionToken>token/of+sts==</SessionToken><Expiration>{expiration}</Expiration>\
         </Credentials></{action}Result></{action}Response>"
    )
}

/// An error of STS, in JSON.
pub fn sts_error(status: u16, code: &str, message: &str) -> Answer {
    let body = json!({
        "Error": {"Code": code, "Message": message, "Type": "Sender"},
        "RequestId": "r",
    });
    Answer::Say(Response::new(status, body.to_string()))
}

/// The parameters of a form.
pub fn form(request: &Request) -> BTreeMap<String, String> {
    let body = std::str::from_utf8(&request.body).unwrap();
    let pairs = body.split('&').map(|pair| pair.split_once('=').unwrap());
    pairs
        .map(|(name, value)| (name.to_owned(), decode(value)))
        .collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let (digits, after) = rest.split_at(2);
            let digits = std::str::from_utf8(digits).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).unwrap()
}
