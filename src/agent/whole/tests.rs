//! Against a wire that remembers what was written to it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectProxyConnector, LazyBuffers};
use ureq::{Agent, Proxy};

use super::*;

const INPUT: usize = 1024;
const OUTPUT: usize = 2048;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const TUNNEL: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// What a peer saw that answers everything with [`ANSWER`], and CONNECT with [`TUNNEL`].
#[derive(Debug, Default)]
struct Seen {
    writes: Mutex<Vec<Vec<u8>>>,
    connections: AtomicUsize,
    looks: AtomicUsize,
    closed: AtomicUsize,
}

#[derive(Debug)]
struct Peer(Arc<Seen>);

#[derive(Debug)]
struct Wire(Arc<Seen>, LazyBuffers);

impl<In: Transport> Connector<In> for Peer {
    type Out = Either<In, Wire>;

    fn connect(
        &self,
        _: &ConnectionDetails,
        tunnel: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        Ok(Some(tunnel.map_or_else(
            || {
                self.0.connections.fetch_add(1, SeqCst);
                Either::B(Wire(Arc::clone(&self.0), LazyBuffers::new(INPUT, OUTPUT)))
            },
            Either::A,
        )))
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.1
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        let bytes = self.1.output()[..amount].to_vec();
        self.0.writes.lock().unwrap().push(bytes);
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        let answer = match self.0.writes.lock().unwrap().last() {
            Some(write) if write.starts_with(b"CONNECT ") => TUNNEL,
            _ => ANSWER,
        };
        self.1.input_append_buf()[..answer.len()].copy_from_slice(answer);
        self.1.input_appended(answer.len());
        Ok(true)
    }

    fn is_open(&mut self) -> bool {
        self.0.looks.fetch_add(1, SeqCst);
        self.0.closed.load(SeqCst) == 0
    }
}

#[derive(Debug)]
struct Anywhere;

impl Resolver for Anywhere {
    fn resolve(
        &self,
        _: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut addresses = ResolvedSocketAddrs::from_fn(|_| nowhere);
        addresses.push(nowhere);
        Ok(addresses)
    }
}

fn agent() -> (Agent, Arc<Seen>) {
    // A proxy of the environment has no part in this.
    agent_by(None)
}

fn agent_by(proxy: Option<Proxy>) -> (Agent, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let connector =
        ().chain(ConnectProxyConnector::default())
            .chain(Peer(Arc::clone(&seen)))
            .chain(WholeRequests);
    let config = Agent::config_builder().proxy(proxy).build();
    (Agent::with_parts(config, connector, Anywhere), seen)
}

fn post(agent: &Agent, body: &[u8]) {
    let mut answer = agent.post("http://peer/").send(body).unwrap();
    assert_eq!(answer.body_mut().read_to_string().unwrap(), "ok");
}

#[test]
fn a_request_goes_out_whole_and_in_as_few_writes_as_the_buffer_allows() {
    for (length, writes) in [(0, 1), (1, 1), (1000, 1), (OUTPUT, 2), (10 * OUTPUT, 11)] {
        let (agent, seen) = agent();
        let body: Vec<u8> = (0..length).map(|i| b'a' + (i % 26) as u8).collect();
        post(&agent, &body);
        let seen = seen.writes.lock().unwrap();
        assert_eq!(seen.len(), writes, "{length} bytes");
        let all = seen.concat();
        let end = all.windows(4).position(|at| at == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(all[end..], body, "{length} bytes");
    }
}

#[test]
fn a_request_without_a_body_goes_out_too() {
    let (agent, seen) = agent();
    let mut answer = agent.get("http://peer/path").call().unwrap();
    assert_eq!(answer.body_mut().read_to_string().unwrap(), "ok");
    let writes = seen.writes.lock().unwrap();
    assert_eq!(writes.len(), 1);
    assert!(writes[0].starts_with(b"GET /path HTTP/1.1\r\n"));
}

#[test]
fn a_connection_is_looked_at_once_before_it_is_used_again() {
    // The way to a proxy is built by the same connectors as the way through it.
    for proxy in [None, Some(Proxy::new("http://proxy:3128").unwrap())] {
        let (agent, seen) = agent_by(proxy);
        let counts = || (seen.connections.load(SeqCst), seen.looks.load(SeqCst));
        post(&agent, b"first");
        assert_eq!(counts(), (1, 0));
        post(&agent, b"second");
        assert_eq!(counts(), (1, 1));
        seen.closed.store(1, SeqCst);
        post(&agent, b"third");
        assert_eq!(counts(), (2, 2), "a closed connection must not be used");
    }
}
#[test]
fn what_cannot_be_used_is_not_kept_without_end() {
    // As the size of a chunk that never ends.
    let wire = Wire(Arc::default(), LazyBuffers::new(INPUT, OUTPUT));
    let mut whole = Whole::new(wire, INPUT);
    let mut more = || whole.await_input(NextTimeout::default()).unwrap();
    assert!(!(0..INPUT).all(|_| more()));
    assert!(whole.input().len() < 2 * INPUT);
}
