//! Resolves the endpoints of AWS services for every partition, FIPS and dual-stack. Pure.
//!
//! The rules are those of the services' endpoint rule sets.

mod cloudwatch;
mod identity;
mod partition;
mod region;

use std::fmt;

use crate::aws::profile::Profiles;
use crate::env::{self, Lookup};
use crate::http::client::ServiceUrls;
use crate::http::url::{is_host, without_credentials};

pub(crate) use cloudwatch::CloudWatchEndpoints;
pub use identity::IdentityEndpoints;
pub(crate) use identity::IdentityService;
pub(crate) use partition::{Partition, partition};
pub use region::{hint, is_region};

/// Where a custom endpoint may be written, each with what was found there, and the two switches.
#[derive(Default, Clone, Copy)]
pub(crate) struct EndpointSources<'a> {
    /// `Endpoint` in cfg.yaml. Moves X-Ray only.
    pub(crate) configured: Option<&'a str>,
    /// `AWS_ENDPOINT_URL_XRAY`.
    pub(crate) env_xray: Option<&'a str>,
    /// `AWS_ENDPOINT_URL_STS`.
    pub(crate) env_sts: Option<&'a str>,
    /// `AWS_ENDPOINT_URL`.
    pub(crate) env_all: Option<&'a str>,
    /// `xray = endpoint_url` in the `services` section that the profile names.
    pub(crate) profile_xray: Option<&'a str>,
    /// `sts = endpoint_url` in that section.
    pub(crate) profile_sts: Option<&'a str>,
    /// `endpoint_url` of the profile.
    pub(crate) profile_all: Option<&'a str>,
    /// `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` or the profile's key: only `configured` counts then.
    pub(crate) ignore_urls: bool,
    /// `AWS_USE_FIPS_ENDPOINT` or the profile's key.
    pub(crate) fips: bool,
    /// `AWS_USE_DUALSTACK_ENDPOINT` or the profile's key.
    pub dual_stack: bool,
}

/// Where requests go. URLs carry a scheme and no trailing slash; append `/TraceSegments`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// X-Ray's URLs.
    pub xray: ServiceUrls,
    /// STS's URLs.
    pub sts: ServiceUrls,
    /// Region to sign STS requests for.
    pub sts_region: String,
    /// Where to ask again, once, when STS says that it is disabled in this region. `None` with a
    /// custom endpoint, in partitions without such a region and in that region itself.
    pub sts_fallback: Option<StsFallback>,
}

/// STS in the first region of the partition, which cannot be disabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsFallback {
    /// URLs, as in [`Endpoints::sts`].
    pub urls: ServiceUrls,
    /// Region to sign for.
    pub region: &'static str,
}

/// Why there is no endpoint.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EndpointError {
    /// The region cannot be part of a host name.
    Region(String),
    /// The custom endpoint is no http or https URL.
    Url {
        /// Where it was written.
        source: &'static str,
        /// What was written, without credentials.
        url: String,
    },
    /// FIPS or dual-stack asks for a name that the custom endpoint already gives.
    Variant {
        /// Where the endpoint was written.
        source: &'static str,
        /// `FIPS` or `dual-stack`.
        variant: &'static str,
    },
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(region) => {
                write!(f, "region {region:?} cannot be part of a host name; ")?;
                match hint(region) {
                    Some(hint) => write!(f, "did you mean {hint}?"),
                    None => f.write_str("pass -n REGION, such as us-east-1"),
                }
            }
            Self::Url { source, url } => write!(
                f,
                "{source}: {url:?} is not an endpoint; write https://HOST[:PORT] without a query"
            ),
            Self::Variant { source, variant } => write!(
                f,
                "{source} sets a custom endpoint, which cannot be combined with {variant} \
                 endpoints; unset one of them"
            ),
        }
    }
}

impl std::error::Error for EndpointError {}

impl Endpoints {
    /// Resolves both services for `region` with what cfg.yaml, environment and profile
    /// say.
    ///
    /// # Errors
    /// As [`Endpoints::resolve`].
    pub(crate) fn load(
        region: &str,
        configured: Option<&str>,
        env: &Lookup<'_>,
        profiles: &Profiles,
    ) -> Result<Self, EndpointError> {
        Self::resolve(
            region,
            &EndpointSources {
                configured,
                env_xray: env("AWS_ENDPOINT_URL_XRAY").as_deref(),
                env_sts: env("AWS_ENDPOINT_URL_STS").as_deref(),
                env_all: env("AWS_ENDPOINT_URL").as_deref(),
                profile_xray: profiles.service_endpoint("xray"),
                profile_sts: profiles.service_endpoint("sts"),
                profile_all: profiles.value("endpoint_url"),
                ..EndpointSources::switches(env, profiles)
            },
        )
    }

