//! Binds the two sockets as the official daemon does, and reads what the kernel says of them.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::address;

/// Receive buffer to ask for. The kernel grants at most `net.core.rmem_max`, and counts about
/// twice the payload: this is a quarter of a second of 1 KB segments at 10,000/s.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// TCP connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Why a socket could not be bound.
#[derive(Debug)]
pub(crate) struct BindError {
    protocol: &'static str,
    flag: &'static str,
    address: String,
    cause: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BindError {
            protocol,
            flag,
            address,
            cause,
        } = self;
        write!(f, "cannot listen on {protocol} {address}: {cause}; ")?;
        match cause.kind() {
            io::ErrorKind::AddrInUse if *flag == OTLP_FLAG => {
                write!(
                    f,
                    "a collector may be running: stop it, or pass {flag} HOST:PORT"
                )
            }
            io::ErrorKind::AddrInUse => write!(
                f,
                "another daemon may be running: stop it, or pass {flag} HOST:PORT"
            ),
            io::ErrorKind::AddrNotAvailable => write!(
                f,
                "this machine does not have that address: pass {flag} HOST:PORT with one that it \
                 has, or 0.0.0.0:PORT for all of them"
            ),
            io::ErrorKind::PermissionDenied if is_privileged(address) => write!(
                f,
                "a port below 1024 is for root and for CAP_NET_BIND_SERVICE: pass {flag} HOST:PORT \
                 with a higher one"
            ),
            _ => write!(f, "pass {flag} HOST:PORT"),
        }
    }
}

impl std::error::Error for BindError {}

impl BindError {
    /// Whether another program has the port.
    pub(crate) fn is_taken(&self) -> bool {
        self.cause.kind() == io::ErrorKind::AddrInUse
    }
}

/// The flag with the address for OTLP.
const OTLP_FLAG: &str = "--otlp";

/// Whether the port is one that Linux keeps for root, unless told otherwise.
fn is_privileged(address: &str) -> bool {
    let port = address
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    port.is_some_and(|port: u16| (1..1024).contains(&port))
}

/// Binds the UDP socket for segments, with the largest receive buffer that the kernel grants.
///
/// # Errors
/// [`BindError`] when the address cannot be resolved or is taken.
pub(crate) fn udp(address: &str) -> Result<UdpSocket, BindError> {
    let socket = bind(address, ("udp", "-b"), |address, domain| {
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        accept_both(&socket, address)?;
        socket.bind(&address.into())?;
        Ok(socket)
    })?;
    // A refusal only means a smaller buffer.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    if let Ok(granted) = socket.recv_buffer_size() {
        log::debug!(
            "UDP receive buffer: asked for {RECEIVE_BUFFER} bytes, the kernel granted {granted} of its own counting"
        );
    }
    Ok(socket.into())
}

/// Binds the TCP socket of the proxy.
///
/// # Errors
/// [`BindError`] when the address cannot be resolved or is taken.
pub(crate) fn tcp(address: &str) -> Result<TcpListener, BindError> {
    listener(address, "-t")
}

/// Binds the TCP socket for OTLP.
///
/// # Errors
/// [`BindError`] when the address cannot be resolved or is taken.
pub(crate) fn otlp(address: &str) -> Result<TcpListener, BindError> {
    listener(address, OTLP_FLAG)
}

fn listener(address: &str, flag: &'static str) -> Result<TcpListener, BindError> {
    bind(address, ("tcp", flag), |address, domain| {
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        accept_both(&socket, address)?;
        // A restarted daemon must not wait for the connections of the one before.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket)
    })
    .map(Into::into)
}

/// Tries the addresses that `address` stands for. `0.0.0.0` and an empty host mean every address
/// of both families, as Go reads them; without IPv6 on the host, IPv4 alone.
fn bind(
    address: &str,
    (protocol, flag): (&'static str, &'static str),
    open: impl Fn(SocketAddr, Domain) -> io::Result<Socket>,
) -> Result<Socket, BindError> {
    let fail = |cause| BindError {
        protocol,
        flag,
        address: address.to_owned(),
        cause,
    };
    let mut candidates = Vec::new();
    for resolved in address::resolve(address).map_err(fail)? {
        if resolved.is_ipv4() && resolved.ip().is_unspecified() {
            candidates.push(SocketAddr::from((Ipv6Addr::UNSPECIFIED, resolved.port())));
        }
        candidates.push(resolved);
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in candidates {
        match open(candidate, Domain::for_address(candidate)) {
            Ok(socket) => return Ok(socket),
            // The port is taken in one family: binding the other would hide that.
            Err(cause) if cause.kind() == io::ErrorKind::AddrInUse => return Err(fail(cause)),
            Err(cause) => last = cause,
        }
    }
    Err(fail(last))
}

fn accept_both(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    Ok(())
}

/// Wakes a thread that waits for data on `socket`, by a read of 0 bytes. What the kernel holds can
/// still be read.
pub(crate) fn wake_readers(socket: &UdpSocket) {
    if cfg!(target_os = "linux") {
        // ENOTCONN is the answer on an unconnected socket, and all readers wake all the same.
        let _ = SockRef::from(socket).shutdown(std::net::Shutdown::Read);
    } else {
        // On other systems that does not wake the thread, so an empty datagram is sent. If that
        // fails, the shutdown ends at its deadline.
        let _ = send_nothing(socket);
    }
}

/// An address by which `socket` is reached on this machine.
fn own_address(socket: &UdpSocket) -> io::Result<SocketAddr> {
    let mut address = socket.local_addr()?;
    let own: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    if address.ip().is_unspecified() {
        address.set_ip(own);
    }
    Ok(address)
}

/// Sends an empty datagram to `socket` itself.
fn send_nothing(socket: &UdpSocket) -> io::Result<()> {
    let address = own_address(socket)?;
    let sender = UdpSocket::bind((address.ip(), 0))?;
    sender.send_to(&[], address).map(drop)
}

/// What the kernel had taken for a socket and nobody has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unread {
    /// Datagrams that were not empty.
    pub datagrams: u64,
    /// Empty ones.
    pub empty: u64,
}

