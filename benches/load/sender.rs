//! Sends segments at a steady rate, by an absolute schedule: a late burst does not shift the next.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// Length of the document behind the header line, in bytes.
pub const DOCUMENT_LENGTH: usize = 1024;

const HEADER: &str = "{\"format\": \"json\", \"version\": 1}\n";

/// The default receive buffer holds about 90 datagrams of 1 KB. A sender that catches up after a
/// stall with everything at once would measure that buffer and not the daemon.
const BURST: u64 = 32;

/// What was really done.
#[derive(Clone, Copy)]
pub struct Sent {
    /// Segments that the kernel took, or spans that the daemon did.
    pub count: u64,
    /// From the first to the last.
    pub elapsed: Duration,
}

/// Sends `rate * seconds` segments to `daemon`, numbered from 1.
pub fn send(daemon: SocketAddr, rate: u64, seconds: u64) -> io::Result<Sent> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    socket.connect(daemon)?;
    let mut datagram = datagram(0);
    let total = rate * seconds;
    let start = Instant::now();
    let mut done = 0;
    while done < total {
        let due = start.elapsed().as_nanos() * u128::from(rate) / 1_000_000_000;
        let due = (due as u64 + 1).min(total);
        let burst_end = due.min(done + BURST);
        while done < burst_end {
            write_number(&mut datagram, done + 1);
            socket.send(&datagram)?;
            done += 1;
        }
        let next = Duration::from_nanos(done * 1_000_000_000 / rate);
        match next.checked_sub(start.elapsed()) {
            Some(early) => thread::sleep(early),
            None => thread::yield_now(),
        }
    }
    Ok(Sent {
        count: done,
        elapsed: start.elapsed(),
    })
}

/// A segment as an SDK writes it. Its number stands behind a `~`, a byte found nowhere else in it.
pub fn datagram(number: u64) -> Vec<u8> {
    let document = concat!(
        r#"{"name":"checkout","id":"70de5b6f19ff9a0a","trace_id":"1-581cf771-a006649127e371903a2de979","#,
        r#""start_time":1478293361.271,"end_time":1478293361.449,"#,
        r#""http":{"request":{"method":"POST","url":"https://shop.example/cart/checkout","#,
        r#""user_agent":"Mozilla/5.0 (X11; Linux x86_64)","client_ip":"203.0.113.78"},"#,
        r#""response":{"status":200,"content_length":3917}},"#,
        r#""aws":{"ecs":{"container":"checkout-7d5f"},"xray":{"sdk":"X-Ray for Go","sdk_version":"1.8.5"}},"#,
        r#""annotations":{"number":"~00000000","customer_tier":"gold","cart_items":3},"#,
        r#""subsegments":[{"id":"53995c3f42cd8ad8","name":"orders","namespace":"aws","#,
        r#""start_time":1478293361.300,"end_time":1478293361.420,"#,
        r#""aws":{"operation":"PutItem","table_name":"orders","request_id":"3AIENM5J4ELQ3SPODHKBIRVIC3VV4KQNSO5AEMVJF66Q9ASUAAJG"},"#,
        r#""http":{"response":{"status":200}}}],"metadata":{"debug":{"padding":""#,
    );
    let end = "\"}}}";
    let padding = "x".repeat(DOCUMENT_LENGTH - document.len() - end.len());
    let mut datagram = [HEADER, document, &padding, end].concat().into_bytes();
    write_number(&mut datagram, number);
    datagram
}

fn write_number(datagram: &mut [u8], mut number: u64) {
    let marker = datagram.iter().rposition(|&byte| byte == b'~');
    let digits = marker.expect("datagram() writes the marker") + 1;
    for digit in datagram[digits..digits + 8].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}
