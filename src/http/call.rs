//! Follows one call on its connection: whether the connection was a kept one, whether anything
//! came back on it, and how to end the call from another thread.
//!
//! ureq tells none of this. It makes a call on the thread that asks for it, so a variable of the
//! thread says which call the connection works for.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, NextTimeout, ShutdownHandle, Transport,
};

thread_local! {
    static CURRENT: RefCell<Option<Arc<Call>>> = const { RefCell::new(None) };
    /// The connector is at work. It calls itself for the connection to a proxy.
    static CONNECTING: Cell<bool> = const { Cell::new(false) };
}

/// One call, which may be sent more than once.
#[derive(Debug, Default)]
pub struct Call {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_cancelled: bool,
    /// Closes the connection that the call uses now.
    connection: Option<Weak<dyn ShutdownHandle>>,
    /// Of the last time it was sent.
    sent: Sent,
}

/// What became of a call that was sent.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    by_new_connection: bool,
    something_came: bool,
}

impl Call {
    /// Sends the call by `send`, which uses an agent with a [`FollowedConnector`].
    pub(crate) fn send<T>(self: &Arc<Self>, send: impl FnOnce() -> T) -> T {
        {
            let mut state = self.lock();
            state.connection = None;
            state.sent = Sent::default();
        }
        let before = CURRENT.replace(Some(Arc::clone(self)));
        let result = send();
        CURRENT.set(before);
        result
    }

    /// Whether the last attempt went by a kept connection that ended without a single byte: the
    /// other side had closed it before the request arrived.
    pub(crate) fn met_a_closed_connection(&self) -> bool {
        let state = self.lock();
        let Sent {
            by_new_connection,
            something_came,
        } = state.sent;
        let was_sent = state.connection.is_some();
        was_sent && !by_new_connection && !something_came && !state.is_cancelled
    }

