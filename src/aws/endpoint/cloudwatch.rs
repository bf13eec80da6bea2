//! The endpoints of the services for OpenTelemetry's logs, metrics and instrumentation calls. Pure.
//!
//! The rules are those of the three services' endpoint rule sets.

use super::{EndpointError, EndpointSources, custom, is_region, partition};
use crate::aws::profile::Profiles;
use crate::env::Lookup;
use crate::http::client::ServiceUrls;

/// The URLs for logs, metrics and instrumentation calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CloudWatchEndpoints {
    /// CloudWatch Logs.
    pub(crate) logs: ServiceUrls,
    /// CloudWatch, which takes metrics.
    pub(crate) metrics: ServiceUrls,
    /// CloudWatch Application Signals.
    pub(crate) application_signals: ServiceUrls,
}

impl CloudWatchEndpoints {
    /// Resolves the services for `region`, with what environment and profile say. X-Ray's own
    /// endpoint does not move them.
    ///
    /// # Errors
    /// As [`Endpoints::resolve`](super::Endpoints::resolve).
    pub(crate) fn load(
        region: &str,
        env: &Lookup<'_>,
        profiles: &Profiles,
    ) -> Result<Self, EndpointError> {
        if !is_region(region) {
            return Err(EndpointError::Region(region.to_owned()));
        }
        let sources = EndpointSources::switches(env, profiles);
        let urls = |[variable, key, in_services]: [&'static str; 3],
                    usual: &dyn Fn(&EndpointSources<'_>) -> String| {
            let (own, all) = (env(variable), env("AWS_ENDPOINT_URL"));
            let found = custom(&[
                (variable, sources.url(own.as_deref())),
                ("AWS_ENDPOINT_URL", sources.url(all.as_deref())),
                (in_services, sources.url(profiles.service_endpoint(key))),
                (
                    "profile endpoint_url",
                    sources.url(profiles.value("endpoint_url")),
                ),
            ]);
            match found {
                Some((source, url)) => Ok(ServiceUrls::only(sources.checked(source, url)?)),
                None => Ok(sources.with_dual_stack(usual)),
            }
        };
        Ok(Self {
            logs: urls(
                [
                    "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS",
                    "cloudwatch_logs",
                    "services cloudwatch_logs endpoint_url",
                ],
                &|sources| sources.logs(region),
            )?,
            metrics: urls(
                [
                    "AWS_ENDPOINT_URL_CLOUDWATCH",
                    "cloudwatch",
                    "services cloudwatch endpoint_url",
                ],
                &|sources| sources.metrics(region),
            )?,
            application_signals: urls(
                [
                    "AWS_ENDPOINT_URL_APPLICATION_SIGNALS",
                    "application_signals",
                    "services application_signals endpoint_url",
                ],
                &|sources| sources.application_signals(region),
            )?,
        })
    }
}

impl EndpointSources<'_> {
    fn logs(&self, region: &str) -> String {
        // These two regions' endpoints are FIPS ones already, under the plain name.
        let is_fips = matches!(region, "us-gov-east-1" | "us-gov-west-1");
        match self.fips && !self.dual_stack && is_fips {
            true => format!("https://logs.{region}.amazonaws.com"),
            false => self.host("logs", region),
        }
    }

    fn metrics(&self, region: &str) -> String {
        let is_fips = partition(region).name == "aws-us-gov";
        let sources = EndpointSources {
            fips: self.fips && !is_fips,
            ..*self
        };
        sources.host("monitoring", region)
    }

    /// It has dual-stack names only.
    fn application_signals(&self, region: &str) -> String {
        let sources = EndpointSources {
            dual_stack: true,
            ..*self
        };
        sources.host("application-signals", region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(
        region: &str,
        variables: &[(&str, &str)],
    ) -> Result<CloudWatchEndpoints, EndpointError> {
        let env = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        CloudWatchEndpoints::load(region, &env, &Profiles::default())
    }

    #[test]
    fn every_partition_fips_and_dual_stack() {
        let (fips, dual) = (
            ("AWS_USE_FIPS_ENDPOINT", "true"),
            ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
        );
        for (region, variables, expected) in [
            (
                "us-west-2",
                &[] as &[_],
                [
                    "logs.us-west-2.amazonaws.com",
                    "monitoring.us-west-2.amazonaws.com",
                    "application-signals.us-west-2.api.aws",
                ],
            ),
            (
                "us-east-1",
                &[fips],
                [
                    "logs-fips.us-east-1.amazonaws.com",
                    "monitoring-fips.us-east-1.amazonaws.com",
                    "application-signals-fips.us-east-1.api.aws",
                ],
            ),
            (
                "us-east-1",
                &[fips, dual],
                [
                    "logs-fips.us-east-1.api.aws",
                    "monitoring-fips.us-east-1.api.aws",
                    "application-signals-fips.us-east-1.api.aws",
                ],
            ),
            (
                "us-gov-west-1",
                &[fips],
                [
                    "logs.us-gov-west-1.amazonaws.com",
                    "monitoring.us-gov-west-1.amazonaws.com",
                    "application-signals-fips.us-gov-west-1.api.aws",
                ],
            ),
            (
                "us-gov-east-1",
                &[fips, dual],
                [
                    "logs-fips.us-gov-east-1.api.aws",
                    "monitoring.us-gov-east-1.api.aws",
                    "application-signals-fips.us-gov-east-1.api.aws",
                ],
            ),
            (
                "cn-north-1",
                &[],
                [
                    "logs.cn-north-1.amazonaws.com.cn",
                    "monitoring.cn-north-1.amazonaws.com.cn",
                    "application-signals.cn-north-1.api.amazonwebservices.com.cn",
                ],
            ),
        ] {
            let found = load(region, variables).unwrap();
            let found = [found.logs, found.metrics, found.application_signals];
            let found = found.map(|urls| urls.usual);
            let expected = expected.map(|host| format!("https://{host}"));
            assert_eq!(found, expected, "{region} {variables:?}");
        }
        let found = load("eu-west-1", &[]).unwrap().logs;
        let dual_stack = "https://logs.eu-west-1.api.aws".to_owned();
        assert_eq!(found.dual_stack, Some(dual_stack));
    }

    #[test]
    fn custom_endpoints_move_one_service_or_all_of_them() {
        let found = load(
            "us-east-1",
            &[
                ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566/"),
                ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "logs.example"),
                // X-Ray alone.
                ("AWS_ENDPOINT_URL_XRAY", "https://xray.example"),
            ],
        )
        .unwrap();
        assert_eq!(found.logs.usual, "https://logs.example");
        assert_eq!(found.metrics.usual, "http://127.0.0.1:4566");
        assert_eq!(found.application_signals.usual, "http://127.0.0.1:4566");
        let error = load("us-east-1", &[("AWS_ENDPOINT_URL_CLOUDWATCH", "ftp://x")]);
        let source = "AWS_ENDPOINT_URL_CLOUDWATCH";
        let url = "ftp://x".to_owned();
        assert_eq!(error, Err(EndpointError::Url { source, url }));
        assert!(matches!(
            load("no region", &[]),
            Err(EndpointError::Region(_))
        ));
    }
}
