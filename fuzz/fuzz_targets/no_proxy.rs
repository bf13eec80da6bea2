//! What decides and explains connections: `NO_PROXY` is read entry by entry, whatever the case and the
//! blanks, and each kind of entry covers what Go says that it covers; a hint for a region is never
//! the region itself.
#![no_main]

use std::net::{IpAddr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use xray::aws::endpoint::hint;
use xray::http::no_proxy::{exempts, is_loopback};

/// A name of a host: labels of letters and digits with dots between them, the last one no number, so
/// that it is no address.
fn name(text: &str) -> Option<String> {
    let labels: Vec<String> = text
        .split('.')
        .map(|label| label.chars().filter(char::is_ascii_alphanumeric).collect())
        .filter(|label: &String| !label.is_empty())
        .collect();
    let last = labels.last()?;
    let is_name = last.contains(|c: char| c.is_ascii_alphabetic());
    is_name.then(|| labels.join("."))
}

fn names(entry: &str, host: &str, port: u16) {
    let (Some(entry), Some(host)) = (name(entry), name(host)) else {
        return;
    };
    let (plain, given) = (entry.to_ascii_lowercase(), host.to_ascii_lowercase());
    let is_under = given.ends_with(&format!(".{plain}"));
    let is_itself = given == plain;
    for (list, expected) in [
        (entry.clone(), is_itself || is_under),
        (format!("{entry}."), is_itself || is_under),
        (format!(".{entry}"), is_under),
        (format!("*.{entry}"), is_under),
        (format!("{entry}:{port}"), is_itself || is_under),
        (format!("{entry}:{}", port ^ 1), false),
        (format!("{entry}/8"), false),
    ] {
        assert_eq!(exempts(&list, &host, port), expected, "{list} {host}");
        assert_eq!(exempts(&list, &format!("{host}."), port), expected);
        // Names are not looked up, and addresses have no names.
        assert!(!exempts(&list, "192.0.2.1", port));
    }
    assert!(!exempts("0.0.0.0/0,::/0,192.0.2.1", &host, port));
}

fn addresses(entry: u128, host: u128, bits: u8, port: u16) {
    // Close to each other in half of the cases.
    let host = if port & 1 == 0 {
        host
    } else {
        entry ^ (host & 0xff)
    };
    let v6 = |bits: u128| IpAddr::from(Ipv6Addr::from(bits)).to_canonical();
    let v4 = |bits: u128| IpAddr::from((bits as u32).to_be_bytes());
    let pairs = [(v6(entry), v6(host), 128), (v4(entry), v4(host), 32)];
    for (entry, host, width) in pairs {
        let shown = match host {
            IpAddr::V6(host) => format!("[{host}]"),
            IpAddr::V4(host) => host.to_string(),
        };
        assert_eq!(exempts(&entry.to_string(), &shown, port), entry == host);
        if entry.is_ipv4() != host.is_ipv4() || entry.is_ipv4() != (width == 32) {
            continue;
        }
        let bits = u32::from(bits) % (width + 2);
        let list = format!("{entry}/{bits}");
        let number = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => u128::from(u32::from(ip)),
            IpAddr::V6(ip) => u128::from(ip),
        };
        let differs = number(entry) ^ number(host);
        let is_in = bits <= width && differs.checked_shr(width - bits).unwrap_or(0) == 0;
        assert_eq!(exempts(&list, &shown, port), is_in, "{list} {host}");
    }
}

fuzz_target!(|input: (u16, u8, u128, u128, &str, &str)| {
    let (port, bits, one, other, list, host) = input;
    assert_ne!(hint(list), Some(list));
    is_loopback(host);
    let is_exempt = exempts(list, host, port);
    let is_blank = |c: char| c == ',' || c == ' ' || c == '\t';
    let each = list.split(is_blank).any(|entry| exempts(entry, host, port));
    assert_eq!(is_exempt, each);
    assert_eq!(exempts(&list.to_ascii_uppercase(), host, port), is_exempt);
    assert_eq!(exempts(list, &host.to_ascii_uppercase(), port), is_exempt);
    for all in [format!("{list},*"), format!("* {list}")] {
        assert!(exempts(&all, host, port));
    }
    if is_exempt {
        assert!(exempts(&format!("{list}, else.example"), host, port));
    }
    list.split(is_blank)
        .for_each(|entry| names(entry, host, port));
    addresses(one, other, bits, port);
});
