//! Resolves the endpoints of X-Ray and STS for every partition, FIPS and dual-stack. Pure.
//!
//! The rows are those of the SDKs' `partitions.json` and of the two services' endpoint rule sets.

mod identity;

use std::fmt;

use crate::aws::profile::Profiles;

pub use identity::{IdentityEndpoints, IdentityService};

/// A family of regions with names and credentials of its own.
#[derive(Debug, PartialEq, Eq)]
pub struct Partition {
    /// `aws`, `aws-cn`, …: the second field of an ARN.
    pub name: &'static str,
    prefix: &'static str,
    suffix: &'static str,
    dual_stack_suffix: &'static str,
    sts_fallback: Option<&'static str>,
}

/// The prefix decides; `aws` takes every region that no other row does, so it stands last.
const PARTITIONS: [Partition; 8] = [
    Partition {
        name: "aws-cn",
        prefix: "cn-",
        suffix: "amazonaws.com.cn",
        dual_stack_suffix: "api.amazonwebservices.com.cn",
        sts_fallback: Some("cn-north-1"),
    },
    Partition {
        name: "aws-us-gov",
        prefix: "us-gov-",
        suffix: "amazonaws.com",
        dual_stack_suffix: "api.aws",
        sts_fallback: Some("us-gov-west-1"),
    },
    Partition {
        name: "aws-iso",
        prefix: "us-iso-",
        suffix: "c2s.ic.gov",
        dual_stack_suffix: "api.aws.ic.gov",
        sts_fallback: Some("us-iso-east-1"),
    },
    Partition {
        name: "aws-iso-b",
        prefix: "us-isob-",
        suffix: "sc2s.sgov.gov",
        dual_stack_suffix: "api.aws.scloud",
        sts_fallback: Some("us-isob-east-1"),
    },
    Partition {
        name: "aws-iso-e",
        prefix: "eu-isoe-",
        suffix: "cloud.adc-e.uk",
        dual_stack_suffix: "api.cloud-aws.adc-e.uk",
        sts_fallback: None,
    },
    Partition {
        name: "aws-iso-f",
        prefix: "us-isof-",
        suffix: "csp.hci.ic.gov",
        dual_stack_suffix: "api.aws.hci.ic.gov",
        sts_fallback: None,
    },
    Partition {
        name: "aws-eusc",
        prefix: "eusc-",
        suffix: "amazonaws.eu",
        dual_stack_suffix: "api.amazonwebservices.eu",
        sts_fallback: None,
    },
    Partition {
        name: "aws",
        prefix: "",
        suffix: "amazonaws.com",
        dual_stack_suffix: "api.aws",
        sts_fallback: Some("us-east-1"),
    },
];

/// Where a custom endpoint may be written, each with what was found there, and the two switches.
#[derive(Default)]
pub struct Sources<'a> {
    /// `-e` or `Endpoint` in cfg.yaml. Moves X-Ray only.
    pub configured: Option<&'a str>,
    /// `AWS_ENDPOINT_URL_XRAY`.
    pub env_xray: Option<&'a str>,
    /// `AWS_ENDPOINT_URL_STS`.
    pub env_sts: Option<&'a str>,
    /// `AWS_ENDPOINT_URL`.
    pub env_all: Option<&'a str>,
    /// `xray = endpoint_url` in the `services` section that the profile names.
    pub profile_xray: Option<&'a str>,
    /// `sts = endpoint_url` in that section.
    pub profile_sts: Option<&'a str>,
    /// `endpoint_url` of the profile.
    pub profile_all: Option<&'a str>,
    /// `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` or the profile's key: all but `configured` are void.
    pub ignore_urls: bool,
    /// `AWS_USE_FIPS_ENDPOINT` or the profile's key.
    pub fips: bool,
    /// `AWS_USE_DUALSTACK_ENDPOINT` or the profile's key.
    pub dual_stack: bool,
}

/// Where requests go. URLs carry a scheme and no trailing slash; append `/TraceSegments`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// X-Ray's URL.
    pub xray: String,
    /// STS's URL.
    pub sts: String,
    /// Region to sign STS requests for.
    pub sts_region: String,
    /// Where to ask again, once, when STS says that it is disabled in this region. `None` with a
    /// custom endpoint, in partitions without such a region and in that region itself.
    pub sts_fallback: Option<StsFallback>,
}

