//! An HTTP server that answers as a closure says and remembers who asked.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rustls::ServerConfig;

use crate::http::{Request, Response};
use crate::server::{Handler, Peer, Server};
use crate::watch::{DEADLINE, Watch};

/// What an endpoint does with a request.
#[derive(Clone)]
pub enum Reply {
    /// Sends a response; the connection stays open.
    Send(Response),
    /// Sends a response whose packets come no further than so many hops.
    SendNearby(u32, Response),
    /// Sends these bytes as they are; the connection stays open.
    Raw(Vec<u8>),
    /// Sends these bytes as they are, and closes.
    RawThenClose(Vec<u8>),
    /// Never answers: waits for the client to give up.
    Hang,
    /// Agrees to a tunnel, as a proxy does to `CONNECT`, and speaks TLS in the place of whoever is
    /// behind it.
    Tunnel(Arc<ServerConfig>),
}

impl Reply {
    /// A JSON body with status 200.
    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::Send(Response::new(200, body).with("Content-Type", "application/json"))
    }

    /// A text body.
    pub fn text(status: u16, body: &str) -> Self {
        Self::Send(Response::new(status, body).with("Content-Type", "text/plain"))
    }
}

/// An HTTP server on loopback.
pub struct Endpoint {
    server: Server<Scripted>,
    log: Arc<Watch<Log>>,
}

type Script = Box<dyn Fn(usize, &Request) -> Reply + Send + Sync>;

struct Scripted {
    script: Script,
    log: Arc<Watch<Log>>,
}

#[derive(Default)]
struct Log {
    requests: Vec<Request>,
    /// How many of them [`Endpoint::next_request`] has handed out.
    taken: usize,
}

impl Endpoint {
    /// Calls `script` with the number of the request, from 0, and the request.
    pub fn start(script: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::on("127.0.0.1:0", None, script)
    }

    /// As [`start`](Self::start), over TLS.
    pub fn start_tls(
        tls: Arc<ServerConfig>,
        script: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::on("127.0.0.1:0", Some(tls), script)
    }

    /// As [`start`](Self::start), on an address of choice.
    pub fn on(
        address: &str,
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let log = Arc::new(Watch::default());
        let scripted = Scripted {
            script: Box::new(script),
            log: log.clone(),
        };
        let listener = TcpListener::bind(address).unwrap();
        Self {
            server: Server::on(listener, Arc::new(scripted), tls),
            log,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The root, without a slash at the end.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.log.read(|log| log.requests.clone())
    }

    /// Method and target of every request so far.
    pub fn request_lines(&self) -> Vec<String> {
        self.log
            .read(|log| log.requests.iter().map(Request::line).collect())
    }

    /// Waits for so many requests.
    #[track_caller]
    pub fn wait_requests(&self, times: usize) {
        let enough = |log: &Log| (log.requests.len() >= times).then_some(());
        let came = self.log.wait(DEADLINE, enough).is_some();
        assert!(came, "{} had fewer than {times} requests", self.url());
    }

    /// The next request, waiting for it where it has not come yet.
    #[track_caller]
    pub fn next_request(&self) -> Request {
        let came = |log: &Log| (log.requests.len() > log.taken).then_some(());
        let came = self.log.wait(DEADLINE, came).is_some();
        assert!(came, "{} had no further request", self.url());
        self.log.update(|log| {
            log.taken += 1;
            log.requests[log.taken - 1].clone()
        })
    }

    /// Whether a request has come that [`next_request`](Self::next_request) has not handed out.
    pub fn has_more_requests(&self) -> bool {
        self.log.read(|log| log.requests.len() > log.taken)
    }
}

impl Handler for Scripted {
    fn handle(&self, request: Request, peer: &mut Peer) -> io::Result<bool> {
        let number = self.log.update(|log| {
            log.requests.push(request.clone());
            log.requests.len() - 1
        });
        match (self.script)(number, &request) {
            Reply::Send(response) => peer.respond(&response)?,
            Reply::SendNearby(hops, response) => {
                peer.set_ttl(hops)?;
                peer.respond(&response)?;
            }
            Reply::Raw(bytes) => peer.send(&bytes)?,
            Reply::RawThenClose(bytes) => {
                peer.send(&bytes)?;
                return Ok(false);
            }
            Reply::Hang => {
                peer.wait_closed()?;
                return Ok(false);
            }
            Reply::Tunnel(config) => {
                peer.send(b"HTTP/1.1 200 OK\r\n\r\n")?;
                peer.start_tls(config)?;
            }
        }
        Ok(true)
    }
}
