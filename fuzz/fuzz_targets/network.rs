//! What decides and explains connections: `NO_PROXY` never panics, and a star exempts everything; the
//! names in a certificate that anybody may show are short and without control characters; a hint
//! for a region is never the region itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xray::aws::endpoint::hint;
use xray::http::client::certificate::names;
use xray::http::no_proxy::{exempts, is_loopback};

fuzz_target!(|data: &[u8]| {
    if let Some(names) = names(data) {
        for name in [names.subject, names.issuer] {
            assert!(name.chars().count() < 100 && !name.contains(char::is_control));
        }
    }
    let text = String::from_utf8_lossy(data);
    assert_ne!(hint(&text), Some(&*text));
    let (list, host) = text.split_once('\n').unwrap_or((&text, "localhost"));
    for port in [0, 80, 443] {
        exempts(list, host, port);
        assert!(exempts(&format!("{list},*"), host, port));
    }
    is_loopback(host);
});
