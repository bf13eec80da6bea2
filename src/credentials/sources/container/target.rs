//! Where the container endpoint is, and whether it is safe to request keys there. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ureq::http::Uri;

use super::ContainerSettings;
use crate::credentials::SourceError;

/// Where to send a request.
#[derive(Debug, PartialEq, Eq)]
pub struct ContainerEndpoint {
    /// Its host may be an address in place of a name.
    pub url: String,
    /// The `Host` header, when the URL has an address in place of the name.
    pub host: Option<String>,
    /// For error messages: scheme, host and port.
    pub shown: String,
}

/// A name and a port to addresses.
pub(crate) type Resolve<'a> = dyn Fn(&str, u16) -> Result<Vec<IpAddr>, String> + 'a;

/// Checks that the keys will not cross a network in the clear: plain HTTP only to this host's
/// own addresses. A name is allowed when all its addresses are; the request then goes to one of
/// those, so that a second answer of the name server changes nothing.
pub fn target(
    settings: &ContainerSettings,
    resolve: &Resolve<'_>,
) -> Result<ContainerEndpoint, SourceError> {
    let ContainerSettings { variable, url, .. } = settings;
    let wrong = |why: &str| Err(SourceError::Setting(format!("{variable} {why}")));
    let uri = match Uri::try_from(url) {
        Ok(uri) => uri,
        Err(error) => return wrong(&format!("is not a URL: {error}")),
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return wrong("must be a whole URL, such as http://127.0.0.1:8080/path");
    };
    let host = authority.host();
    if host.is_empty() {
        return wrong("names no host");
    }
    let shown = shown(&uri);
    let direct = |shown| {
        Ok(ContainerEndpoint {
            url: url.to_owned(),
            host: None,
            shown,
        })
    };
    match scheme {
        "https" => return direct(shown),
        "http" => {}
        other => return wrong(&format!("has the scheme {other}; http or https is needed")),
    }
    let refused = |what: &str| {
        wrong(&format!(
            "points to {what}: keys are requested over plain http only from this host \
             (loopback, 169.254.170.2, 169.254.170.23, fd00:ec2::23); use https"
        ))
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return if is_local(address) {
            direct(shown)
        } else {
            refused(bare)
        };
    }
    let addresses = if host.eq_ignore_ascii_case("localhost") {
        vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]
    } else {
        match resolve(host, authority.port_u16().unwrap_or(80)) {
            Ok(addresses) => addresses,
            Err(why) => {
                return Err(SourceError::Unreachable {
                    from: shown,
                    why: format!("cannot resolve the name: {why}"),
                });
            }
        }
    };
    if let Some(other) = addresses.iter().find(|address| !is_local(**address)) {
        return refused(&format!("{host} ({other})"));
    }
    let Some(first) = addresses.first() else {
        return refused(&format!("{host}, which has no address"));
    };
    let address = match first {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    let port = authority
        .port_u16()
        .map_or(String::new(), |p| format!(":{p}"));
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    Ok(ContainerEndpoint {
        url: format!("http://{address}{port}{path}"),
        host: Some(format!("{host}{port}")),
        shown,
    })
}

fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4 == Ipv4Addr::new(169, 254, 170, 2)
                || v4 == Ipv4Addr::new(169, 254, 170, 23)
        }
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6 == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)
        }
    }
}

/// Scheme, host and port: a path can be a secret, and so can what stands before an `@`.
pub fn shown(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or_default();
    let host = uri.host().unwrap_or_default();
    match uri.port_u16() {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::sources::container::{Authorization, FULL_URI, RELATIVE_URI, settings};

    fn found(url: &str, resolve: &Resolve<'_>) -> Result<ContainerEndpoint, SourceError> {
        let settings = ContainerSettings {
            variable: FULL_URI,
            url: url.to_owned(),
            authorization: Authorization::None,
        };
        target(&settings, resolve)
    }

    /// The SDKs' vectors for the full URI, including the malicious ones.
    #[test]
    fn keys_are_asked_for_in_the_clear_only_from_this_host() {
        let resolve = |host: &str, _| match host {
            "here.example" => Ok(vec![
                IpAddr::from([127, 0, 0, 7]),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
            ]),
            "here6.example" => Ok(vec![IpAddr::V6(Ipv6Addr::LOCALHOST)]),
            "mixed.example" => Ok(vec![
                IpAddr::from([127, 0, 0, 1]),
                IpAddr::from([192, 168, 1, 1]),
            ]),
            "empty.example" => Ok(vec![]),
            _ => Err("no such name".to_owned()),
        };
        for same in [
            "https://anywhere.example/keys?x=1",
            "https://192.168.1.1:8443/keys",
            "http://127.0.0.1:8080/keys",
            "http://127.1.2.3/keys",
            "http://[::1]:8080/keys",
            "http://[::ffff:127.0.0.1]/keys",
            "http://169.254.170.2/keys",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
        ] {
            let target = found(same, &resolve).unwrap();
            assert_eq!((target.url.as_str(), target.host), (same, None), "{same}");
            assert!(!target.shown.contains("keys"), "{}", target.shown);
        }
        for (name, url, host) in [
            (
                "http://localhost:8080/keys?a=1",
                "http://127.0.0.1:8080/keys?a=1",
                "localhost:8080",
            ),
            ("http://LOCALHOST", "http://127.0.0.1/", "LOCALHOST"),
            (
                "http://here.example/keys",
                "http://127.0.0.7/keys",
                "here.example",
            ),
            (
                "http://here6.example:81/keys",
                "http://[::1]:81/keys",
                "here6.example:81",
            ),
        ] {
            let target = found(name, &resolve).unwrap();
            assert_eq!(
                (target.url.as_str(), target.host.as_deref()),
                (url, Some(host)),
                "{name}"
            );
        }
        for (bad, why) in [
            ("http://169.254.169.254/keys", "points to 169.254.169.254"),
            ("http://192.168.1.1/keys", "points to 192.168.1.1"),
            ("http://[fd00:ec2::24]/keys", "points to fd00:ec2::24"),
            ("http://[::ffff:10.0.0.1]/keys", "points to ::ffff:10.0.0.1"),
            (
                "http://mixed.example/keys",
                "points to mixed.example (192.168.1.1)",
            ),
            ("http://empty.example/keys", "has no address"),
            ("http://127.0.0.1@192.168.1.1/keys", "points to 192.168.1.1"),
            ("http://gone.example/keys", "cannot resolve the name"),
            ("ftp://127.0.0.1/keys", "has the scheme ftp"),
            ("/keys", "must be a whole URL"),
            ("http:///keys", "is not a URL"),
            ("", "is not a URL"),
            ("http://127.0.0.1/ke ys", "is not a URL"),
        ] {
            let error = found(bad, &resolve).unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
            assert!(!error.contains("keys\""), "{bad}: {error}");
        }
    }

    /// What follows the ECS agent's address cannot turn it into another one.
    #[test]
    fn a_relative_uri_stays_with_the_ecs_agent() {
        for (path, why) in [
            ("@192.168.1.1/keys", "points to 192.168.1.1"),
            ("9/keys", "points to 169.254.170.29"),
            (".example/keys", "cannot resolve the name"),
            ("/ke ys", "is not a URL"),
        ] {
            let env = |name: &str| (name == RELATIVE_URI).then(|| path.to_owned());
            let settings = settings(&env).unwrap();
            let error = target(&settings, &|_, _| Err("no such name".to_owned()));
            let error = error.unwrap_err().to_string();
            assert!(error.contains(why), "{path}: {error}");
            assert!(!error.contains(FULL_URI), "{path}: {error}");
        }
    }
}
