//! Segments, and a client that sends them at a rate.

use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::procfs;
use crate::watch::wait_until;

/// The header that most SDKs send, without the newline.
pub const HEADER: &str = r#"{"format":"json","version":1}"#;

/// Segment `n`: about 1 KB, unlike any other.
pub fn segment(n: usize) -> String {
    let note = "a segment of the size that a web service with a database call sends; ".repeat(11);
    format!(
        r#"{{"trace_id":"1-6a1b2c3d-{n:024x}","id":"{n:016x}","name":"load","start_time":1795375671.{n:06},"end_time":1795375672.5,"http":{{"request":{{"method":"GET","url":"http://shop/basket"}},"response":{{"status":200}}}},"annotations":{{"n":{n}}},"metadata":{{"note":"{note}"}}}}"#
    )
}

/// Segment `n`: about 1 KB that no compression makes much shorter, unlike any other.
pub fn noisy_segment(n: usize) -> String {
    // SplitMix64: any seed gives numbers that look random.
    let mut seed = n as u64;
    let mut random = || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = seed;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    };
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-";
    let note: String = (0..100)
        .flat_map(|_| random().to_le_bytes())
        .map(|byte| char::from(letters[usize::from(byte % 64)]))
        .collect();
    format!(
        r#"{{"trace_id":"1-6a1b2c3d-{n:024x}","id":"{n:016x}","name":"noise","start_time":1795375671,"end_time":1795375672,"metadata":{{"note":"{note}"}}}}"#
    )
}

/// A load looks at the daemon's receive buffer after so many datagrams, which takes the kernel a
/// millisecond, and waits while the buffer is half full.
const BETWEEN_LOOKS: u32 = 32;

/// A client on a socket of its own.
pub struct UdpClient {
    socket: UdpSocket,
    to: SocketAddr,
}

impl UdpClient {
    /// A client of the daemon at `to`.
    pub fn new(to: SocketAddr) -> Self {
        let local = if to.is_ipv4() {
            "127.0.0.1:0"
        } else {
            "[::1]:0"
        };
        let socket = UdpSocket::bind(local).unwrap();
        socket.connect(to).unwrap();
        Self { socket, to }
    }

    /// Sends one datagram as it is.
    pub fn raw(&self, datagram: &[u8]) {
        // ECONNREFUSED tells of an earlier datagram: this one is still to be sent.
        if self.socket.send(datagram).is_err() {
            let again = self.socket.send(datagram);
            again.expect("the daemon's port is closed");
        }
    }

    /// Sends one document behind the usual header.
    pub fn document(&self, document: impl AsRef<[u8]>) {
        let mut datagram = format!("{HEADER}\n").into_bytes();
        datagram.extend_from_slice(document.as_ref());
        self.raw(&datagram);
    }

    /// Sends the segments of a range, at most `rate` a second, as the only client that sends many. Waits
    /// where the daemon's receive buffer fills up: on a busy machine the daemon may have to wait for the
    /// processor, and what the kernel drops meanwhile is nothing that the daemon could do better.
    pub fn load(&self, segments: Range<usize>, rate: u32) {
        self.load_of(segment, segments, rate);
    }

    /// As [`load`](Self::load), of what `document` makes of the numbers of the range.
    pub fn load_of(&self, document: fn(usize) -> String, segments: Range<usize>, rate: u32) {
        let start = Instant::now();
        for (sent, n) in (0u32..).zip(segments) {
            let due = Duration::from_secs(1) * sent / rate;
            // Sleeps until at least a millisecond is due: shorter ones only burn CPU time.
            if let Some(early) = due.checked_sub(start.elapsed())
                && early > Duration::from_millis(1)
            {
                std::thread::sleep(early);
            }
            self.document(document(n));
            if sent % BETWEEN_LOOKS == BETWEEN_LOOKS - 1 {
                wait_until("the daemon reads its datagrams", || {
                    procfs::queued(self.to) <= procfs::half_a_receive_buffer()
                });
            }
        }
    }
}
