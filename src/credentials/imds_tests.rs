use super::*;

fn read(
    env: &[(&str, &str)],
    profile: &[(&str, &str)],
) -> Result<Option<(String, bool)>, SourceError> {
    let lookup = |vars: &[(&str, &str)], name: &str| {
        let var = vars.iter().find(|(n, _)| *n == name);
        var.map(|(_, value)| (*value).to_owned())
    };
    let found = settings(&|n| lookup(env, n), &|n| lookup(profile, n))?;
    Ok(found.map(|s| (s.url, s.version_1)))
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
        let found = read(&env, &profile).unwrap();
        assert_eq!(found, Some((expected.to_owned(), version_1)), "{env:?}");
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