/// Ends the reception on `socket`, discards what waits on it and answers what that was. The socket does
/// not block afterwards.
pub(crate) fn discard_waiting(socket: &UdpSocket) -> Unread {
    /// More is not read, where a sender that never stops could not be kept out.
    const MOST: u64 = 100_000;
    let mut unread = Unread::default();
    // A connected socket takes datagrams of its peer alone, and nobody else sends from its own
    // address: so nothing comes in after the last that is counted.
    let _ = own_address(socket).and_then(|own| socket.connect(own));
    if socket.set_nonblocking(true).is_err() {
        return unread;
    }
    while unread.datagrams + unread.empty < MOST {
        match socket.recv(&mut [0]) {
            Ok(0) => unread.empty += 1,
            Ok(_) => unread.datagrams += 1,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    unread
}

/// Datagrams that the kernel dropped on `socket` because its buffer was full: the last column of
/// `/proc/net/udp`. `None` where `/proc` does not say.
pub(crate) fn kernel_drops(socket: &UdpSocket) -> Option<u64> {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok()?;
    let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
    let table = match socket.local_addr().ok()? {
        SocketAddr::V4(_) => "/proc/net/udp",
        SocketAddr::V6(_) => "/proc/net/udp6",
    };
    drops_of(inode, &std::fs::read_to_string(table).ok()?)
}

/// Finds the drops of one socket: `sl local rem st queues tr retrnsmt uid timeout inode ref
/// pointer drops`.
pub fn drops_of(inode: &str, table: &str) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        (fields.get(9) == Some(&inode)).then(|| fields.get(12)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unspecified_means_both_families() {
        for address in ["0.0.0.0:0", ":0"] {
            let socket = udp(address).unwrap();
            let port = socket.local_addr().unwrap().port();
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            sender.send_to(b"four", ("127.0.0.1", port)).unwrap();
            let mut buffer = [0; 8];
            assert_eq!(socket.recv(&mut buffer).unwrap(), 4);
            if let Ok(sender) = UdpSocket::bind("[::1]:0") {
                sender.send_to(b"sixes", ("::1", port)).unwrap();
                assert_eq!(socket.recv(&mut buffer).unwrap(), 5);
            }
        }
        assert!(tcp("0.0.0.0:0").is_ok());
    }

    #[test]
    fn a_reader_is_woken_by_nothing() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let socket = udp(address).unwrap();
            send_nothing(&socket).unwrap();
            assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 0, "{address}");
        }
    }

    #[test]
    fn everything_that_nobody_has_read_is_counted_and_nothing_more_is_taken() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            let Ok(socket) = udp(address) else {
                continue;
            };
            let to = own_address(&socket).unwrap();
            let sender = UdpSocket::bind((to.ip(), 0)).unwrap();
            for datagram in ["", "one", "", "", "two"] {
                sender.send_to(datagram.as_bytes(), to).unwrap();
            }
            wake_readers(&socket);
            let expected = Unread {
                datagrams: 2,
                empty: 3,
            };
            assert_eq!(discard_waiting(&socket), expected, "{address}");
            // The kernel says at once, or to the next call, that nobody listens.
            let _ = sender.send_to(b"late", to);
            assert_eq!(discard_waiting(&socket), Unread::default(), "{address}");
        }
    }

    #[test]
    fn a_taken_port_is_named_with_what_to_do() {
        let first = udp("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap().to_string();
        let message = udp(&address).unwrap_err().to_string();
        assert!(
            message.contains(&address) && message.contains("-b HOST:PORT"),
            "{message}"
        );
        for bad in ["", "localhost", "127.0.0.1:99999", "no such host:1"] {
            assert!(udp(bad).is_err() && tcp(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_port_for_root_only_is_named_as_such() {
        let refused = |address: &str| BindError {
            protocol: "tcp",
            flag: "-t",
            address: address.to_owned(),
            cause: io::ErrorKind::PermissionDenied.into(),
        };
        assert!(!refused("127.0.0.1:2000").to_string().contains("root"));
        assert_eq!(
            refused("127.0.0.1:80").to_string(),
            "cannot listen on tcp 127.0.0.1:80: permission denied; a port below 1024 is for root \
             and for CAP_NET_BIND_SERVICE: pass -t HOST:PORT with a higher one"
        );
    }

    #[test]
    fn drops_are_found_by_inode() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
             1: 0100007F:07D0 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 777 2 0 5\n\
             2: 0100007F:07D1 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 778 2 0 91\n";
        assert_eq!(drops_of("778", table), Some(91));
        assert_eq!(drops_of("779", table), None);
        assert_eq!(drops_of("779", ""), None);
        // A table that ends in the middle of a line does not tell the number.
        let (cut, _) = table.split_once(" 2 0 91").unwrap();
        assert_eq!(drops_of("778", cut), None);
        let socket = udp("127.0.0.1:0").unwrap();
        assert_eq!(kernel_drops(&socket), Some(0));
    }
}
