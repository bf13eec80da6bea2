//! The endpoints of the services that renew a person's session: IAM Identity Center and AWS
//! Sign-In. Pure.
//!
//! Each is in a region of its own, which a profile or a cached session names, so that they are
//! resolved when that is known.

use super::{EndpointError, EndpointSources, Partition, custom, is_region, partition};
use crate::aws::profile::Profiles;
use crate::env::Lookup;

/// One of these services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdentityService {
    /// The portal of IAM Identity Center, which gives credentials of roles.
    Portal,
    /// The token service of IAM Identity Center.
    Oidc,
    /// AWS Sign-In, the token service of `aws login`.
    SignIn,
}

/// What configuration says of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentityEndpoints {
    portal: Option<CustomEndpoint>,
    oidc: Option<CustomEndpoint>,
    sign_in: Option<CustomEndpoint>,
    fips: bool,
    dual_stack: bool,
}

/// A URL, and the setting that it is from.
type CustomEndpoint = (&'static str, String);

impl IdentityEndpoints {
    /// Reads environment and profile. Their global `endpoint_url` moves these services too, as in
    /// the SDKs.
    pub fn load(env: &Lookup<'_>, profiles: &Profiles) -> Self {
        let found = EndpointSources::switches(env, profiles);
        let (all, profile_all) = (env("AWS_ENDPOINT_URL"), profiles.value("endpoint_url"));
        let read = |[variable, key, in_services]: [&'static str; 3]| {
            let own = env(variable);
            let (source, url) = custom(&[
                (variable, found.url(own.as_deref())),
                ("AWS_ENDPOINT_URL", found.url(all.as_deref())),
                (in_services, found.url(profiles.service_endpoint(key))),
                ("profile endpoint_url", found.url(profile_all)),
            ])?;
            Some((source, url.to_owned()))
        };
        Self {
            portal: read(["AWS_ENDPOINT_URL_SSO", "sso", "services sso endpoint_url"]),
            oidc: read([
                "AWS_ENDPOINT_URL_SSO_OIDC",
                "sso_oidc",
                "services sso_oidc endpoint_url",
            ]),
            sign_in: read([
                "AWS_ENDPOINT_URL_SIGNIN",
                "signin",
                "services signin endpoint_url",
            ]),
            fips: found.fips,
            dual_stack: found.dual_stack,
        }
    }

    /// The URL of a service in `region`, without a slash at its end.
    ///
    /// # Errors
    /// When the region or a custom endpoint cannot be used, or a custom endpoint meets FIPS or
    /// dual-stack.
    pub(crate) fn url(
        &self,
        service: IdentityService,
        region: &str,
    ) -> Result<String, EndpointError> {
        if !is_region(region) {
            return Err(EndpointError::Region(region.to_owned()));
        }
        let custom = match service {
            IdentityService::Portal => &self.portal,
            IdentityService::Oidc => &self.oidc,
            IdentityService::SignIn => &self.sign_in,
        };
        if let Some((source, url)) = custom {
            let switches = EndpointSources {
                fips: self.fips,
                dual_stack: self.dual_stack,
                ..EndpointSources::default()
            };
            return switches.checked(source, url);
        }
        Ok(self.usual(service, region))
    }

    fn usual(&self, service: IdentityService, region: &str) -> String {
        let partition = partition(region);
        let name = match service {
            IdentityService::Portal => "portal.sso",
            IdentityService::Oidc => "oidc",
            IdentityService::SignIn => "signin",
        };
        let suffix = match self.dual_stack {
            true => partition.dual_stack_suffix,
            false => partition.suffix,
        };
        match (self.fips, self.dual_stack, service) {
            (false, false, IdentityService::SignIn) => {
                format!("https://{region}.signin.{}", sign_in_domain(partition))
            }
            (true, false, IdentityService::SignIn) if partition.name == "aws-us-gov" => {
                format!("https://{region}.signin-fips.{}", sign_in_domain(partition))
            }
            // GovCloud's endpoints are FIPS ones already, under the plain name.
            (true, false, _) if partition.name == "aws-us-gov" => {
                format!("https://{name}.{region}.amazonaws.com")
            }
            (true, _, _) => format!("https://{name}-fips.{region}.{suffix}"),
            (false, _, _) => format!("https://{name}.{region}.{suffix}"),
        }
    }
}

/// AWS Sign-In is where the console is.
fn sign_in_domain(partition: &Partition) -> &'static str {
    match partition.name {
        "aws-cn" => "amazonaws.cn",
        "aws-us-gov" => "amazonaws-us-gov.com",
        "aws-iso" => "c2shome.ic.gov",
        "aws-iso-b" => "sc2shome.sgov.gov",
        "aws-iso-e" => "csphome.adc-e.uk",
        "aws-iso-f" => "csphome.hci.ic.gov",
        "aws-eusc" => "amazonaws-eusc.eu",
        _ => "aws.amazon.com",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use IdentityService::{Oidc, Portal, SignIn};
    use std::io;

    fn load(vars: &[(&str, &str)], config: &str) -> IdentityEndpoints {
        let env = |name: &str| {
            let found = vars.iter().find(|(n, _)| *n == name);
            match (found, name) {
                (Some((_, value)), _) => Some((*value).to_owned()),
                (None, "HOME") => Some("/home/me".to_owned()),
                (None, _) => None,
            }
        };
        let read = |path: &std::path::Path| match path.ends_with("config") {
            true => Ok(config.as_bytes().to_vec()),
            false => Err(io::ErrorKind::NotFound.into()),
        };
        IdentityEndpoints::load(&env, &Profiles::load(&env, &read).unwrap())
    }

    /// The rules of the three services in botocore's data.
    #[test]
    fn the_usual_names() {
        let fips = ("AWS_USE_FIPS_ENDPOINT", "true");
        let dual_stack = ("AWS_USE_DUALSTACK_ENDPOINT", "true");
        for (vars, service, region, expected) in [
            (
                vec![],
                Portal,
                "eu-west-1",
                "portal.sso.eu-west-1.amazonaws.com",
            ),
            (
                vec![],
                Portal,
                "cn-north-1",
                "portal.sso.cn-north-1.amazonaws.com.cn",
            ),
            (vec![], Oidc, "eu-west-1", "oidc.eu-west-1.amazonaws.com"),
            (
                vec![],
                SignIn,
                "eu-west-1",
                "eu-west-1.signin.aws.amazon.com",
            ),
            (
                vec![],
                SignIn,
                "cn-north-1",
                "cn-north-1.signin.amazonaws.cn",
            ),
            (
                vec![],
                SignIn,
                "us-gov-west-1",
                "us-gov-west-1.signin.amazonaws-us-gov.com",
            ),
            (
                vec![],
                SignIn,
                "eusc-de-east-1",
                "eusc-de-east-1.signin.amazonaws-eusc.eu",
            ),
            (
                vec![fips],
                Portal,
                "us-east-1",
                "portal.sso-fips.us-east-1.amazonaws.com",
            ),
            (
                vec![fips],
                Portal,
                "us-gov-west-1",
                "portal.sso.us-gov-west-1.amazonaws.com",
            ),
            (
                vec![fips],
                Oidc,
                "us-east-1",
                "oidc-fips.us-east-1.amazonaws.com",
            ),
            (
                vec![fips],
                Oidc,
                "us-gov-west-1",
                "oidc.us-gov-west-1.amazonaws.com",
            ),
            (
                vec![fips],
                SignIn,
                "us-east-1",
                "signin-fips.us-east-1.amazonaws.com",
            ),
            (
                vec![fips],
                SignIn,
                "us-gov-west-1",
                "us-gov-west-1.signin-fips.amazonaws-us-gov.com",
            ),
            (
                vec![dual_stack],
                Portal,
                "us-east-1",
                "portal.sso.us-east-1.api.aws",
            ),
            (
                vec![dual_stack],
                SignIn,
                "us-east-1",
                "signin.us-east-1.api.aws",
            ),
            (
                vec![fips, dual_stack],
                Oidc,
                "us-gov-west-1",
                "oidc-fips.us-gov-west-1.api.aws",
            ),
        ] {
            let url = load(&vars, "").url(service, region);
            assert_eq!(url, Ok(format!("https://{expected}")), "{vars:?}");
        }
    }

    #[test]
    fn every_place_for_a_custom_endpoint() {
        let all = ("AWS_ENDPOINT_URL", "http://all:1/");
        let in_services = "[default]\nservices = local\nendpoint_url = http://profile:2\n\
             [services local]\nsso =\n  endpoint_url = http://portal:3\n\
             sso_oidc =\n  endpoint_url = http://oidc:4\nsignin =\n  endpoint_url = http://signin:5\n";
        let profile = "[default]\nendpoint_url = http://profile:2\n";
        for (vars, config, expected) in [
            (vec![], in_services, ["portal:3", "oidc:4", "signin:5"]),
            (vec![], profile, ["profile:2"; 3]),
            (vec![all], in_services, ["all:1"; 3]),
            (
                vec![
                    all,
                    ("AWS_ENDPOINT_URL_SSO", "http://a:6"),
                    ("AWS_ENDPOINT_URL_SSO_OIDC", "http://b:7"),
                    ("AWS_ENDPOINT_URL_SIGNIN", "http://c:8"),
                ],
                in_services,
                ["a:6", "b:7", "c:8"],
            ),
        ] {
            let endpoints = load(&vars, config);
            for (service, expected) in [Portal, Oidc, SignIn].into_iter().zip(expected) {
                let url = endpoints.url(service, "eu-west-1");
                assert_eq!(url, Ok(format!("http://{expected}")), "{vars:?} {config}");
            }
        }
        let ignored = [all, ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")];
        let url = load(&ignored, in_services).url(Oidc, "eu-west-1");
        assert_eq!(url.unwrap(), "https://oidc.eu-west-1.amazonaws.com");
    }

    #[test]
    fn what_cannot_be_used() {
        let both = [
            ("AWS_ENDPOINT_URL_SSO", "http://a:6"),
            ("AWS_USE_FIPS_ENDPOINT", "true"),
        ];
        let error = load(&both, "").url(Portal, "eu-west-1").unwrap_err();
        assert!(error.to_string().contains("FIPS"), "{error}");
        assert!(load(&both, "").url(Oidc, "eu-west-1").is_ok());
        let error = load(&[], "").url(Oidc, "eu west").unwrap_err();
        assert_eq!(error, EndpointError::Region("eu west".to_owned()));
        let bad = [("AWS_ENDPOINT_URL_SIGNIN", "ftp://a")];
        assert!(load(&bad, "").url(SignIn, "eu-west-1").is_err());
    }
}
