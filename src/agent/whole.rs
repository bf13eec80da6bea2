//! Spares system calls on the way of a request: its head goes out in one write with the beginning
//! of its body, and a connection is looked at once a request, not twice.

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// Comes last in a chain of connectors, behind TLS.
#[derive(Debug)]
pub struct WholeRequests;

impl<In: Transport> Connector<In> for WholeRequests {
    type Out = Whole<In>;

    fn connect(
        &self,
        _: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Whole<In>>, Error> {
        Ok(chained.map(|inner| Whole {
            inner,
            input: Vec::new(),
            consumed: 0,
            progress: false,
            held: 0,
            used: false,
        }))
    }
}

/// Holds back a small write until more comes, or until an answer is waited for.
#[derive(Debug)]
pub struct Whole<T> {
    inner: T,
    /// What has come and is not consumed yet, from `consumed` on. `Buffers` wants to lend it without
    /// a `&mut`, which those of `inner` cannot be had without.
    input: Vec<u8>,
    consumed: usize,
    progress: bool,
    /// Bytes at the beginning of the output buffer that are still to be sent.
    held: usize,
    /// Whether a request went out since the last look at the connection.
    used: bool,
}

/// More than this part of the output buffer is not held back: there must be room for what follows.
const SMALL: usize = 4;

impl<T: Transport> Whole<T> {
    fn flush(&mut self, timeout: NextTimeout) -> Result<(), Error> {
        match std::mem::take(&mut self.held) {
            0 => Ok(()),
            amount => self.inner.transmit_output(amount, timeout),
        }
    }
}

impl<T: Transport> Transport for Whole<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.used = true;
        self.held += amount;
        if self.held > self.inner.buffers().output().len() / SMALL {
            self.flush(timeout)?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.flush(timeout)?;
        let came = self.inner.maybe_await_input(timeout)?;
        let buffers = self.inner.buffers();
        let input = buffers.input();
        let length = input.len();
        self.input.drain(..std::mem::take(&mut self.consumed));
        self.input.extend_from_slice(input);
        buffers.input_consume(length);
        Ok(came)
    }

    /// The agent asks when a connection goes back to the pool, and again when it is taken out.
    /// The second look sees all that the first would have seen.
    fn is_open(&mut self) -> bool {
        // An answer that came before the request was out leaves the rest of the request here.
        self.held == 0 && (std::mem::take(&mut self.used) || self.inner.is_open())
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

impl<T: Transport> Buffers for Whole<T> {
    fn output(&mut self) -> &mut [u8] {
        &mut self.inner.buffers().output()[self.held..]
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        let (tmp, output) = self.inner.buffers().tmp_and_output();
        (tmp, &mut output[self.held..])
    }

    fn input(&self) -> &[u8] {
        &self.input[self.consumed..]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.inner.buffers().input_append_buf()
    }

    fn input_appended(&mut self, amount: usize) {
        self.inner.buffers().input_appended(amount);
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.consumed += amount;
    }

    fn can_use_input(&self) -> bool {
        self.progress && !self.input().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::{Arc, Mutex};

    use ureq::Agent;
    use ureq::http::Uri;
    use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
    use ureq::unversioned::transport::LazyBuffers;

    use super::*;

    const OUTPUT: usize = 2048;
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    /// What a peer that answers everything with [`ANSWER`] saw.
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

    impl Connector for Peer {
        type Out = Wire;

        fn connect(&self, _: &ConnectionDetails, _: Option<()>) -> Result<Option<Wire>, Error> {
            self.0.connections.fetch_add(1, SeqCst);
            let buffers = LazyBuffers::new(1024, OUTPUT);
            Ok(Some(Wire(Arc::clone(&self.0), buffers)))
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
            self.1.input_append_buf()[..ANSWER.len()].copy_from_slice(ANSWER);
            self.1.input_appended(ANSWER.len());
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
        let seen = Arc::new(Seen::default());
        let connector = Peer(Arc::clone(&seen)).chain(WholeRequests);
        // A proxy of the environment has no part in this.
        let config = Agent::config_builder().proxy(None).build();
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
        let (agent, seen) = agent();
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
