//! The header check of the official daemon, row by row, against the running daemon.

use std::collections::HashSet;

use xray_test_support::daemon::Launch;
use xray_test_support::load::{UdpClient, segment};
use xray_test_support::totals::Totals;
use xray_test_support::xray::FakeXray;

const ACCEPTED: [&[u8]; 20] = [
    br#"{"format":"json","version":1}"#,
    br#"{"format": "json", "version": 1}"#,
    br#"{"version":1,"format":"json"}"#,
    br#"{"format":"json","version":1,"more":{"a":[1,2.5,null,true]}}"#,
    b"  {\"format\":\"json\",\"version\":1}  ",
    b"\t{\"format\":\"json\",\"version\":1}\t",
    b"{\"format\":\"json\",\"version\":1}\r",
    b"{ \"format\" :\t\"json\" , \"version\" : 1 }",
    br#"{"format":"JSON","version":1}"#,
    br#"{"format":"Json","version":1}"#,
    br#"{"Format":"json","version":1}"#,
    br#"{"format":"json","VERSION":1}"#,
    br#"{"format":"\u006ason","version":1}"#,
    br#"{"format":"json","version":2,"version":1}"#,
    br#"{"format":"xml","version":1,"format":"json"}"#,
    br#"{"format":"json","version":1,"version":null}"#,
    br#"{"format":"json","format":null,"version":1}"#,
    br#"{"format":"json","format":7,"version":1}"#,
    b"{\"format\":\"json\",\"version\":1,\"more\":\"\xff\xfe\"}",
    b"{\"format\":\"json\",\"version\":1,\"more\":\"\xc3\"}",
];

const REJECTED: [&[u8]; 28] = [
    br#"{"format":"json","version":1.0}"#,
    br#"{"format":"json","version":1e0}"#,
    br#"{"format":"json","version":"1"}"#,
    br#"{"format":"json","version":2}"#,
    br#"{"format":"json","version":0}"#,
    br#"{"format":"json","version":-1}"#,
    br#"{"format":"json","version":01}"#,
    br#"{"format":"json","version":18446744073709551617}"#,
    br#"{"format":"json","version":true}"#,
    br#"{"format":"json","version":null}"#,
    br#"{"format":"json"}"#,
    br#"{"format":"json","version":1,"format":"xml"}"#,
    br#"{"format":"json","version":1,"version":2}"#,
    br#"{"format":"xml","version":1}"#,
    br#"{"format":"","version":1}"#,
    br#"{"format":null,"version":1}"#,
    br#"{"version":1}"#,
    b"{}",
    b"null",
    b"[]",
    b"\xef\xbb\xbf{\"format\":\"json\",\"version\":1}",
    b"{'format':'json','version':1}",
    br#"{"format":"json","version":1,}"#,
    br#"{"format":"json","version":1}{}"#,
    br#"{"format":"json","version":1}x"#,
    br#"{"format":"json","version":1"#,
    b"",
    b"\0",
];

/// Rejected without a document to speak of.
const MALFORMED: [&[u8]; 7] = [
    br#"{"format":"json","version":1}"#,
    b"{\"format\":\"json\",\"version\":1}\n",
    br#"{"format": "json", "version": 1}\n{"id":"backslash and n, no newline"}"#,
    b"\n",
    b"x",
    b"\xff\xfe\xfd",
    b"GET / HTTP/1.1",
];

#[test]
fn every_row_is_judged_as_the_official_daemon_does() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    let client = UdpClient::new(daemon.udp);
    let send = |header: &[u8], document: &str| {
        client.raw(&[header, b"\n", document.as_bytes()].concat());
    };
    let mut expected = HashSet::new();
    for (row, header) in ACCEPTED.into_iter().enumerate() {
        let document = format!("accepted row {row}: {}", String::from_utf8_lossy(header));
        send(header, &document);
        expected.insert(document);
    }
    for (row, header) in REJECTED.into_iter().enumerate() {
        let header_text = String::from_utf8_lossy(header);
        send(header, &format!("rejected row {row}: {header_text}"));
    }
    for datagram in MALFORMED {
        client.raw(datagram);
    }
    // An empty datagram is no segment: ignored, and not counted.
    client.raw(b"");
    // The last one in proves that nothing before it disturbed anything.
    client.document(segment(1));
    expected.insert(segment(1));

    fake.wait_for("the last document", |state| {
        state.accepted.contains(&segment(1))
    });
    let ended = daemon.stop();
    let accepted: HashSet<String> = fake.read(|state| state.accepted.iter().cloned().collect());
    let missing: Vec<_> = expected.difference(&accepted).collect();
    let surplus: Vec<_> = accepted.difference(&expected).collect();
    assert!(missing.is_empty(), "not accepted: {missing:#?}");
    assert!(surplus.is_empty(), "not rejected: {surplus:#?}");

    let sent = expected.len() as u64;
    let rejected = (REJECTED.len() + MALFORMED.len()) as u64;
    let totals = Totals {
        received: sent + rejected,
        sent,
        rejected,
        ..Totals::default()
    };
    assert_eq!(Totals::at_the_end_of(&ended.log), totals);
}

/// Anybody can send a datagram: its bytes must not write log lines of their own.
#[test]
fn malformed_datagrams_cannot_forge_log_lines() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    let client = UdpClient::new(daemon.udp);
    client.raw(b"first\r2026-11-22T00:00:00Z [Error] forged\x1b[31m \xff");
    client.raw(b"{}\n2026-11-22T00:00:00Z [Error] forged too");
    client.document(segment(1));
    fake.wait_for("the good document", |state| state.accepted.len() == 1);
    for line in daemon.stop().log {
        assert!(
            line.chars().all(|c| !c.is_control() || c == '\t'),
            "control characters in {line:?}"
        );
        assert!(!line.starts_with("2026-11-22T00:00:00Z"), "{line:?}");
        assert!(
            !line.contains("forged too"),
            "a payload in the log: {line:?}"
        );
    }
}
