//! A service that has a second name, for hosts that cannot reach the first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ureq::Agent;

use super::connector::RouteFlag;
use super::{AgentError, HttpClientFactory};

/// The URLs of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUrls {
    /// The one to use.
    pub usual: String,
    /// The dual-stack name, for hosts that have IPv6 only and so no route to the usual name's
    /// addresses.
    pub dual_stack: Option<String>,
}

impl ServiceUrls {
    /// Of a service that has one name.
    pub fn only(usual: String) -> Self {
        ServiceUrls {
            usual,
            dual_stack: None,
        }
    }
}

/// A URL and the agent for it.
pub(crate) struct ServiceEndpoint {
    /// `https://host`, without a slash at its end.
    pub url: String,
    /// Carries requests to it.
    pub agent: Agent,
}

/// The agents for the names of a service. Which one is to be used may change from one request to the
/// next: a connection that finds no route makes it the dual-stack one, and one that fails there
/// makes it the usual one again.
pub struct ServiceClient {
    usual: ServiceEndpoint,
    dual_stack: Option<ServiceEndpoint>,
    /// Whether the usual name had no route the last time.
    has_no_route: Arc<AtomicBool>,
}

impl ServiceClient {
    /// For tests that send nothing.
    #[cfg(test)]
    pub(crate) fn only(url: &str, agent: Agent) -> Self {
        let url = url.to_owned();
        ServiceClient {
            usual: ServiceEndpoint { url, agent },
            dual_stack: None,
            has_no_route: Arc::default(),
        }
    }

    /// The URL of the usual name, whichever is used at this moment.
    pub(crate) fn usual_url(&self) -> &str {
        &self.usual.url
    }

    /// The URL to sign for and the agent to send with, for the next request.
    pub(crate) fn current(&self) -> &ServiceEndpoint {
        match &self.dual_stack {
            Some(dual_stack) if self.has_no_route.load(Ordering::Relaxed) => dual_stack,
            _ => &self.usual,
        }
    }

    /// Lets the requests under way, and all after them, fail at once.
    pub(crate) fn shutdown(&self) {
        self.usual.agent.clone().shutdown();
        if let Some(dual_stack) = &self.dual_stack {
            dual_stack.agent.clone().shutdown();
        }
    }
}

impl HttpClientFactory {
    /// The client of a service.
    ///
    /// # Errors
    /// When a URL has no scheme or host.
    pub fn client(&self, urls: &ServiceUrls) -> Result<ServiceClient, AgentError> {
        let has_no_route = Arc::<AtomicBool>::default();
        let endpoint = |url: &String, flag| {
            let (url, agent) = (url.clone(), self.agent_with(url, Some(flag))?);
            Ok(ServiceEndpoint { url, agent })
        };
        let usual = RouteFlag::SetWithoutRoute(Arc::clone(&has_no_route));
        let dual_stack = urls.dual_stack.as_ref().map(|url| {
            let flag = RouteFlag::ClearAtFailure(Arc::clone(&has_no_route));
            endpoint(url, flag)
        });
        Ok(ServiceClient {
            usual: endpoint(&urls.usual, usual)?,
            dual_stack: dual_stack.transpose()?,
            has_no_route,
        })
    }
}
