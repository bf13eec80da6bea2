//! Which address a name is, and which name a service has.

use std::net::SocketAddr;

use super::servers::*;
use super::*;

/// A resolver that knows these names.
fn resolver(names: &'static [(&'static str, &'static [&'static str])]) -> Resolver {
    let resolver = Resolver::start_with(move |host| {
        let name = names.iter().find(|(name, _)| *name == host);
        let (_, addresses) = name.ok_or_else(|| std::io::Error::other("Name does not resolve"))?;
        let address = |a: &&str| SocketAddr::new(a.parse().unwrap(), 0);
        Ok(addresses.iter().map(address).collect())
    });
    resolver.unwrap()
}

/// TCP has no route to where many listen.
const NO_ROUTE: &str = "255.255.255.255";

fn with(resolver: Resolver) -> HttpClientFactory {
    let config = HttpClientConfig {
        resolver,
        ..config("", &nothing)
    };
    HttpClientFactory::new(config).unwrap()
}

/// Elsewhere there is one address of the loopback.
#[cfg(target_os = "linux")]
#[test]
fn errors_name_the_host_and_the_addresses() {
    let factory = with(resolver(&[
        ("refusing.test", &["127.0.0.1", "127.0.0.2"]),
        ("far.test", &[NO_ROUTE]),
        ("both.test", &[NO_ROUTE, "127.0.0.1"]),
        ("empty.test", &[]),
    ]));
    use TransportErrorKind as Kind;
    let refusing = Refusing::new();
    let port = refusing.port;
    for (host, kind, words) in [
        (
            "refusing.test",
            Kind::Refused,
            format!("connection refused by refusing.test:{port} (tried 127.0.0.1, 127.0.0.2)"),
        ),
        (
            "far.test",
            Kind::NoRoute,
            format!("no route to far.test:{port} (tried {NO_ROUTE}): "),
        ),
        (
            "both.test",
            Kind::Refused,
            format!("connection refused by both.test:{port} (tried {NO_ROUTE}, 127.0.0.1)"),
        ),
        (
            "empty.test",
            Kind::UnknownHost,
            format!("unknown host empty.test:{port} (it has no address)"),
        ),
        (
            "unknown.test",
            Kind::UnknownHost,
            format!("unknown host unknown.test:{port} (Name does not resolve)"),
        ),
    ] {
        let error = ask(&factory, &format!("http://{host}:{port}/")).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().starts_with(&words), "{error}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_address_that_answered_is_the_first_next_time() {
    let (port, server) = serve(2, |mut stream| {
        let head = request(&mut stream).unwrap().0;
        std::io::Write::write_all(&mut stream, EMPTY_OK).unwrap();
        head
    });
    let resolver = resolver(&[("xray.test", &["127.0.0.9", "127.0.0.1"])]);
    let factory = with(resolver.clone());
    let url = format!("http://xray.test:{port}/");
    let order = || {
        resolver
            .addresses("xray.test", port, Duration::MAX)
            .unwrap()
    };
    assert_eq!(order()[0].ip().to_string(), "127.0.0.9");
    assert_eq!(ask(&factory, &url), Ok(200));
    assert_eq!(order()[0].ip().to_string(), "127.0.0.1");
    assert_eq!(ask(&factory, &url), Ok(200));
    server.join().unwrap();
}

/// An address that takes connections and says nothing is the last one next time.
#[cfg(target_os = "linux")]
#[test]
fn an_address_whose_handshake_hangs_is_tried_last() {
    let (port, server) = serve(1, |mut stream| {
        // Until the client gives up.
        std::io::Read::read_to_end(&mut stream, &mut Vec::new()).unwrap()
    });
    let resolver = resolver(&[("xray.test", &["127.0.0.1", "127.0.0.9"])]);
    let factory = with(resolver.clone());
    let error = ask(&factory, &format!("https://xray.test:{port}/")).unwrap_err();
    server.join().unwrap();
    assert_eq!(error.kind, TransportErrorKind::ConnectTimeout);
    let words = format!("xray.test:{port} did not finish the TLS handshake in time");
    assert_eq!(error.to_string(), words);
    let order = resolver
        .addresses("xray.test", port, Duration::MAX)
        .unwrap();
    assert_eq!(order[0].ip().to_string(), "127.0.0.9");
}

#[test]
fn a_host_without_a_route_to_the_usual_name_uses_the_dual_stack_one() {
    let factory = with(resolver(&[
        ("usual.test", &[NO_ROUTE]),
        ("dual.test", &["127.0.0.1"]),
    ]));
    let (port, server) = serve(1, |mut stream| answer_all(&mut stream, EMPTY_OK).len());
    let usual = format!("http://usual.test:{port}");
    let dual_stack = format!("http://dual.test:{port}");
    let service = factory
        .client(&ServiceUrls {
            usual: usual.clone(),
            dual_stack: Some(dual_stack.clone()),
        })
        .unwrap();
    let ask = || {
        let endpoint = service.current();
        status(endpoint.agent.get(&endpoint.url).call()).map_err(|error| error.kind)
    };
    assert_eq!(service.current().url, usual);
    assert_eq!(ask(), Err(TransportErrorKind::NoRoute));
    assert_eq!(service.current().url, dual_stack);
    assert_eq!(ask(), Ok(200));
    assert_eq!(service.current().url, dual_stack);
    // Where that one fails, the usual one has its chance again.
    service.current().agent.clone().shutdown();
    server.join().unwrap();
}

#[test]
fn where_the_dual_stack_name_fails_the_usual_one_is_next() {
    let factory = with(resolver(&[
        ("usual.test", &[NO_ROUTE]),
        ("dual.test", &["127.0.0.1"]),
    ]));
    let refusing = Refusing::new();
    let port = refusing.port;
    let urls = |dual_stack: Option<&str>| ServiceUrls {
        usual: format!("http://usual.test:{port}"),
        dual_stack: dual_stack.map(|host| format!("http://{host}:{port}")),
    };
    let service = factory.client(&urls(Some("dual.test"))).unwrap();
    let mut asked = Vec::new();
    for _ in 0..3 {
        let endpoint = service.current();
        let kind = status(endpoint.agent.get(&endpoint.url).call())
            .unwrap_err()
            .kind;
        asked.push(kind);
    }
    use TransportErrorKind as Kind;
    assert_eq!(asked, [Kind::NoRoute, Kind::Refused, Kind::NoRoute]);
    // A custom endpoint has one name.
    let service = factory.client(&urls(None)).unwrap();
    let endpoint = service.current();
    assert!(endpoint.agent.get(&endpoint.url).call().is_err());
    assert_eq!(service.current().url, urls(None).usual);
}