    /// Resolves both services for `region`.
    ///
    /// # Errors
    /// When the region or a custom endpoint cannot be used, or a custom endpoint meets FIPS or
    /// dual-stack.
    pub(crate) fn resolve(
        region: &str,
        sources: &EndpointSources<'_>,
    ) -> Result<Self, EndpointError> {
        if !is_region(region) {
            return Err(EndpointError::Region(region.to_owned()));
        }
        let xray = match custom(&[
            ("Endpoint in cfg.yaml", sources.configured),
            ("AWS_ENDPOINT_URL_XRAY", sources.url(sources.env_xray)),
            ("AWS_ENDPOINT_URL", sources.url(sources.env_all)),
            (
                "services xray endpoint_url",
                sources.url(sources.profile_xray),
            ),
            ("profile endpoint_url", sources.url(sources.profile_all)),
        ]) {
            Some((source, url)) => ServiceUrls::only(sources.checked(source, url)?),
            None => sources.with_dual_stack(|sources| sources.host("xray", region)),
        };
        let custom_sts = custom(&[
            ("AWS_ENDPOINT_URL_STS", sources.url(sources.env_sts)),
            ("AWS_ENDPOINT_URL", sources.url(sources.env_all)),
            (
                "services sts endpoint_url",
                sources.url(sources.profile_sts),
            ),
            ("profile endpoint_url", sources.url(sources.profile_all)),
        ]);
        // The pseudo-region stands for the global endpoint, which is signed as us-east-1.
        let sts_region = if region == "aws-global" {
            "us-east-1"
        } else {
            region
        };
        let (sts, sts_fallback) = match custom_sts {
            Some((source, url)) => (ServiceUrls::only(sources.checked(source, url)?), None),
            None => (
                sources.with_dual_stack(|sources| sources.sts(region)),
                partition(region)
                    .sts_fallback
                    .filter(|fallback| *fallback != sts_region)
                    .map(|region| StsFallback {
                        urls: sources.with_dual_stack(|sources| sources.sts(region)),
                        region,
                    }),
            ),
        };
        Ok(Self {
            xray,
            sts,
            sts_region: sts_region.to_owned(),
            sts_fallback,
        })
    }
}

impl EndpointSources<'_> {
    /// Settings that apply to all services.
    fn switches(env: &Lookup<'_>, profiles: &Profiles) -> Self {
        let switch =
            |variable, key| env::switch(env, variable).unwrap_or_else(|| profiles.is_true(key));
        Self {
            ignore_urls: switch(
                "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
                "ignore_configured_endpoint_urls",
            ),
            fips: switch("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint"),
            dual_stack: switch("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint"),
            ..Self::default()
        }
    }

    fn url<'a>(&self, url: Option<&'a str>) -> Option<&'a str> {
        url.filter(|_| !self.ignore_urls)
    }

    fn checked(&self, source: &'static str, url: &str) -> Result<String, EndpointError> {
        for (set, variant) in [(self.fips, "FIPS"), (self.dual_stack, "dual-stack")] {
            if set {
                return Err(EndpointError::Variant { source, variant });
            }
        }
        normal(url).ok_or_else(|| EndpointError::Url {
            source,
            url: without_credentials(url).to_owned(),
        })
    }

    /// The URL, and the dual-stack one for hosts that have no route to its addresses.
    fn with_dual_stack(&self, url: impl Fn(&Self) -> String) -> ServiceUrls {
        let dual_stack = EndpointSources {
            dual_stack: true,
            ..*self
        };
        ServiceUrls {
            usual: url(self),
            dual_stack: (!self.dual_stack).then(|| url(&dual_stack)),
        }
    }

    fn host(&self, service: &str, region: &str) -> String {
        let partition = partition(region);
        let fips = if self.fips { "-fips" } else { "" };
        let suffix = if self.dual_stack {
            partition.dual_stack_suffix
        } else {
            partition.suffix
        };
        format!("https://{service}{fips}.{region}.{suffix}")
    }

    fn sts(&self, region: &str) -> String {
        if region == "aws-global" && !self.fips && !self.dual_stack {
            return "https://sts.amazonaws.com".to_owned();
        }
        let region = if region == "aws-global" {
            "us-east-1"
        } else {
            region
        };
        // GovCloud's only endpoints are FIPS ones already, under the plain name.
        if self.fips && !self.dual_stack && partition(region).name == "aws-us-gov" {
            return format!("https://sts.{region}.amazonaws.com");
        }
        self.host("sts", region)
    }
}

fn custom<'a>(sources: &[(&'static str, Option<&'a str>)]) -> Option<(&'static str, &'a str)> {
    sources
        .iter()
        .find_map(|(source, url)| Some((*source, url.map(str::trim).filter(|u| !u.is_empty())?)))
}

/// With a scheme (https when there is none) and without slashes at the end. `None` when it is not
/// http or https, has no host, or has a part that a path cannot be appended to.
fn normal(url: &str) -> Option<String> {
    let mut url = if url.contains("://") {
        url.to_owned()
    } else {
        format!("https://{url}")
    };
    url.truncate(url.trim_end_matches('/').len());
    let uri: ureq::http::Uri = url.parse().ok()?;
    let authority = uri.authority()?;
    let host = authority.host();
    // The parser lets a port through that is no number, and credentials, which must not be here.
    let bare = authority.as_str() == host
        || authority.port_u16().is_some() && authority.as_str().starts_with(host);
    // Signing removes `.` and `..` segments from the path, but the request might be sent with them,
    // so such URLs are refused.
    let is_odd = |segment| matches!(segment, "" | "." | "..");
    let path = uri.path().strip_prefix('/').unwrap_or_default();
    let plain = matches!(uri.scheme_str(), Some("http" | "https"))
        && (path.is_empty() || !path.split('/').any(is_odd))
        && bare
        && is_host(host)
        && uri.query().is_none()
        && !url.contains('#');
    plain.then_some(url)
}

#[cfg(test)]
mod tests;
