use super::*;

fn read(vars: &[(&str, &str)]) -> Option<Settings> {
    settings(&|name| {
        let var = vars.iter().find(|(n, _)| *n == name);
        var.map(|(_, value)| (*value).to_owned())
    })
}

const RELATIVE: (&str, &str) = (RELATIVE_URI, "/v2/credentials/id?a=1");
const FULL: (&str, &str) = (FULL_URI, "http://169.254.170.23/v1/credentials");
const FILE: (&str, &str) = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/token");
const TOKEN: (&str, &str) = ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic x");

#[test]
fn settings_of_every_platform() {
    let relative = "http://169.254.170.2/v2/credentials/id?a=1";
    let value = || Authorization::Value("Basic x".into());
    let file = || Authorization::File("/token".into());
    for (vars, url, authorization) in [
        (vec![RELATIVE], relative, Authorization::None),
        (vec![FULL, RELATIVE], relative, Authorization::None),
        (vec![RELATIVE, TOKEN], relative, value()),
        (vec![FULL], FULL.1, Authorization::None),
        (vec![FULL, TOKEN], FULL.1, value()),
        (vec![FULL, TOKEN, FILE], FULL.1, file()),
        (vec![(RELATIVE_URI, " "), FULL, FILE], FULL.1, file()),
        (
            vec![FULL, TOKEN, ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "")],
            FULL.1,
            value(),
        ),
    ] {
        let expected = Settings {
            url: url.into(),
            authorization,
        };
        assert_eq!(read(&vars), Some(expected), "{vars:?}");
    }
    assert_eq!(read(&[TOKEN, FILE]), None);
    assert_eq!(read(&[(RELATIVE_URI, ""), (FULL_URI, " ")]), None);
    assert!(!format!("{:?}", read(&[FULL, TOKEN])).contains("Basic"));
}

/// The SDKs' vectors for the full URI, and their ambushes.
#[test]
fn keys_are_asked_for_in_the_clear_only_from_this_host() {
    let resolve = |host: &str, _| match host {
        "here.example" => Ok(vec![
            IpAddr::from([127, 0, 0, 7]),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ]),
        "here6.example" => Ok(vec![IpAddr::V6(Ipv6Addr::LOCALHOST)]),
        "mixed.example" => Ok(vec![
            IpAddr::from([127, 0, 0, 1]),
            IpAddr::from([192, 168, 1, 1]),
        ]),
        "empty.example" => Ok(vec![]),
        _ => Err("no such name".to_owned()),
    };
    for same in [
        "https://anywhere.example/keys?x=1",
        "https://192.168.1.1:8443/keys",
        "http://127.0.0.1:8080/keys",
        "http://127.1.2.3/keys",
        "http://[::1]:8080/keys",
        "http://[::ffff:127.0.0.1]/keys",
        "http://169.254.170.2/keys",
        "http://169.254.170.23/v1/credentials",
        "http://[fd00:ec2::23]/v1/credentials",
    ] {
        let target = target(same, &resolve).unwrap();
        assert_eq!((target.url.as_str(), target.host), (same, None), "{same}");
        assert!(!target.shown.contains("keys"), "{}", target.shown);
    }
    for (name, url, host) in [
        (
            "http://localhost:8080/keys?a=1",
            "http://127.0.0.1:8080/keys?a=1",
            "localhost:8080",
        ),
        ("http://LOCALHOST", "http://127.0.0.1/", "LOCALHOST"),
        (
            "http://here.example/keys",
            "http://127.0.0.7/keys",
            "here.example",
        ),
        (
            "http://here6.example:81/keys",
            "http://[::1]:81/keys",
            "here6.example:81",
        ),
    ] {
        let target = target(name, &resolve).unwrap();
        assert_eq!(
            (target.url.as_str(), target.host.as_deref()),
            (url, Some(host)),
            "{name}"
        );
    }
    for (bad, why) in [
        ("http://169.254.169.254/keys", "points to 169.254.169.254"),
        ("http://192.168.1.1/keys", "points to 192.168.1.1"),
        ("http://[fd00:ec2::24]/keys", "points to fd00:ec2::24"),
        ("http://[::ffff:10.0.0.1]/keys", "points to ::ffff:10.0.0.1"),
        (
            "http://mixed.example/keys",
            "points to mixed.example (192.168.1.1)",
        ),
        ("http://empty.example/keys", "has no address"),
        ("http://127.0.0.1@192.168.1.1/keys", "points to 192.168.1.1"),
        ("http://gone.example/keys", "cannot resolve the name"),
        ("ftp://127.0.0.1/keys", "has the scheme ftp"),
        ("/keys", "must be a whole URL"),
        ("http:///keys", "is not a URL"),
        ("", "is not a URL"),
        ("http://127.0.0.1/ke ys", "is not a URL"),
    ] {
        let error = target(bad, &resolve).unwrap_err().to_string();
        assert!(error.contains(why), "{bad}: {error}");
        assert!(!error.contains("keys\""), "{bad}: {error}");
    }
}
