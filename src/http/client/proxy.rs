//! Which proxy requests to a target go through.

use ureq::http::Uri;
use ureq::{Proxy, ProxyProtocol};

use super::AgentError;
use crate::env::{Lookup, set};
use crate::http::{no_proxy, url};

/// The proxy, and the hosts that are reached without it.
pub(super) struct ProxySettings {
    proxy: Option<Proxy>,
    /// Whether a variable named it. Such a proxy is not used for this machine itself; one from the
    /// command line or cfg.yaml is used for all targets.
    from_env: bool,
    no_proxy: String,
}

impl ProxySettings {
    /// `configured` is the address of the command line or cfg.yaml; blank means none.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub(super) fn new(configured: &str, env: &Lookup<'_>) -> Result<Self, AgentError> {
        let from_env = configured.trim().is_empty();
        let named = match from_env {
            true => first(env, &["HTTPS_PROXY", "https_proxy"]),
            false => Some(("-p (ProxyAddress)", configured.to_owned())),
        };
        let proxy = named.map(|(source, address)| {
            parse(address.trim()).ok_or_else(|| AgentError::Proxy {
                source,
                address: url::without_credentials(&address).to_owned(),
            })
        });
        let no_proxy = first(env, &["NO_PROXY", "no_proxy"]);
        Ok(ProxySettings {
            proxy: proxy.transpose()?,
            from_env,
            no_proxy: no_proxy.map(|(_, list)| list).unwrap_or_default(),
        })
    }

    /// The proxy for a target with this host.
    pub(super) fn for_target(&self, target: &Uri, host: &str) -> Option<&Proxy> {
        let proxy = self.proxy.as_ref()?;
        let is_exempt = self.from_env && no_proxy::is_loopback(host)
            || no_proxy::exempts(&self.no_proxy, host, url::port(target));
        (!is_exempt).then_some(proxy)
    }
}

fn parse(address: &str) -> Option<Proxy> {
    let proxy = Proxy::new(address).ok()?;
    // Only these two schemes are supported: a SOCKS proxy would fail at the first request.
    let is_known = matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https);
    (is_known && url::is_host(proxy.host())).then_some(proxy)
}

fn first(env: &Lookup<'_>, names: &[&'static str]) -> Option<(&'static str, String)> {
    let found = |name: &&'static str| Some((*name, set(env, name)?));
    names.iter().find_map(found)
}
