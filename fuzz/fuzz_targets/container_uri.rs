//! The container endpoint: keys are requested over plain http only from this host, whatever the URI
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

/// Stands for what nobody may see.
const SECRET: &str = "/s3cr3t-0123456789";

fuzz_target!(|input: (bool, String, Vec<[u8; 4]>, Option<[u16; 8]>)| {
    let (is_relative, mut uri, v4, v6) = input;
    uri.push_str(SECRET);
    let variable = match is_relative {
        true => "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        false => "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    };
    let settings = settings(&|name| (name == variable).then(|| uri.clone())).expect("it is set");
    let addresses: Vec<IpAddr> = v4
        .into_iter()
        .map(IpAddr::from)
        .chain(v6.map(IpAddr::from))
        .collect();
    let found = target(&settings, &|_, _| Ok(addresses.clone()));
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
            let (_, shown) = target.shown.split_once("://").expect("scheme and host");
            assert!(!shown.contains(['@', '/', '?']), "{shown}");
        }
        Err(error) => {
            let error = error.to_string();
            assert!(!error.contains(SECRET), "{error}");
        }
    }
});