/// STS in the first region of the partition, which cannot be disabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsFallback {
    /// URL, as in [`Endpoints::sts`].
    pub url: String,
    /// Region to sign for.
    pub region: &'static str,
}

/// Why there is no endpoint.
#[derive(Debug, PartialEq, Eq)]
pub enum EndpointError {
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
            Self::Region(region) => write!(
                f,
                "region {region:?} cannot be part of a host name; pass -n REGION, such as us-east-1"
            ),
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
    /// Resolves both services for `region` with what configuration (`-e`), environment and profile
    /// say.
    ///
    /// # Errors
    /// As [`Endpoints::resolve`].
    pub fn load(
        region: &str,
        configured: Option<&str>,
        env: &dyn Fn(&str) -> Option<String>,
        profiles: &Profiles,
    ) -> Result<Self, EndpointError> {
        Self::resolve(
            region,
            &Sources {
                configured,
                env_xray: env("AWS_ENDPOINT_URL_XRAY").as_deref(),
                env_sts: env("AWS_ENDPOINT_URL_STS").as_deref(),
                env_all: env("AWS_ENDPOINT_URL").as_deref(),
                profile_xray: profiles.service_endpoint("xray"),
                profile_sts: profiles.service_endpoint("sts"),
                profile_all: profiles.value("endpoint_url"),
                ..Sources::switches(env, profiles)
            },
        )
    }

    /// Resolves both services for `region`.
    ///
    /// # Errors
    /// When the region or a custom endpoint cannot be used, or a custom endpoint meets FIPS or
    /// dual-stack.
    pub fn resolve(region: &str, sources: &Sources<'_>) -> Result<Self, EndpointError> {
        if !is_region(region) {
            return Err(EndpointError::Region(region.to_owned()));
        }
        let xray = match custom(&[
            ("Endpoint (-e)", sources.configured),
            ("AWS_ENDPOINT_URL_XRAY", sources.url(sources.env_xray)),
            ("AWS_ENDPOINT_URL", sources.url(sources.env_all)),
            (
                "services xray endpoint_url",
                sources.url(sources.profile_xray),
            ),
            ("profile endpoint_url", sources.url(sources.profile_all)),
        ]) {
            Some((source, url)) => sources.checked(source, url)?,
            None => sources.host("xray", region),
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
            Some((source, url)) => (sources.checked(source, url)?, None),
            None => (
                sources.sts(region),
                partition(region)
                    .sts_fallback
                    .filter(|fallback| *fallback != sts_region)
                    .map(|region| StsFallback {
                        url: sources.sts(region),
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

impl Sources<'_> {
    /// What is said once for all services.
    fn switches(env: &dyn Fn(&str) -> Option<String>, profiles: &Profiles) -> Self {
        let switch = |variable, key| match env(variable).as_deref().map(str::trim) {
            None | Some("") => profiles.is_true(key),
            Some(value) => value.eq_ignore_ascii_case("true"),
        };
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

/// The partition of a region; unknown regions are in `aws`.
pub fn partition(region: &str) -> &'static Partition {
    PARTITIONS
        .iter()
        .find(|p| region.starts_with(p.prefix))
        .unwrap_or(&PARTITIONS[PARTITIONS.len() - 1])
}

/// The DNS suffix of a region's partition: `amazonaws.com`.
pub fn dns_suffix(region: &str) -> &'static str {
    partition(region).suffix
}

/// Whether `region` may stand in a host name: one label of letters, digits and inner hyphens.
pub fn is_region(region: &str) -> bool {
    (1..=63).contains(&region.len())
        && region
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !region.starts_with('-')
        && !region.ends_with('-')
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
    // A signature is over the path without such segments, and nobody says whether they are sent.
    let is_odd = |segment| matches!(segment, "" | "." | "..");
    let path = uri.path().strip_prefix('/').unwrap_or_default();
    let plain = matches!(uri.scheme_str(), Some("http" | "https"))
        && (path.is_empty() || !path.split('/').any(is_odd))
        && bare
        && !host.is_empty()
        && uri.query().is_none()
        && !url.contains('#');
    plain.then_some(url)
}

/// The port that the scheme has by itself.
pub(crate) fn default_port(url: &ureq::http::Uri) -> u16 {
    match url.scheme_str() {
        Some("http") => 80,
        _ => 443,
    }
}

/// What follows the last `@` of a URL, so that it can be shown: a password may itself hold one.
pub(crate) fn without_credentials(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}

#[cfg(test)]
mod tests;
