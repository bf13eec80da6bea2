//! Clients that leave before their answer is there.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use xray::proxy::Limits;

use xray_test_support::DEADLINE;
use xray_test_support::watch::wait_until;
use xray_test_support::xray::KEY_ID;

use super::harness::{ProxyHarness, answered, connections, key};

/// Reads one request, answers nothing, and says when the request came and when its connection
/// was closed.
fn silent() -> (SocketAddr, Receiver<&'static str>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, said) = channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut some = [0; 4096];
        assert!(stream.read(&mut some).unwrap() > 0);
        sender.send("asked").unwrap();
        while matches!(stream.read(&mut some), Ok(1..)) {}
        sender.send("closed").unwrap();
    });
    (address, said)
}

const ASK: &[u8] = b"POST /SamplingTargets HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}";

#[test]
fn the_call_of_a_client_that_has_gone_is_ended() {
    for resets in [false, true] {
        let (address, said) = silent();
        let endpoint = format!("http://{address}");
        let proxy = ProxyHarness::with(&endpoint, Limits::DEFAULT, vec![key(KEY_ID, None)]);
        let mut client = TcpStream::connect(proxy.address).unwrap();
        client.write_all(ASK).unwrap();
        assert_eq!(said.recv_timeout(DEADLINE), Ok("asked"));
        if resets {
            socket2::SockRef::from(&client)
                .set_linger(Some(std::time::Duration::ZERO))
                .unwrap();
        }
        drop(client);
        assert_eq!(said.recv_timeout(DEADLINE), Ok("closed"));
        wait_until("it is counted", || {
            answered(&proxy.counts, "client_left") == 1
        });
        wait_until("no request is under way", || {
            connections(&proxy.counts, "busy") == 0
        });
        assert_eq!(proxy.counts.snapshot().memory_used, 0);
        proxy.stop();
    }
}

#[test]
fn a_body_that_ends_half_way_leaves_nothing() {
    let (address, _) = silent();
    let endpoint = format!("http://{address}");
    let proxy = ProxyHarness::with(&endpoint, Limits::DEFAULT, vec![key(KEY_ID, None)]);
    let clients: Vec<TcpStream> = (0..10)
        .map(|_| {
            let mut client = TcpStream::connect(proxy.address).unwrap();
            client
                .write_all(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\n")
                .unwrap();
            client.write_all(&[b'x'; 100_000]).unwrap();
            client
        })
        .collect();
    wait_until("the bodies are held", || {
        proxy.counts.snapshot().memory_used > 10 * 90_000
    });
    drop(clients);
    wait_until("nothing is held", || {
        proxy.counts.snapshot().memory_used == 0
    });
    proxy.stop();
}