    /// Ends the call, now or when it is sent.
    pub(crate) fn cancel(&self) {
        let mut state = self.lock();
        state.is_cancelled = true;
        if let Some(connection) = state.connection.as_ref().and_then(Weak::upgrade) {
            connection.shutdown();
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.lock().is_cancelled
    }

    /// The answer has been read: the connection may belong to another call soon.
    pub(crate) fn finish(&self) {
        self.lock().connection = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes the call that this thread makes now, if it makes any.
fn note(change: impl FnOnce(&mut State)) {
    CURRENT.with_borrow(|call| {
        if let Some(call) = call {
            change(&mut call.lock());
        }
    });
}

/// Makes connections by another connector, and follows the calls on them.
#[derive(Debug)]
pub(crate) struct FollowedConnector<C>(C);

impl<C> FollowedConnector<C> {
    pub(crate) fn new(connector: C) -> Self {
        FollowedConnector(connector)
    }
}

impl<C: Connector<()>> Connector<()> for FollowedConnector<C> {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        if CONNECTING.replace(true) {
            let transport = self.0.connect(details, chained)?;
            return Ok(transport.map(|t| Box::new(t) as Self::Out));
        }
        let handle: Arc<Mutex<Option<Weak<dyn ShutdownHandle>>>> = Arc::default();
        let register = {
            let handle = Arc::clone(&handle);
            let agent = Arc::clone(&details.register_shutdown);
            Arc::new(move |socket: Weak<dyn ShutdownHandle>| {
                *handle.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket.clone());
                agent(socket)
            })
        };
        let connected = self.0.connect(
            &ConnectionDetails {
                uri: details.uri,
                addrs: details.addrs.clone(),
                config: details.config,
                request_level: details.request_level,
                resolver: details.resolver,
                now: details.now,
                timeout: details.timeout,
                current_time: Arc::clone(&details.current_time),
                run_connector: Arc::clone(&details.run_connector),
                register_shutdown: register,
            },
            chained,
        );
        CONNECTING.set(false);
        note(|call| call.sent.by_new_connection = true);
        let handle = handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(connected?.map(|transport| {
            Box::new(FollowedTransport {
                transport: Box::new(transport),
                handle,
            }) as Self::Out
        }))
    }
}

#[derive(Debug)]
struct FollowedTransport {
    transport: Box<dyn Transport>,
    handle: Option<Weak<dyn ShutdownHandle>>,
}

impl Transport for FollowedTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let mut is_cancelled = false;
        note(|call| {
            call.connection.clone_from(&self.handle);
            is_cancelled = call.is_cancelled;
        });
        if is_cancelled {
            return Err(io::Error::from(ErrorKind::ConnectionAborted).into());
        }
        self.transport.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let came = self.transport.await_input(timeout)?;
        if came {
            note(|call| call.sent.something_came = true);
        }
        Ok(came)
    }

    fn is_open(&mut self) -> bool {
        self.transport.is_open()
    }

    fn is_tls(&self) -> bool {
        self.transport.is_tls()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;
    use std::time::Duration;

    use ureq::Agent;
    use ureq::unversioned::resolver::DefaultResolver;
    use ureq::unversioned::transport::DefaultConnector;

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

    fn agent() -> Agent {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        let connector = FollowedConnector::new(DefaultConnector::new());
        Agent::with_parts(config, connector, DefaultResolver::default())
    }

    /// Answers the n-th request of all connections with the n-th of `answers`, and closes the
    /// connection of one that is not whole.
    fn server(answers: &'static [&'static [u8]]) -> (SocketAddr, Receiver<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, asked) = channel();
        thread::spawn(move || {
            let mut next = 0;
            while next < answers.len() {
                let (mut stream, _) = listener.accept().unwrap();
                while next < answers.len() && reads_a_head(&mut stream) {
                    sender.send(next).unwrap();
                    let answer = answers[next];
                    next += 1;
                    stream.write_all(answer).unwrap();
                    if answer != OK {
                        break;
                    }
                }
            }
        });
        (address, asked)
    }

    fn reads_a_head(stream: &mut TcpStream) -> bool {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1..) => head.extend_from_slice(&byte),
                _ => return false,
            }
        }
        true
    }

    fn get(agent: &Agent, call: &Arc<Call>, address: SocketAddr) -> Result<u16, Error> {
        call.send(|| agent.get(format!("http://{address}/")).call())
            .map(|response| response.status().as_u16())
    }

    #[test]
    fn a_kept_connection_that_ends_without_a_byte_is_known() {
        for (answers, expected) in [
            // New: the server answers nothing.
            (&[b"" as &[u8]] as &[_], false),
            // Kept, and closed at the second request.
            (&[OK, b""], true),
            // Kept, but part of an answer came.
            (&[OK, b"HTTP/1.1 20"], false),
        ] {
            let (address, _asked) = server(answers);
            let agent = agent();
            for _ in 1..answers.len() {
                let first = Arc::new(Call::default());
                assert_eq!(get(&agent, &first, address).unwrap(), 200);
                assert!(!first.met_a_closed_connection());
            }
            let last = Arc::new(Call::default());
            assert!(get(&agent, &last, address).is_err());
            assert_eq!(last.met_a_closed_connection(), expected, "{answers:?}");
        }
    }

    #[test]
    fn no_connection_is_no_closed_connection() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let call = Arc::new(Call::default());
        assert!(get(&agent(), &call, gone.unwrap()).is_err());
        assert!(!call.met_a_closed_connection());
    }

    #[test]
    fn a_call_is_ended_by_another_thread() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let call = Arc::new(Call::default());
        let calling = thread::spawn({
            let call = Arc::clone(&call);
            move || get(&agent(), &call, address)
        });
        // The request has come: the thread waits for the answer.
        let (mut stream, _) = listener.accept().unwrap();
        assert!(reads_a_head(&mut stream));
        call.cancel();
        assert!(calling.join().unwrap().is_err());
        assert!(call.is_cancelled() && !call.met_a_closed_connection());
        // Never sent again either.
        let before = Arc::new(Call::default());
        before.cancel();
        assert!(get(&agent(), &before, address).is_err());
    }

    #[test]
    fn a_finished_call_closes_nothing() {
        let (address, asked) = server(&[OK, OK]);
        let agent = agent();
        let first = Arc::new(Call::default());
        assert_eq!(get(&agent, &first, address).unwrap(), 200);
        first.finish();
        first.cancel();
        let second = Arc::new(Call::default());
        assert_eq!(get(&agent, &second, address).unwrap(), 200);
        // By the same connection.
        assert!(!second.lock().sent.by_new_connection);
        assert_eq!(asked.iter().take(2).collect::<Vec<_>>(), [0, 1]);
    }
}
