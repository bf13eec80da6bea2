//! A client that sends exactly the bytes it is told to.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::connection::Connection;
use crate::http::Response;
use crate::watch::DEADLINE;

/// A connection to a server under test. Whatever goes wrong with it fails the test.
pub struct HttpClient(Connection<TcpStream>);

impl HttpClient {
    pub fn connect(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect(to).unwrap())
    }

    /// A client on a connection that was made otherwise.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self(Connection::new(stream))
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.send(bytes.as_ref()).unwrap();
    }

    /// Sends what the server may no longer want.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.0.stream().write_all(bytes);
    }

    /// Tells the server that nothing more will be sent.
    pub fn shut_down_writing(&mut self) {
        self.0.stream().shutdown(Shutdown::Write).unwrap();
    }

    /// Sends a request and reads the response.
    #[track_caller]
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request);
        self.response()
    }

    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.0.read_response().expect("a response")
    }

    /// The response to a `HEAD`, or an interim one: it ends with its head, whatever that says.
    #[track_caller]
    pub fn response_head(&mut self) -> Response {
        self.0.read_response_head().expect("the head of a response")
    }

    /// The next bytes, whatever they mean; fewer where the connection ends before.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        self.0.take(length).unwrap()
    }

    /// Waits for the server to close; false where it has more to say.
    #[track_caller]
    pub fn is_closed(&mut self) -> bool {
        self.0.wait_closed().expect("the end of the connection")
    }
}

/// Sends raw bytes to `address` on a connection of its own and reads one response.
pub fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<Response> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut connection = Connection::new(stream);
    connection.send(request)?;
    connection.read_response()
}
