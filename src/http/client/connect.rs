//! Connects to the first of several addresses that answers.
//!
//! Each address is tried alone for 300 ms, then the next one is tried too; all attempts go on until
//! the deadline. So an address that does not answer costs 300 ms, and a slow route or a lost first
//! packet does not make the attempt fail.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

/// How long one address is tried before the next one is tried too.
const HEAD_START: Duration = Duration::from_millis(300);

/// A connection, and what was learnt on the way.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) stream: TcpStream,
    pub(super) address: SocketAddr,
    /// Addresses that refused, or had not answered although they were tried first.
    pub(super) failed: Vec<SocketAddr>,
}

/// The error of each address, in the order of the failures.
pub(super) type Failures = Vec<(SocketAddr, io::Error)>;

struct ConnectAttempt {
    address: SocketAddr,
    socket: Socket,
}

/// Connects to one of `addresses`, trying the first one first.
///
/// # Errors
/// When none has answered by `deadline`.
pub(super) fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<Connected, Failures> {
    let mut untried = addresses.iter().copied();
    let mut running: Vec<ConnectAttempt> = Vec::new();
    let mut failures = Failures::new();
    let mut next_start = Instant::now();
    loop {
        let now = Instant::now();
        let may_start = running.is_empty() || now >= next_start && now < deadline;
        if may_start && let Some(address) = untried.next() {
            match start(address) {
                Ok(socket) => running.push(ConnectAttempt { address, socket }),
                Err(error) => failures.push((address, error)),
            }
            next_start = now + HEAD_START;
            continue;
        }
        if running.is_empty() {
            return Err(failures);
        }
        if now >= deadline {
            let late = |attempt: ConnectAttempt| (attempt.address, io::ErrorKind::TimedOut.into());
            failures.extend(running.into_iter().map(late));
            return Err(failures);
        }
        let is_last = untried.len() == 0;
        let until = if is_last {
            deadline
        } else {
            next_start.min(deadline)
        };
        let Some(at) = wait(&running, until - now) else {
            continue;
        };
        let attempt = running.remove(at);
        let ended = match attempt.socket.take_error() {
            Ok(None) => finish(attempt.socket),
            Ok(Some(error)) | Err(error) => Err(error),
        };
        match ended {
            Ok(stream) => {
                // Those behind it had less time.
                let earlier = running.into_iter().take(at).map(|earlier| earlier.address);
                let failed = failures.into_iter().map(|(address, _)| address);
                return Ok(Connected {
                    stream,
                    address: attempt.address,
                    failed: failed.chain(earlier).collect(),
                });
            }
            Err(error) => {
                failures.push((attempt.address, error));
                next_start = now;
            }
        }
    }
}

fn start(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => Ok(socket),
        Err(error) if is_in_progress(&error) => Ok(socket),
        Err(error) => Err(error),
    }
}

fn is_in_progress(error: &io::Error) -> bool {
    let in_progress = rustix::io::Errno::INPROGRESS.raw_os_error();
    error.raw_os_error() == Some(in_progress) || error.kind() == io::ErrorKind::WouldBlock
}

/// Waits until one of `running` has connected or failed, and says which.
fn wait(running: &[ConnectAttempt], limit: Duration) -> Option<usize> {
    let mut fds: Vec<_> = running
        .iter()
        .map(|attempt| PollFd::new(&attempt.socket, PollFlags::OUT))
        .collect();
    let limit = Timespec::try_from(limit).ok();
    // A signal ends the wait early, and then it begins anew. Nothing else can go wrong here but a
    // lack of memory, which the deadline ends.
    poll(&mut fds, limit.as_ref()).ok()?;
    fds.iter().position(|fd| !fd.revents().is_empty())
}

fn finish(socket: Socket) -> io::Result<TcpStream> {
    socket.set_nonblocking(false)?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::super::tests::servers::Refusing;
    use super::*;
    use std::net::TcpListener;

    /// Long enough for this thread to get the processor ten times over, and short enough to wait for.
    fn soon() -> Instant {
        Instant::now() + HEAD_START * 10
    }

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    fn refusing() -> (Refusing, SocketAddr) {
        let refusing = Refusing::new();
        let address = SocketAddr::from(([127, 0, 0, 1], refusing.port));
        (refusing, address)
    }

    /// A listener whose queue is full: it answers no further connection, like a host that is gone.
    fn silent() -> (Vec<Socket>, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut held = vec![socket];
        loop {
            let attempt = ConnectAttempt {
                address,
                socket: start(address).unwrap(),
            };
            let connected = wait(std::slice::from_ref(&attempt), Duration::from_millis(50));
            held.push(attempt.socket);
            if connected.is_none() {
                return (held, address);
            }
        }
    }

    #[test]
    fn the_first_that_answers_is_taken() {
        let ((_one, first), (_two, second)) = (listener(), listener());
        let connected = connect(&[first, second], soon()).unwrap();
        assert_eq!((connected.address, connected.failed), (first, vec![]));
        assert_eq!(connected.stream.peer_addr().unwrap(), first);
        assert!(connected.stream.nodelay().unwrap());
    }

    #[test]
    fn who_refuses_is_passed_over_and_told() {
        let ((_refusing, refusing), (_listener, good)) = (refusing(), listener());
        let connected = connect(&[refusing, good], soon()).unwrap();
        assert_eq!(
            (connected.address, connected.failed),
            (good, vec![refusing])
        );
    }

    #[test]
    fn who_is_silent_costs_a_head_start_and_is_told() {
        let ((_held, silent), (_listener, good)) = (silent(), listener());
        let start = Instant::now();
        let connected = connect(&[silent, good], soon()).unwrap();
        assert!(start.elapsed() >= HEAD_START);
        assert_eq!((connected.address, connected.failed), (good, vec![silent]));
        // If the first address answers first, no address has failed.
        let connected = connect(&[good, silent], soon()).unwrap();
        assert_eq!((connected.address, connected.failed), (good, vec![]));
    }

    #[test]
    fn one_that_answers_late_wins_over_silence() {
        let ((held, late), (_held, silent)) = (silent(), silent());
        let thread = std::thread::spawn(move || {
            connect(&[late, silent], Instant::now() + Duration::from_secs(20))
        });
        // Its queue is emptied after its head start is over; the kernel tries again each second.
        std::thread::sleep(HEAD_START * 2);
        for _ in 1..held.len() {
            held[0].accept().unwrap();
        }
        let connected = thread.join().unwrap().unwrap();
        assert_eq!((connected.address, connected.failed), (late, vec![]));
    }

    #[test]
    fn when_nobody_answers_each_failure_is_told() {
        let ((_refusing, refusing), (_held, silent)) = (refusing(), silent());
        let failures = connect(&[silent, refusing], soon()).unwrap_err();
        let told: Vec<_> = failures.iter().map(|(a, e)| (*a, e.kind())).collect();
        let expected = [
            (refusing, io::ErrorKind::ConnectionRefused),
            (silent, io::ErrorKind::TimedOut),
        ];
        assert_eq!(told, expected);
        assert!(connect(&[], soon()).unwrap_err().is_empty());
    }
}
