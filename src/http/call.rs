//! Ends a call from another thread.
//!
//! ureq makes a call on the calling thread and does not reveal the connection that it uses. So a
//! thread-local variable holds the call that a connection is used for.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ureq::unversioned::transport::ShutdownHandle;

thread_local! {
    static CURRENT: RefCell<Option<Arc<CancellableCall>>> = const { RefCell::new(None) };
}

/// One call, which may be sent more than once.
#[derive(Debug, Default)]
pub(crate) struct CancellableCall {
    state: Mutex<CallState>,
}

#[derive(Debug, Default)]
struct CallState {
    is_cancelled: bool,
    /// Closes the connection that the call uses now.
    connection: Option<Weak<dyn ShutdownHandle>>,
}

impl CancellableCall {
    /// Sends the call by `send`, which uses an agent of [`crate::http::client`].
    pub(crate) fn send<T>(self: &Arc<Self>, send: impl FnOnce() -> T) -> T {
        self.finish();
        let before = CURRENT.replace(Some(Arc::clone(self)));
        let result = send();
        CURRENT.set(before);
        result
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

    fn lock(&self) -> MutexGuard<'_, CallState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Registers the connection of the call that this thread is making, if it is making one.
///
/// # Errors
/// When it was cancelled before.
pub(super) fn goes_by(connection: &Weak<dyn ShutdownHandle>) -> io::Result<()> {
    CURRENT.with_borrow(|call| {
        let Some(call) = call else { return Ok(()) };
        let mut state = call.lock();
        state.connection = Some(Weak::clone(connection));
        match state.is_cancelled {
            true => Err(ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::thread;

    use ureq::{Agent, Error};

    use crate::http::client::{HttpClientConfig, HttpClientFactory};
    use crate::http::dns::Resolver;

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

    /// With one connection that stays open between calls.
    pub(crate) fn agent(address: SocketAddr) -> Agent {
        let factory = HttpClientFactory::new(HttpClientConfig {
            resolver: Resolver::start().unwrap(),
            proxy_address: "",
            no_verify_ssl: false,
            profile_ca_bundle: None,
            connections: 1,
            user_agent: "xray/test",
            env: &|_| None,
        });
        factory
            .unwrap()
            .agent(&format!("http://{address}/"))
            .unwrap()
    }

    fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
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

    fn get(agent: &Agent, call: &Arc<CancellableCall>, address: SocketAddr) -> Result<u16, Error> {
        call.send(|| agent.get(format!("http://{address}/")).call())
            .map(|response| response.status().as_u16())
    }

    #[test]
    fn a_call_is_ended_by_another_thread() {
        let (listener, address) = listen();
        let call = Arc::new(CancellableCall::default());
        let calling = thread::spawn({
            let call = Arc::clone(&call);
            move || get(&agent(address), &call, address)
        });
        // The request has come: the thread waits for the answer.
        let (mut stream, _) = listener.accept().unwrap();
        assert!(reads_a_head(&mut stream));
        call.cancel();
        assert!(calling.join().unwrap().is_err());
        assert!(call.is_cancelled());
        assert!(!reads_a_head(&mut stream));
    }

    #[test]
    fn a_call_that_was_ended_before_is_not_sent() {
        let (listener, address) = listen();
        let call = Arc::new(CancellableCall::default());
        call.cancel();
        assert!(get(&agent(address), &call, address).is_err());
        let (mut stream, _) = listener.accept().unwrap();
        assert!(!reads_a_head(&mut stream));
    }

    #[test]
    fn a_finished_call_closes_nothing() {
        let (listener, address) = listen();
        let server = thread::spawn(move || {
            // Both requests come by one connection.
            let (mut stream, _) = listener.accept().unwrap();
            for _ in 0..2 {
                assert!(reads_a_head(&mut stream));
                stream.write_all(OK).unwrap();
            }
        });
        let agent = agent(address);
        let first = Arc::new(CancellableCall::default());
        assert_eq!(get(&agent, &first, address).unwrap(), 200);
        first.finish();
        first.cancel();
        let second = Arc::new(CancellableCall::default());
        assert_eq!(get(&agent, &second, address).unwrap(), 200);
        server.join().unwrap();
    }
}
