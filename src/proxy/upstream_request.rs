//! A request on its way to X-Ray.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ureq::AsSendBody;
use ureq::http;

use super::handler::ForwardError;
use crate::http::client::ServiceEndpoint;
use crate::http::error::TransportError;
use crate::http::url;

/// A request that is ready to go.
#[derive(Clone)]
pub(super) enum Upstream<'a> {
    WithBody(http::Request<&'a [u8]>),
    Without(http::Request<()>),
}

/// Which connection a request goes by.
#[derive(Clone, Copy)]
pub(super) enum ConnectionChoice {
    Any,
    New,
}

impl Upstream<'_> {
    pub(super) fn run(
        self,
        endpoint: &ServiceEndpoint,
        connection: ConnectionChoice,
    ) -> Result<http::Response<ureq::Body>, ForwardError> {
        match self {
            Upstream::WithBody(request) => run(endpoint, request, connection),
            Upstream::Without(request) => run(endpoint, request, connection),
        }
    }
}

fn run(
    endpoint: &ServiceEndpoint,
    request: http::Request<impl AsSendBody>,
    connection: ConnectionChoice,
) -> Result<http::Response<ureq::Body>, ForwardError> {
    // ureq must not add headers that the client has not sent.
    let config = endpoint
        .agent
        .configure_request(request)
        .accept("")
        .accept_encoding("")
        .allow_non_standard_methods(true);
    let request = match connection {
        ConnectionChoice::Any => config.build(),
        // No kept connection is young enough.
        ConnectionChoice::New => config.max_idle_age(Duration::ZERO).build(),
    };
    endpoint.agent.run(request).map_err(|error| match error {
        // These repeat the URL, which is the client's.
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => ForwardError::Request,
        error => transport(error, url::host(&endpoint.url)),
    })
}

pub(super) fn transport(error: ureq::Error, host: &str) -> ForwardError {
    ForwardError::Transport(Arc::new(TransportError::from_ureq(error, host)))
}

/// An answer ended before its end.
pub(super) fn broken_off(error: &io::Error, host: &str) -> ForwardError {
    transport(io::Error::from(error.kind()).into(), host)
}
