use super::*;
use proptest::prelude::*;

fn resolve(region: &str, sources: &EndpointSources<'_>) -> Endpoints {
    Endpoints::resolve(region, sources).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn every_partition_and_variant() {
    // region, plain suffix, dual-stack suffix, region STS falls back to
    let rows = [
        ("us-east-2", "amazonaws.com", "api.aws", Some("us-east-1")),
        ("us-east-1", "amazonaws.com", "api.aws", None),
        ("eu-west-1", "amazonaws.com", "api.aws", Some("us-east-1")),
        (
            "mx-central-1",
            "amazonaws.com",
            "api.aws",
            Some("us-east-1"),
        ),
        ("xx-new-9", "amazonaws.com", "api.aws", Some("us-east-1")),
        (
            "us-gov-east-1",
            "amazonaws.com",
            "api.aws",
            Some("us-gov-west-1"),
        ),
        ("us-gov-west-1", "amazonaws.com", "api.aws", None),
        (
            "cn-northwest-1",
            "amazonaws.com.cn",
            "api.amazonwebservices.com.cn",
            Some("cn-north-1"),
        ),
        (
            "us-iso-west-1",
            "c2s.ic.gov",
            "api.aws.ic.gov",
            Some("us-iso-east-1"),
        ),
        (
            "us-isob-west-1",
            "sc2s.sgov.gov",
            "api.aws.scloud",
            Some("us-isob-east-1"),
        ),
        (
            "eu-isoe-west-1",
            "cloud.adc-e.uk",
            "api.cloud-aws.adc-e.uk",
            None,
        ),
        (
            "us-isof-south-1",
            "csp.hci.ic.gov",
            "api.aws.hci.ic.gov",
            None,
        ),
        (
            "eusc-de-east-1",
            "amazonaws.eu",
            "api.amazonwebservices.eu",
            None,
        ),
    ];
    for (region, plain, dual, fallback) in rows {
        for (fips, dual_stack) in [(false, false), (true, false), (false, true), (true, true)] {
            let sources = EndpointSources {
                fips,
                dual_stack,
                ..EndpointSources::default()
            };
            let dash = if fips { "-fips" } else { "" };
            let suffix = if dual_stack { dual } else { plain };
            let sts_dash = if region.starts_with("us-gov-") && !dual_stack {
                ""
            } else {
                dash
            };
            // For hosts without a route to the first.
            let urls = |service, usual_dash, region| ServiceUrls {
                usual: format!("https://{service}{usual_dash}.{region}.{suffix}"),
                dual_stack: (!dual_stack)
                    .then(|| format!("https://{service}{dash}.{region}.{dual}")),
            };
            let expected = Endpoints {
                xray: urls("xray", dash, region),
                sts: urls("sts", sts_dash, region),
                sts_region: region.to_owned(),
                sts_fallback: fallback.map(|region| StsFallback {
                    urls: urls("sts", sts_dash, region),
                    region,
                }),
            };
            assert_eq!(resolve(region, &sources), expected);
        }
    }
}

#[test]
fn partition_names() {
    for (region, name) in [
        ("ap-southeast-7", "aws"),
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
        ("eu-isoe-west-1", "aws-iso-e"),
        ("us-isof-east-1", "aws-iso-f"),
        ("eusc-de-east-1", "aws-eusc"),
    ] {
        assert_eq!(partition(region).name, name);
    }
}

#[test]
fn the_global_pseudo_region_signs_as_us_east_1() {
    let endpoints = resolve("aws-global", &EndpointSources::default());
    assert_eq!(endpoints.sts.usual, "https://sts.amazonaws.com");
    let dual_stack = endpoints.sts.dual_stack.as_deref();
    assert_eq!(dual_stack, Some("https://sts.us-east-1.api.aws"));
    assert_eq!(endpoints.sts_region, "us-east-1");
    assert_eq!(endpoints.sts_fallback, None);
}

#[test]
fn a_region_that_cannot_be_one_gets_a_hint_where_it_is_near_one() {
    for (region, words) in [
        ("us_east_1", "did you mean us-east-1?"),
        ("eu west 1", "did you mean eu-west-1?"),
        ("///", "pass -n REGION"),
    ] {
        let error = Endpoints::resolve(region, &EndpointSources::default()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// Each source, alone and against the next: for X-Ray and for STS.
#[test]
fn overrides_in_order() {
    let mut sources = EndpointSources {
        configured: Some("https://flag"),
        env_xray: Some("https://env-xray"),
        env_sts: Some("https://env-sts"),
        env_all: Some("https://env"),
        profile_xray: Some("https://services-xray"),
        profile_sts: Some("https://services-sts"),
        profile_all: Some("https://profile"),
        ..EndpointSources::default()
    };
    let mut seen = Vec::new();
    let clear: [fn(&mut EndpointSources<'_>); 7] = [
        |s| s.configured = None,
        |s| s.env_xray = None,
        |s| s.env_sts = None,
        |s| s.env_all = None,
        |s| s.profile_xray = Some(" "),
        |s| s.profile_sts = Some(""),
        |s| s.profile_all = None,
    ];
    for remove in clear {
        let endpoints = resolve("eu-west-1", &sources);
        assert_eq!(endpoints.sts_fallback, None);
        if sources.env_all.is_some() || sources.profile_all.is_some() {
            // A custom endpoint has one name.
            assert_eq!(endpoints.sts.dual_stack, None);
        }
        seen.push((endpoints.xray.usual, endpoints.sts.usual));
        remove(&mut sources);
    }
    let rows = [
        ("flag", "env-sts"),
        ("env-xray", "env-sts"),
        ("env", "env-sts"),
        ("env", "env"),
        ("services-xray", "services-sts"),
        ("profile", "services-sts"),
        ("profile", "profile"),
    ];
    assert_eq!(
        seen,
        rows.map(|(x, s)| (format!("https://{x}"), format!("https://{s}")))
    );
    assert_eq!(
        resolve("eu-west-1", &sources),
        resolve("eu-west-1", &EndpointSources::default())
    );
}

/// The names by which environment and profile say it, each switched on alone.
#[test]
fn names_of_variables_and_keys() {
    let load = |variables: &[(&str, &str)], profile: &str| {
        let file = format!("[default]\n{profile}\n[services s]\nxray =\n endpoint_url = sx\n");
        let profiles = Profiles::load(
            &|name| (name == "AWS_CONFIG_FILE").then(|| "/c".to_owned()),
            &|_| Ok(file.clone().into_bytes()),
        )
        .unwrap();
        let env = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let e = Endpoints::load("us-east-1", None, &env, &profiles).unwrap();
        (e.xray.usual, e.sts.usual)
    };
    let hosts = |xray: &str, sts: &str| (format!("https://{xray}"), format!("https://{sts}"));
    let (xray, sts) = (
        "xray.us-east-1.amazonaws.com",
        "sts.us-east-1.amazonaws.com",
    );
    let fips = hosts(
        "xray-fips.us-east-1.amazonaws.com",
        "sts-fips.us-east-1.amazonaws.com",
    );
    let dual = hosts("xray.us-east-1.api.aws", "sts.us-east-1.api.aws");
    for (variables, profile, expected) in [
        (&[][..], "", hosts(xray, sts)),
        (&[("AWS_ENDPOINT_URL_XRAY", "x")][..], "", hosts("x", sts)),
        (&[("AWS_ENDPOINT_URL_STS", "s")][..], "", hosts(xray, "s")),
        (&[("AWS_ENDPOINT_URL", "a")][..], "", hosts("a", "a")),
        (&[][..], "endpoint_url = p", hosts("p", "p")),
        (&[][..], "services = s", hosts("sx", sts)),
        (
            &[
                ("AWS_ENDPOINT_URL", "a"),
                ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "TRUE"),
            ][..],
            "",
            hosts(xray, sts),
        ),
        (
            &[][..],
            "endpoint_url = p\nignore_configured_endpoint_urls = true",
            hosts(xray, sts),
        ),
        (&[("AWS_USE_FIPS_ENDPOINT", "true")][..], "", fips.clone()),
        (&[][..], "use_fips_endpoint = true", fips),
        (
            &[("AWS_USE_FIPS_ENDPOINT", "false")][..],
            "use_fips_endpoint = true",
            hosts(xray, sts),
        ),
        (
            &[("AWS_USE_DUALSTACK_ENDPOINT", "True")][..],
            "",
            dual.clone(),
        ),
        (&[][..], "use_dualstack_endpoint = true", dual),
    ] {
        assert_eq!(
            load(variables, profile),
            expected,
            "{variables:?} {profile}"
        );
    }
}

#[test]
fn ignoring_configured_urls_spares_the_flag() {
    let sources = EndpointSources {
        configured: Some("https://flag"),
        env_sts: Some("https://env-sts"),
        env_all: Some("https://env"),
        profile_all: Some("https://profile"),
        ignore_urls: true,
        ..EndpointSources::default()
    };
    let endpoints = resolve("us-west-2", &sources);
    assert_eq!(endpoints.xray.usual, "https://flag");
    assert_eq!(endpoints.sts.usual, "https://sts.us-west-2.amazonaws.com");
}

#[test]
fn custom_endpoint_forms() {
    let set = |url| {
        Endpoints::resolve(
            "us-east-1",
            &EndpointSources {
                configured: Some(url),
                ..EndpointSources::default()
            },
        )
        .map(|endpoints| endpoints.xray.usual)
        .ok()
    };
    for (written, meant) in [
        (
            "https://vpce-1.xray.us-east-1.vpce.amazonaws.com/",
            "https://vpce-1.xray.us-east-1.vpce.amazonaws.com",
        ),
        (
            "vpce-1.xray.us-east-1.vpce.amazonaws.com",
            "https://vpce-1.xray.us-east-1.vpce.amazonaws.com",
        ),
        ("localhost:4566", "https://localhost:4566"),
        (
            " http://localhost:4566/base// ",
            "http://localhost:4566/base",
        ),
        ("http://[::1]:4566", "http://[::1]:4566"),
        ("HTTPS://Host", "HTTPS://Host"),
    ] {
        assert_eq!(set(written).as_deref(), Some(meant), "{written}");
    }
    for bad in [
        "ftp://host",
        "https://",
        "://",
        "https://host?x=1",
        "https://host#f",
        "https://host//a",
        "https://host/a//b",
        "https://host/./a",
        "https://host/a/..",
        "https://u:p@host",
        "ho st",
        "https://host:notaport",
        "https://[%10::1]",
        "https://[::1",
        "https://ho%20st",
    ] {
        assert_eq!(set(bad), None, "{bad}");
    }
}

#[test]
fn a_custom_endpoint_refuses_variants_by_name() {
    for (fips, dual_stack, words) in [(true, false, "FIPS"), (false, true, "dual-stack")] {
        let sources = EndpointSources {
            env_xray: Some("https://custom"),
            fips,
            dual_stack,
            ..EndpointSources::default()
        };
        let text = Endpoints::resolve("us-east-1", &sources)
            .unwrap_err()
            .to_string();
        assert!(text.starts_with("AWS_ENDPOINT_URL_XRAY"), "{text}");
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn regions_that_are_no_host_label() {
    let long = "a".repeat(64);
    for bad in [
        "", "-us", "us-", "us.east", "us east", "us/east", "us@evil", "é", &long,
    ] {
        assert_eq!(
            Endpoints::resolve(bad, &EndpointSources::default()),
            Err(EndpointError::Region(bad.to_owned()))
        );
    }
    assert!(is_region(&long[1..]));
}

proptest! {
    #[test]
    fn whatever_is_written_is_a_url_or_an_error(region in "\\PC{0,20}", url in "\\PC{0,40}") {
        let sources = EndpointSources { configured: Some(&url), ..EndpointSources::default() };
        if let Ok(endpoints) = Endpoints::resolve(&region, &sources) {
            for url in [&endpoints.xray.usual, &endpoints.sts.usual] {
                let request: Result<ureq::http::Uri, _> = format!("{url}/TraceSegments").parse();
                prop_assert!(request.is_ok_and(|uri| uri.host().is_some()), "{}", url);
            }
        }
    }
}
