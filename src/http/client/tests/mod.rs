//! The factory's agents against real servers, plain and with TLS.

mod connections;
mod names;
mod proxies;
mod requests;
pub(super) mod servers;
mod tls;

use super::*;
use crate::http::error::{TransportError, TransportErrorKind};

const XRAY: &str = "https://xray.us-east-1.amazonaws.com/";

fn nothing(_: &str) -> Option<String> {
    None
}

fn config<'a>(
    proxy_address: &'a str,
    env: &'a dyn Fn(&str) -> Option<String>,
) -> HttpClientConfig<'a> {
    HttpClientConfig {
        resolver: Resolver::start().unwrap(),
        proxy_address,
        no_verify_ssl: false,
        profile_ca_bundle: None,
        connections: 2,
        user_agent: "xray/test",
        env,
    }
}

fn factory(proxy_address: &str, env: &dyn Fn(&str) -> Option<String>) -> HttpClientFactory {
    HttpClientFactory::new(config(proxy_address, env)).unwrap_or_else(|e| panic!("{e}"))
}

/// Trusts nobody but `authority`.
fn trusting(authority: &servers::Authority) -> HttpClientFactory {
    let path = authority.file.display().to_string();
    factory("", &|name| (name == "AWS_CA_BUNDLE").then(|| path.clone()))
}

/// The status of a request, or why there is none.
fn ask(factory: &HttpClientFactory, url: &str) -> Result<u16, TransportError> {
    let agent = factory.agent(url).unwrap_or_else(|e| panic!("{e}"));
    status(agent.get(url).call())
}

fn status<T>(result: Result<ureq::http::Response<T>, ureq::Error>) -> Result<u16, TransportError> {
    result
        .map(|response| response.status().as_u16())
        .map_err(|error| TransportError::from_ureq(error, "the host"))
}

#[test]
fn a_target_must_be_absolute() {
    let factory = factory("", &nothing);
    for target in [
        "",
        "/TraceSegments",
        "xray.us-east-1.amazonaws.com",
        "https://",
    ] {
        assert!(matches!(factory.agent(target), Err(AgentError::Target(_))));
    }
}

#[test]
fn no_agent_has_a_proxy_of_its_own_accord() {
    // ureq's own default reads six variables; the tests cannot set them for the process.
    let metadata = metadata_agent(&Resolver::start().unwrap());
    assert!(metadata.config().proxy().is_none());
    let agent = factory("", &nothing).agent(XRAY).unwrap();
    assert!(agent.config().proxy().is_none());
}

#[test]
fn all_agents_share_the_trust_roots() {
    let factory = factory("", &nothing);
    let _agents: Vec<_> = (0..8).map(|_| factory.agent(XRAY).unwrap()).collect();
    // The one of the factory, and one in each connector.
    assert_eq!(Arc::strong_count(&factory.tls), 9);
}
