//! Keys and certificates: a key that is read signs, however its lines are broken; whatever stands
//! beside a certificate in a file, it is trusted, once; and the names in a certificate that anybody
//! may show are short and in one line.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use rustls::RootCertStore;
use xray::credentials::sources::login::dpop::ProofKey;
use xray::http::client::certificate::names;
use xray::http::client::trust::add_certificates;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A certificate that is well.
const CERTIFICATE: &[u8] = include_bytes!("../seeds/pem/certificate.der");

/// A PEM section, its lines broken after `width` characters.
fn armor(label: &str, der: &[u8], width: usize, newline: &str) -> String {
    let mut body = String::new();
    for chunk in der.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            match place <= chunk.len() {
                true => body.push(char::from(
                    ALPHABET[(bits >> (18 - 6 * place)) as usize & 63],
                )),
                false => body.push('='),
            }
        }
    }
    let mut text = format!("-----BEGIN {label}-----{newline}");
    for line in body.as_bytes().chunks(width) {
        text += str::from_utf8(line).expect("base64 is ASCII");
        text += newline;
    }
    text + &format!("-----END {label}-----{newline}")
}

fn keys(der: &[u8], width: usize) {
    let key = |width: usize, newline: &str| {
        ProofKey::from_pem(&armor("EC PRIVATE KEY", der, width, newline))
    };
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    match (key(64, "\n"), key(width, "\r\n")) {
        (Ok(one), Ok(other)) => {
            for key in [one, other] {
                let proof = key.proof("https://x/v1/token", now).expect("it is a key");
                assert_eq!(proof.split('.').count(), 3);
                assert!(proof.bytes().all(|b| b.is_ascii_graphic()));
            }
        }
        (Err(one), Err(other)) => assert_eq!(one, other),
        _ => panic!("the lines of a key decide whether it is one"),
    }
}

fn trust(text: &[u8], width: usize) {
    let mut alone = RootCertStore::empty();
    let good = armor("CERTIFICATE", CERTIFICATE, 64, "\n");
    assert_eq!(add_certificates(&mut alone, good.as_bytes()), 0);
    assert_eq!(alone.len(), 1);

    let begins = text.windows(10).any(|part| part == b"-----BEGIN");
    let broken = armor("CERTIFICATE", text, width, "\n");
    let other = armor("X509 CRL", text, width, "\r\n");
    for before in [text, broken.as_bytes(), other.as_bytes()] {
        if begins && before == text {
            continue;
        }
        let mut store = RootCertStore::empty();
        let bundle = [
            before,
            b"\n",
            good.as_bytes(),
            b"\r\n",
            good.as_bytes(),
            before,
        ]
        .concat();
        let damaged = add_certificates(&mut store, &bundle);
        assert!(store.roots.contains(&alone.roots[0]));
        let is_one = names(text).is_some();
        assert!(store.len() == 1 || is_one && store.len() == 2);
        assert!(damaged <= 2);
        // All of it once more changes nothing.
        add_certificates(&mut store, &bundle);
        assert!(store.len() <= 2);
    }
}

fn certificate(der: &[u8]) {
    if let Some(names) = names(der) {
        for name in [&names.subject, &names.issuer] {
            assert!(name.chars().count() < 100 && !name.contains(char::is_control));
        }
        // What follows the certificate does not matter, and all of it is needed.
        let longer = [der, b"more"].concat();
        assert_eq!(xray::http::client::certificate::names(&longer), Some(names));
    }
}

fuzz_target!(|data: &[u8]| {
    let width = 1 + data.len() % 100;
    if let Ok(text) = str::from_utf8(data)
        && let Err(why) = ProofKey::from_pem(text)
    {
        assert!(why.is_ascii() && why.len() < 100, "{why}");
    }
    keys(data, width);
    trust(data, width);
    certificate(data);
});
