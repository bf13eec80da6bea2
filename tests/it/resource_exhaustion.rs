//! Floods and exhaustion: it keeps running, its memory stays bounded, and it is back afterwards.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use xray_test_support::DEADLINE;
use xray_test_support::daemon::{Launch, Running};
use xray_test_support::http::Response;
use xray_test_support::http_client::exchange;
use xray_test_support::load::{UdpClient, segment};
use xray_test_support::totals::Totals;
use xray_test_support::watch::wait_until;
use xray_test_support::xray::FakeXray;
use xray_test_support::xray::Fault;

/// Sends segments, second after second, until one arrives that was sent after the attack: what a
/// flood leaves in the kernel's buffer may push out the first ones.
#[track_caller]
fn still_delivers(fake: &FakeXray, daemon: &Running) {
    let client = UdpClient::new(daemon.udp);
    let second = Duration::from_secs(1);
    let arrived = (1_000..1_060).any(|round| {
        let last = segment(round * 1_000 + 499);
        client.load(round * 1_000..round * 1_000 + 500, 500);
        fake.comes_true(2 * second, |state| state.accepted.contains(&last))
    });
    assert!(arrived, "no segments after the attack");
}

/// Asks for sampling rules until there is an answer: slots may take a moment to be free again.
#[track_caller]
fn proxy_answers(fake: &FakeXray, daemon: &Running) {
    fake.update(|state| {
        let rules = Response::new(200, r#"{"SamplingRuleRecords":[]}"#);
        state.answers.insert("/GetSamplingRules".to_owned(), rules);
    });
    let request = b"POST /GetSamplingRules HTTP/1.1\r\nHost: xray\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
    let end = Instant::now() + DEADLINE;
    let answer = loop {
        match exchange(daemon.tcp, request) {
            Ok(response) if response.status == 200 => break response,
            // Refused connections cost nothing, so a moment's pause keeps this from spinning.
            other if Instant::now() > end => panic!("no answer by the proxy: {other:?}"),
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    assert_eq!(answer.body, br#"{"SamplingRuleRecords":[]}"#);
}

#[test]
fn a_flood_of_garbage() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    let client = UdpClient::new(daemon.udp);
    let mut random: u32 = 1;
    for n in 0..100_000 {
        let mut garbage = [0; 64];
        for byte in &mut garbage {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            *byte = random as u8;
        }
        client.raw(&garbage[..n % 65]);
    }
    still_delivers(&fake, &daemon);
    assert!(daemon.peak_kb() < 32 * 1024, "{} KB", daemon.peak_kb());
    let ended = daemon.stop();
    assert!(
        ended.log.len() < 100,
        "{} log lines for a flood",
        ended.log.len()
    );
    let totals = Totals::at_the_end_of(&ended.log);
    assert!(totals.rejected > 0);
}

#[test]
fn a_flood_of_the_largest_datagrams() {
    let mut fake = FakeXray::start();
    let daemon = Launch::against(&fake).args(["-m", "16"]).start();
    fake.inject(Fault::Hang);
    let client = UdpClient::new(daemon.udp);
    let document = "\u{1}".repeat(65_000);
    for _ in 0..600 {
        client.document(&document);
    }
    assert!(daemon.peak_kb() < 48 * 1024, "{} KB", daemon.peak_kb());
    fake.recover();
    still_delivers(&fake, &daemon);
    assert!(daemon.peak_kb() < 48 * 1024, "{} KB", daemon.peak_kb());
}

#[test]
fn half_open_connections() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    proxy_answers(&fake, &daemon);
    let descriptors = daemon.open_descriptors();
    let held: Vec<TcpStream> = (0..400)
        .filter_map(|n| {
            let mut stream = TcpStream::connect(daemon.tcp).ok()?;
            let beginnings: [&[u8]; 4] = [
                b"",
                b"POST /GetSampl",
                b"POST / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nsome",
            ];
            // The daemon may have shed the connection already.
            let _ = stream.write_all(beginnings[n % 4]);
            Some(stream)
        })
        .collect();
    still_delivers(&fake, &daemon);
    assert!(daemon.peak_kb() < 32 * 1024, "{} KB", daemon.peak_kb());
    drop(held);
    proxy_answers(&fake, &daemon);
    wait_until("the descriptors are given back", || {
        daemon.open_descriptors() < descriptors + 64
    });
}

/// A slow client holds a slot for seconds, not for ever: the proxy answers again although the
/// half-open connections stay.
#[test]
fn half_open_connections_do_not_hold_their_slots() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    let held: Vec<_> = (0..400)
        .filter_map(|_| TcpStream::connect(daemon.tcp).ok())
        .collect();
    proxy_answers(&fake, &daemon);
    drop(held);
}

#[test]
fn health_checks_that_connect_and_close() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    proxy_answers(&fake, &daemon);
    let descriptors = daemon.open_descriptors();
    for _ in 0..1_000 {
        drop(TcpStream::connect(daemon.tcp).unwrap());
    }
    proxy_answers(&fake, &daemon);
    // The last ones may still be closing, and nobody tells of another process's descriptors.
    wait_until("no descriptor is left over", || {
        daemon.open_descriptors() <= descriptors + 2
    });
    let log = daemon.stop().log;
    assert!(log.len() < 20, "log lines for health checks");
}

#[test]
fn thirty_two_descriptors() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).descriptors(32).start();
    let held: Vec<_> = (0..200)
        .filter_map(|_| TcpStream::connect(daemon.tcp).ok())
        .collect();
    still_delivers(&fake, &daemon);
    drop(held);
    proxy_answers(&fake, &daemon);
    still_delivers(&fake, &daemon);
    let ended = daemon.stop();
    assert!(ended.log.len() < 100, "{} log lines", ended.log.len());
}
