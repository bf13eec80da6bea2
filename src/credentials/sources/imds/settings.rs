//! Where the EC2 metadata service is, and how it may be asked. Pure.

use std::time::Duration;

use crate::credentials::SourceError;
use crate::env::{Lookup, is_true, set, switch};

const IPV4: &str = "http://169.254.169.254";
const IPV6: &str = "http://[fd00:ec2::254]";

/// Where the service is, and whether version 1 may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImdsSettings {
    /// URL without a slash at its end.
    pub url: String,
    /// The URL for hosts that have no route to the first one; `None` if the user has set the URL.
    pub url_without_ipv4: Option<String>,
    /// Whether requests without a token are allowed.
    pub version_1: bool,
    /// For a connection to stand. An exchange may take twice, an operation five times as long.
    pub timeout: Duration,
    /// How often an operation is tried.
    pub tries: u32,
}

/// The range of botocore's variables. A value that is not a number of at least 1 counts as unset:
/// the official daemon does not know these variables, so a bad value must not stop this one.
const LONGEST_TIMEOUT: u32 = 60;
const MOST_TRIES: u32 = 10;

/// Reads the environment and the profile (a lookup by key). `None` when `AWS_EC2_METADATA_DISABLED`
/// is true: then no request may be made.
///
/// # Errors
/// When the endpoint mode is neither `IPv4` nor `IPv6`.
pub fn settings(
    env: &Lookup<'_>,
    profile: &Lookup<'_>,
) -> Result<Option<ImdsSettings>, SourceError> {
    if switch(env, "AWS_EC2_METADATA_DISABLED") == Some(true) {
        return Ok(None);
    }
    let either = |variable, key| set(env, variable).or_else(|| set(profile, key));
    let url = either(
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "ec2_metadata_service_endpoint",
    );
    let mode = either(
        "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
        "ec2_metadata_service_endpoint_mode",
    );
    let is_set = url.is_some() || mode.is_some();
    let url = match (url, mode) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(mode)) if mode.eq_ignore_ascii_case("ipv6") => IPV6.to_owned(),
        (None, Some(mode)) if !mode.eq_ignore_ascii_case("ipv4") => {
            return Err(SourceError::Setting(format!(
                "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE is {mode:?}; it must be IPv4 or IPv6"
            )));
        }
        _ => IPV4.to_owned(),
    };
    let forbidden = either("AWS_EC2_METADATA_V1_DISABLED", "ec2_metadata_v1_disabled")
        .is_some_and(|value| is_true(&value));
    let number = |variable, key| -> Option<u32> {
        let number = either(variable, key)?.parse().ok()?;
        (number > 0).then_some(number)
    };
    let timeout = number("AWS_METADATA_SERVICE_TIMEOUT", "metadata_service_timeout");
    let tries = number(
        "AWS_METADATA_SERVICE_NUM_ATTEMPTS",
        "metadata_service_num_attempts",
    );
    Ok(Some(ImdsSettings {
        url,
        url_without_ipv4: (!is_set).then(|| IPV6.to_owned()),
        version_1: !forbidden,
        timeout: Duration::from_secs(timeout.unwrap_or(1).min(LONGEST_TIMEOUT).into()),
        tries: tries.unwrap_or(3).min(MOST_TRIES),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    fn read(env: Pairs<'_>, profile: Pairs<'_>) -> Result<Option<ImdsSettings>, SourceError> {
        let lookup = |pairs: Pairs<'_>, name: &str| {
            let pair = pairs.iter().find(|(n, _)| *n == name);
            pair.map(|(_, value)| (*value).to_owned())
        };
        settings(&|n| lookup(env, n), &|n| lookup(profile, n))
    }

    #[test]
    fn times_and_tries() {
        let found = |env: Pairs<'_>, profile: Pairs<'_>| {
            let found = read(env, profile).unwrap().unwrap();
            (found.timeout.as_secs(), found.tries)
        };
        let timeout = |text| ("AWS_METADATA_SERVICE_TIMEOUT", text);
        let tries = |text| ("AWS_METADATA_SERVICE_NUM_ATTEMPTS", text);
        let in_profile = [
            ("metadata_service_timeout", "7"),
            ("metadata_service_num_attempts", "4"),
        ];
        assert_eq!(found(&[], &[]), (1, 3));
        assert_eq!(found(&[], &in_profile), (7, 4));
        assert_eq!(found(&[timeout("5"), tries("1")], &in_profile), (5, 1));
        assert_eq!(found(&[timeout("4294967295"), tries("99")], &[]), (60, 10));
        for odd in ["0", "-1", "1.5", "soon", "4294967296"] {
            assert_eq!(found(&[timeout(odd), tries(odd)], &[]), (1, 3), "{odd}");
        }
    }

    #[test]
    fn endpoint_and_versions() {
        let url = |text: &str| ("AWS_EC2_METADATA_SERVICE_ENDPOINT", text.to_owned());
        let mode = |text: &str| ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", text.to_owned());
        let profile_url = ("ec2_metadata_service_endpoint", "http://[::1]:1/");
        let profile_mode = ("ec2_metadata_service_endpoint_mode", "IPv6");
        for (env, profile, expected, version_1) in [
            (vec![], vec![], IPV4, true),
            (vec![mode("ipv4")], vec![profile_mode], IPV4, true),
            (vec![mode("IPV6")], vec![], IPV6, true),
            (vec![], vec![profile_mode], IPV6, true),
            (
                vec![mode("IPv4")],
                vec![profile_url],
                "http://[::1]:1",
                true,
            ),
            (
                vec![url("http://a/b//"), mode("nonsense")],
                vec![profile_url],
                "http://a/b",
                true,
            ),
            (
                vec![("AWS_EC2_METADATA_V1_DISABLED", "True".into())],
                vec![],
                IPV4,
                false,
            ),
            (
                vec![],
                vec![("ec2_metadata_v1_disabled", "true")],
                IPV4,
                false,
            ),
            (
                vec![("AWS_EC2_METADATA_DISABLED", "false".into())],
                vec![],
                IPV4,
                true,
            ),
        ] {
            let env: Vec<_> = env.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let found = read(&env, &profile).unwrap().unwrap();
            assert_eq!(
                (&*found.url, found.version_1),
                (expected, version_1),
                "{env:?}"
            );
            let is_set = [&env[..], &profile[..]].concat();
            let is_set = is_set
                .iter()
                .any(|(name, _)| name.to_ascii_lowercase().contains("service_endpoint"));
            assert_eq!(found.url_without_ipv4.is_none(), is_set, "{env:?}");
        }
        assert_eq!(
            read(&[("AWS_EC2_METADATA_DISABLED", "TRUE")], &[]),
            Ok(None)
        );
        let error = read(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "error")], &[]).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("\"error\"; it must be IPv4 or IPv6")
        );
    }
}
