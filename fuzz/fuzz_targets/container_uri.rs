//! The container endpoint: keys are asked for over plain http only from this host, whatever the URI
//! and the name server say, and no error shows the path, which can be a secret.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use xray::credentials::sources::container::settings;
use xray::credentials::sources::container::target::target;

fn is_this_host(address: IpAddr) -> bool {
    let shown = address.to_canonical().to_string();
    shown.starts_with("127.")
        || ["::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"].contains(&shown.as_str())
}

fuzz_target!(|input: (bool, String, Vec<[u8; 4]>, Option<[u16; 8]>)| {
    let (is_relative, uri, v4, v6) = input;
    let variable = match is_relative {
        true => "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        false => "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    };
    let Some(settings) = settings(&|name| (name == variable).then(|| uri.clone())) else {
        assert!(uri.trim().is_empty());
        return;
    };
    let addresses: Vec<IpAddr> = v4
        .into_iter()
        .map(IpAddr::from)
        .chain(v6.map(IpAddr::from))
        .collect();
    let found = target(&settings, &|_, _| Ok(addresses.clone()));
    // What follows the host; up to it, an error may say whom it means.
    let after_scheme = settings.url.split_once("://").map_or("", |(_, rest)| rest);
    let secret = after_scheme.find('/').map_or("", |at| &after_scheme[at..]);
    match found {
        Ok(target) => {
            let uri: ureq::http::Uri = target.url.parse().expect("a checked URL");
            match uri.scheme_str() {
                Some("https") => assert_eq!(target.host, None),
                Some("http") => {
                    let host = uri.host().expect("a checked URL");
                    let bare = host.trim_start_matches('[').trim_end_matches(']');
                    let address = bare.parse().expect("an address in place of the name");
                    assert!(is_this_host(address), "{address}");
                }
                other => panic!("{other:?}"),
            }
            assert!(!target.shown.contains('@'));
            assert!(secret.len() < 8 || !target.shown.contains(secret));
        }
        Err(error) => {
            let error = error.to_string();
            assert!(secret.len() < 8 || !error.contains(secret), "{error}");
        }
    }
});
