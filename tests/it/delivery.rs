//! The main job: what comes in by UDP reaches X-Ray, signed, as the very same string.

use std::collections::HashSet;

use xray_test_support::daemon::Launch;
use xray_test_support::load::{HEADER, UdpClient, segment};
use xray_test_support::totals::Totals;
use xray_test_support::xray::FakeXray;

/// The documents accepted so far, as a set; each must have come once.
fn accepted(fake: &FakeXray) -> HashSet<String> {
    fake.read(|state| {
        let set: HashSet<String> = state.accepted.iter().cloned().collect();
        assert_eq!(set.len(), state.accepted.len(), "duplicates");
        set
    })
}

#[test]
fn one_segment() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    UdpClient::new(daemon.udp).document(segment(1));
    fake.wait_for("one document", |state| state.accepted.len() == 1);
    assert_eq!(accepted(&fake), HashSet::from([segment(1)]));
    daemon.wait_log("Successfully sent batch of 1 segments");
    let totals = Totals::at_the_end_of(&daemon.stop().log);
    assert_eq!((totals.received, totals.sent), (1, 1));
}

#[cfg(target_os = "linux")]
#[test]
fn ten_thousand_segments_at_a_thousand_a_second() {
    const N: usize = 10_000;
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    UdpClient::new(daemon.udp).load(0..N, 1_000);
    fake.wait_for("all delivered", |state| state.accepted.len() >= N);
    let drops = daemon.kernel_drops();
    let totals = Totals::at_the_end_of(&daemon.stop().log);
    assert_eq!(accepted(&fake), (0..N).map(segment).collect());
    assert_eq!(drops, 0, "kernel drops");
    let n = N as u64;
    let expected = Totals {
        received: n,
        sent: n,
        ..Totals::default()
    };
    assert_eq!(totals, expected);
}

#[test]
fn a_burst_fills_whole_batches() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    let client = UdpClient::new(daemon.udp);
    (0..120).for_each(|n| client.document(segment(n)));
    fake.wait_for("all delivered", |state| state.accepted.len() == 120);
    assert_eq!(accepted(&fake), (0..120).map(segment).collect());
    fake.read(|state| assert!(state.batches.iter().any(|batch| batch.documents == 50)));
}

#[test]
fn quiet_times_use_one_connection() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    let client = UdpClient::new(daemon.udp);
    fake.wait_for("the connection made ahead", |state| state.warm_ups == 1);
    let connections = [0, 1, 2].map(|n| {
        client.document(segment(n));
        fake.wait_for("the document", |state| state.accepted.len() == n + 1);
        fake.read(|state| state.connections)
    });
    assert_eq!(connections, [connections[0]; 3]);
}

#[test]
fn over_tls_with_a_private_authority() {
    let fake = FakeXray::start_tls();
    let daemon = Launch::against(&fake).start();
    UdpClient::new(daemon.udp).document(segment(1));
    fake.wait_for("one document", |state| state.accepted.len() == 1);
    assert_eq!(accepted(&fake), HashSet::from([segment(1)]));
}

/// What the SDKs really send: a document must never be parsed and written anew.
#[test]
fn documents_arrive_as_the_very_same_string() {
    let control: String = (0..0x20).map(char::from).collect();
    let documents = [
        r#"{"id": "b817", "name": "s\u00ebgment", "in_progress": false}"#.to_owned(),
        r#"{"name":"sëgment","note":"雪 🦀 \/ \u2028 <>&'"}"#.to_owned(),
        "{\"id\":\"1\"}\n".to_owned(),
        "{\n  \"id\": \"2\"\n}\r\n\r\n".to_owned(),
        r#"{"b":1,"a":2,"b":3,"big":1e400,"zero":-0.0,"exact":0.10000000000000000001}"#.to_owned(),
        "T1SCmkKFwoTCgxzZXJ2aWNlLm5hbWUSAwoBeBAAAGA=".to_owned(),
        "T1UCmkK".to_owned(),
        "M1CmkK".to_owned(),
        "{\"broken\":".to_owned(),
        " ".to_owned(),
        "\n".to_owned(),
        format!("every control character: {control}\u{7f}\u{80}\u{2028}\u{2029}\u{feff}\u{fffd}"),
        r#"backslashes \ \\ \" and "quotes""#.to_owned(),
        HEADER.to_owned(),
    ];
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    let client = UdpClient::new(daemon.udp);
    for document in &documents {
        client.document(document);
    }
    fake.wait_for("every document", |state| {
        state.accepted.len() >= documents.len()
    });
    assert_eq!(accepted(&fake), documents.into_iter().collect());
}

#[test]
fn bytes_that_are_not_utf8_become_one_replacement_character_each() {
    let cases: [(&[u8], &str); 6] = [
        (b"1 \xff.", "1 \u{fffd}."),
        (b"2 \xc3.", "2 \u{fffd}."),
        // A truncated sequence, a surrogate, an overlong form: each byte is bad by itself.
        (b"3 \xe2\x82.", "3 \u{fffd}\u{fffd}."),
        (b"4 \xed\xa0\x80.", "4 \u{fffd}\u{fffd}\u{fffd}."),
        (b"5 \xc0\xaf.", "5 \u{fffd}\u{fffd}."),
        (b"6 \xf0\x9f\xa6", "6 \u{fffd}\u{fffd}\u{fffd}"),
    ];
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    let client = UdpClient::new(daemon.udp);
    client.document(segment(1));
    for (bytes, _) in cases {
        client.document(bytes);
    }
    fake.wait_for("every document", |state| {
        state.accepted.len() == cases.len() + 1
    });
    let mut expected: HashSet<String> = cases.iter().map(|(_, text)| (*text).to_owned()).collect();
    expected.insert(segment(1));
    assert_eq!(accepted(&fake), expected);
}

#[test]
fn the_largest_datagrams() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).args(["-b", "0.0.0.0:0"]).start();
    // The largest payloads that IPv4 and IPv6 carry without fragments of a jumbo kind.
    for (ip, largest) in [("127.0.0.1", 65_507), ("::1", 65_527)] {
        let to = (ip.parse::<std::net::IpAddr>().unwrap(), daemon.udp.port());
        let document = "é".repeat(largest / 2);
        let document = &document[..(largest - HEADER.len() - 1) / 2 * 2];
        UdpClient::new(to.into()).document(document);
        fake.wait_for("the whole document", |state| {
            state.accepted.iter().any(|accepted| accepted == document)
        });
    }
}

#[cfg(target_os = "linux")]
#[test]
fn fifty_of_the_largest_datagrams() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    let client = UdpClient::new(daemon.udp);
    let expected: HashSet<String> = (0..50)
        .map(|n| format!("{n}{}", "\"".repeat(65_400)))
        .collect();
    for document in &expected {
        client.document(document);
        // One at a time: fifty of them are more than the kernel's buffer holds.
        daemon.wait_received();
    }
    // On a machine that is too busy to answer in time, some come twice.
    fake.wait_for("all fifty", |state| state.different() == 50);
    let accepted: HashSet<String> = fake.read(|state| state.accepted.iter().cloned().collect());
    assert_eq!(accepted, expected);
}

#[test]
fn binding_to_all_addresses_serves_ipv6_too() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake)
        .args(["-b", "0.0.0.0:0", "-t", "0.0.0.0:0"])
        .start();
    for (n, ip) in ["127.0.0.1", "::1"].into_iter().enumerate() {
        let ip: std::net::IpAddr = ip.parse().unwrap();
        UdpClient::new((ip, daemon.udp.port()).into()).document(segment(n));
        std::net::TcpStream::connect((ip, daemon.tcp.port())).unwrap();
    }
    fake.wait_for("both documents", |state| state.accepted.len() == 2);
    assert_eq!(accepted(&fake), (0..2).map(segment).collect());
}

#[test]
fn independent_subsegments_and_several_clients() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    // Together few enough for the smallest receive buffer.
    std::thread::scope(|scope| {
        for client in 0..8 {
            let udp = daemon.udp;
            scope.spawn(move || UdpClient::new(udp).load(client * 10..(client + 1) * 10, 500));
        }
    });
    fake.wait_for("all delivered", |state| state.accepted.len() == 80);
    assert_eq!(accepted(&fake), (0..80).map(segment).collect());
}
