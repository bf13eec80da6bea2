use super::*;
use crate::credentials::sources::container::Authorization;
use std::io;
use std::path::Path;
use std::time::Duration;

const ID: (&str, &str) = ("AWS_ACCESS_KEY_ID", "ENV");
const SECRET: (&str, &str) = ("AWS_SECRET_ACCESS_KEY", "hush");
const TOKEN_FILE: (&str, &str) = ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token");
const ROLE_ARN: (&str, &str) = ("AWS_ROLE_ARN", "arn:env");
const RELATIVE: (&str, &str) = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2");
const FULL: (&str, &str) = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1/");
const NO_EC2: (&str, &str) = ("AWS_EC2_METADATA_DISABLED", "true");
const KEYS: &str = "aws_access_key_id = FILE\naws_secret_access_key = hush\n";

fn env_of(vars: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    let mut vars: Vec<_> = vars
        .iter()
        .map(|(n, v)| (n.to_string(), v.to_string()))
        .collect();
    vars.push(("HOME".into(), "/home/me".into()));
    move |name| {
        let var = vars.iter().find(|(n, _)| n == name);
        var.map(|(_, value)| value.clone())
    }
}

fn profiles(env: &Lookup<'_>, config: &str) -> Profiles {
    let read = |path: &Path| match path.ends_with("config") {
        true => Ok(config.as_bytes().to_vec()),
        false => Err(io::ErrorKind::NotFound.into()),
    };
    Profiles::load(env, &read).unwrap()
}

fn selection(
    vars: &[(&str, &str)],
    config: &str,
    role_arn: Option<&str>,
) -> Result<Selection, SourceError> {
    let env = env_of(vars);
    select(
        &env,
        &profiles(&env, config),
        role_arn.map(Role::new).as_ref(),
    )
}

fn plan(vars: &[(&str, &str)], config: &str) -> Result<Plan, String> {
    let selection = selection(vars, config, None).map_err(|e| e.to_string())?;
    Ok(selection.plan)
}

fn keys_of(profile: &str, id: &str) -> Plan {
    let credentials = Credentials::new(id, "hush", None, None, "profile");
    Plan::Profile(profile.to_owned(), credentials)
}

fn environment(variable: &'static str) -> Plan {
    let credentials = Credentials::new("ENV", "hush", None, None, "environment");
    Plan::Environment(credentials, variable)
}

fn web(role_arn: &str, session_name: Option<&str>) -> Plan {
    Plan::WebIdentity(WebIdentity {
        token_file: "/token".into(),
        role_arn: role_arn.to_owned(),
        session_name: session_name.map(str::to_owned),
    })
}

fn on(base: Plan, arn: &str) -> Plan {
    Plan::Role(Box::new(base), Role::new(arn))
}

fn container(url: &str) -> Plan {
    let relative = url.starts_with("http://169.254.170.2/");
    Plan::Container(container::ContainerSettings {
        variable: if relative { RELATIVE.0 } else { FULL.0 },
        url: url.to_owned(),
        authorization: Authorization::None,
    })
}

fn ec2() -> imds::ImdsSettings {
    imds::ImdsSettings {
        url: "http://169.254.169.254".to_owned(),
        url_without_ipv4: Some("http://[fd00:ec2::254]".to_owned()),
        version_1: true,
        timeout: Duration::from_secs(1),
        tries: 3,
    }
}

#[test]
fn the_order_of_the_go_sdk() {
    let ecs = || container("http://169.254.170.2/v2");
    let with_keys = format!("[default]\n{KEYS}");
    let other = format!("[profile other]\n{KEYS}");
    let chosen = ("AWS_PROFILE", "other");
    for (vars, config, expected) in [
        // Environment keys beat everything, an explicit profile too.
        (
            vec![ID, SECRET, TOKEN_FILE, ROLE_ARN, RELATIVE, chosen],
            &other,
            environment("AWS_ACCESS_KEY_ID"),
        ),
        (
            vec![("AWS_ACCESS_KEY", "ENV"), ("AWS_SECRET_KEY", "hush")],
            &other,
            environment("AWS_ACCESS_KEY"),
        ),
        // Half a pair and blank values are passed over.
        (vec![ID, TOKEN_FILE, ROLE_ARN], &other, web("arn:env", None)),
        (
            vec![ID, ("AWS_SECRET_ACCESS_KEY", " ")],
            &with_keys,
            keys_of("default", "FILE"),
        ),
        // Then the environment's web identity.
        (
            vec![TOKEN_FILE, ROLE_ARN, chosen],
            &other,
            web("arn:env", None),
        ),
        (
            vec![TOKEN_FILE, ROLE_ARN, ("AWS_ROLE_SESSION_NAME", "me")],
            &with_keys,
            web("arn:env", Some("me")),
        ),
        (
            vec![("AWS_WEB_IDENTITY_TOKEN_FILE", ""), RELATIVE],
            &other,
            ecs(),
        ),
        // Then the profile.
        (vec![RELATIVE], &with_keys, keys_of("default", "FILE")),
        (vec![RELATIVE, chosen], &other, keys_of("other", "FILE")),
        (
            vec![RELATIVE, ("AWS_DEFAULT_PROFILE", "other")],
            &other,
            keys_of("other", "FILE"),
        ),
        // Container variables count when the profile holds nothing.
        (vec![RELATIVE, FULL], &other, ecs()),
        (
            vec![FULL, ("AWS_DEFAULT_PROFILE", "none")],
            &other,
            container("http://127.0.0.1/"),
        ),
        (
            vec![FULL],
            &"[default]\nregion = eu-west-1\n".to_owned(),
            container("http://127.0.0.1/"),
        ),
    ] {
        assert_eq!(plan(&vars, config), Ok(expected), "{vars:?} {config}");
    }
}

#[test]
fn the_last_resort_tells_what_was_passed_over() {
    let Ok(Plan::LastResort(settings, passed)) = plan(&[ID], "[default]\nregion = x\n") else {
        panic!("not the last resort");
    };
    assert_eq!(settings, Some(ec2()));
    assert_eq!(
        passed,
        [
            "environment: AWS_SECRET_ACCESS_KEY is not set, although its other half is",
            "web identity: AWS_WEB_IDENTITY_TOKEN_FILE is not set",
            "profile default: holds no credentials",
            "container: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set",
        ]
    );
    let Ok(Plan::LastResort(settings, passed)) = plan(&[NO_EC2], "") else {
        panic!("not the last resort");
    };
    assert_eq!(settings, None);
    assert_eq!(passed[2], "profile default: not in the shared files");
    // The profile has its say about the metadata service.
    let config = "[default]\nec2_metadata_service_endpoint = http://127.0.0.1:9/\n";
    let Ok(Plan::LastResort(Some(settings), _)) = plan(&[], config) else {
        panic!("not the last resort");
    };
    assert_eq!(settings.url, "http://127.0.0.1:9");
}

#[test]
fn the_role_of_the_command_line_goes_on_top_of_any_source() {
    for vars in [
        vec![ID, SECRET],
        vec![TOKEN_FILE, ROLE_ARN],
        vec![RELATIVE],
        vec![],
    ] {
        let base = plan(&vars, "").unwrap();
        let found = selection(&vars, "", Some("arn:top")).unwrap().plan;
        assert_eq!(found, on(base, "arn:top"));
    }
    let Plan::Role(_, role) = selection(&[], "", Some("arn:top")).unwrap().plan else {
        panic!("no role");
    };
    assert_eq!(
        (role.session_name.as_str(), role.duration),
        ("xray-daemon", 900)
    );
}

#[test]
fn chains_of_profiles() {
    let b = format!("[profile b]\n{KEYS}");
    for (config, expected) in [
        // one step, two steps
        (format!("[default]\nrole_arn=r1\nsource_profile=b\n{b}"), on(keys_of("b", "FILE"), "r1")),
        (
            format!("[default]\nrole_arn=r1\nsource_profile=a\n[profile a]\nrole_arn=r2\nsource_profile=b\n{b}"),
            on(on(keys_of("b", "FILE"), "r2"), "r1"),
        ),
        // keys of a source beat its role; those of the first profile do not
        (format!("[default]\nrole_arn=r1\nsource_profile=b\n{b}role_arn=r2\nsource_profile=c\n"), on(keys_of("b", "FILE"), "r1")),
        (
            format!("[default]\naws_access_key_id=X\naws_secret_access_key=hush\nrole_arn=r1\nsource_profile=b\n{b}"),
            on(keys_of("b", "FILE"), "r1"),
        ),
        // its own source
        (format!("[default]\nrole_arn=r1\nsource_profile=default\n{KEYS}"), on(keys_of("default", "FILE"), "r1")),
        (
            "[default]\nrole_arn=r1\nsource_profile=a\n[profile a]\ncredential_process=/bin/x\n".into(),
            on(Plan::Process("a".into(), "/bin/x".into()), "r1"),
        ),
        // keys with a role but no source: as the Go SDK
        (format!("[default]\nrole_arn=r1\n{KEYS}"), on(keys_of("default", "FILE"), "r1")),
        ("[default]\nrole_arn=r1\ncredential_process=/bin/x\n".into(), on(Plan::Process("default".into(), "/bin/x".into()), "r1")),
        ("[default]\ncredential_process = /bin/x y\n".into(), Plan::Process("default".into(), "/bin/x y".into())),
        // web identity: the profile's role is not assumed twice, the environment's not borrowed
        ("[default]\nrole_arn=r1\nweb_identity_token_file=/token\nrole_session_name=me\n".into(), web("r1", Some("me"))),
        (
            "[default]\nrole_arn=r1\nsource_profile=w\n[profile w]\nrole_arn=r2\nweb_identity_token_file=/token\n".into(),
            on(web("r2", None), "r1"),
        ),
        ("[default]\nrole_arn=r1\ncredential_source=EcsContainer\n".into(), on(container("http://169.254.170.2/v2"), "r1")),
        ("[default]\nrole_arn=r1\ncredential_source=Ec2InstanceMetadata\n".into(), on(Plan::Ec2(ec2()), "r1")),
        ("[default]\nrole_arn=r1\n".into(), on(container("http://169.254.170.2/v2"), "r1")),
    ] {
        assert_eq!(plan(&[RELATIVE, ROLE_ARN], &config), Ok(expected), "{config}");
    }
    // Environment as a source of a profile, which is looked at only without environment keys.
    let config = "[default]\nrole_arn=r1\ncredential_source=Environment\n";
    assert!(
        plan(&[ID], config)
            .unwrap_err()
            .contains("are not both set")
    );
}

#[test]
fn a_role_says_what_the_profile_says() {
    let config = format!(
        "[default]\nrole_arn=r1\nsource_profile=b\nexternal_id=x\nrole_session_name=me\n\
         duration_seconds=3600\n[profile b]\n{KEYS}"
    );
    let Ok(Plan::Role(_, role)) = plan(&[], &config) else {
        panic!("no role");
    };
    assert_eq!(
        role,
        Role {
            arn: "r1".into(),
            session_name: "me".into(),
            external_id: Some("x".into()),
            duration: 3600,
        }
    );
    let Ok(Plan::Role(_, role)) = plan(&[], &config.replace("3600", "60")) else {
        panic!("no role");
    };
    assert_eq!(role.duration, 900);
}

#[test]
fn identity_center() {
    let expected = |profile: &str, key: &str| {
        Ok(Plan::Sso(SsoSettings {
            profile: profile.into(),
            cache: crate::credentials::sources::sso::cache_file("/home/me", key),
            region: "eu-west-1".into(),
            account_id: "1".into(),
            role_name: "r".into(),
        }))
    };
    let account = "sso_account_id=1\nsso_role_name=r\n";
    let center = "sso_region=eu-west-1\nsso_start_url=https://s\n";
    let config = format!("[default]\nsso_session=s\n{account}[sso-session s]\n{center}");
    assert_eq!(plan(&[], &config), expected("default", "s"));
    // What the profile repeats must be the same.
    let config = format!("[default]\nsso_session=s\n{account}{center}[sso-session s]\n{center}");
    assert_eq!(plan(&[], &config), expected("default", "s"));
    let config = format!("[default]\n{account}{center}");
    assert_eq!(plan(&[], &config), expected("default", "https://s"));
    for (config, why) in [
        (
            format!("[default]\nsso_session=s\n{account}"),
            "section [sso-session s] is missing",
        ),
        (format!("[default]\n{center}"), "sso_account_id is missing"),
        (format!("[default]\n{account}"), "sso_start_url is missing"),
        (
            format!("[default]\nsso_session=s\n{account}sso_region=x\n[sso-session s]\n{center}"),
            "sso_region is not that of [sso-session s]; remove it from the profile",
        ),
    ] {
        let error = plan(&[], &config).unwrap_err();
        assert_eq!(error, format!("profile default: {why}"));
    }
}

/// As the Go SDK has it: other keys, and blank ones, say nothing about where credentials come from.
#[test]
fn not_every_sso_key_asks_for_a_session() {
    let config = "[default]\nsso_registration_scopes=x\nsso_account_id=\ncredential_process=p\n";
    let expected = Plan::Process("default".into(), "p".into());
    assert_eq!(plan(&[], config), Ok(expected));
}

#[test]
fn sessions_of_aws_login() {
    let session = "arn:aws:sts::012345678910:assumed-role/Admin/admin";
    let config = format!("[default]\nlogin_session = {session}\n");
    let file = "4b0ba8f99f075c0633e122fd73346ce203a3faf18ea0310eb2d29df1bab2e255.json";
    for (vars, folder) in [
        (vec![], "/home/me/.aws/login/cache"),
        (vec![("AWS_LOGIN_CACHE_DIRECTORY", "/cache")], "/cache"),
        (
            vec![("AWS_LOGIN_CACHE_DIRECTORY", "~/cache")],
            "/home/me/cache",
        ),
    ] {
        let expected = Plan::Login(LoginSettings {
            profile: "default".into(),
            cache: std::path::Path::new(folder).join(file),
        });
        assert_eq!(plan(&vars, &config), Ok(expected));
    }
    // After sso_ keys, before a program.
    let both = format!("{config}credential_process = /bin/true\n");
    assert!(matches!(plan(&[], &both), Ok(Plan::Login(_))));
    let on_top = format!(
        "[default]\nrole_arn=r\nsource_profile=b\n[profile b]\n{}",
        "login_session = s\n"
    );
    let Ok(Plan::Role(base, _)) = plan(&[], &on_top) else {
        panic!("no role");
    };
    assert!(matches!(*base, Plan::Login(_)));
}

#[test]
fn contradictions_are_told_and_nothing_else_is_tried() {
    let b = format!("[profile b]\n{KEYS}");
    for (vars, config, why) in [
        (vec![TOKEN_FILE], String::new(), "AWS_ROLE_ARN is not"),
        (vec![ID, SECRET, ("AWS_SESSION_TOKEN", "a\nb")], String::new(), "Token has an impossible value"),
        (vec![], "[default]\naws_access_key_id=x\n".into(), "profile default: aws_secret_access_key is missing"),
        (vec![], "[default]\naws_secret_access_key=hush\n".into(), "profile default: aws_access_key_id is missing"),
        (vec![], format!("[default]\naws_session_token=a b\n{KEYS}"), "profile default: Token has an impossible value"),
        (vec![], "[default]\nrole_arn=r\nsource_profile=x\n".into(), "profile default: its source_profile x is in no file"),
        (vec![], "[default]\nrole_arn=r\nsource_profile=b\n[profile b]\nregion=x\n".into(), "profile b: is the source_profile of another one, but holds no"),
        (vec![RELATIVE], "[default]\nrole_arn=r\nsource_profile=b\n[profile b]\nrole_arn=r\n".into(), "profile b: is the source_profile"),
        (vec![], "[default]\nrole_arn=r\nsource_profile=b\n[profile b]\nrole_arn=r\nsource_profile=default\n".into(), "infinite loop"),
        (vec![], "[default]\nrole_arn=r\nsource_profile=default\n".into(), "is its own source_profile, but holds no keys"),
        (vec![], format!("[default]\nrole_arn=r\nsource_profile=b\ncredential_source=Environment\n{b}"), "has both source_profile and credential_source"),
        (vec![], format!("[default]\nrole_arn=r\nsource_profile=b\ncredential_process=x\n{b}"), "has both source_profile and credential_process"),
        (vec![], format!("[default]\nsource_profile=b\n{b}"), "source_profile needs a role_arn"),
        (vec![], "[default]\ncredential_source=Environment\n".into(), "credential_source needs a role_arn"),
        (vec![ROLE_ARN], "[default]\nweb_identity_token_file=/token\n".into(), "web_identity_token_file needs a role_arn"),
        (vec![RELATIVE], "[default]\nrole_arn=r\ncredential_source=ecscontainer\n".into(), "must be Environment, EcsContainer or"),
        (vec![], "[default]\nrole_arn=r\ncredential_source=EcsContainer\n".into(), "RELATIVE_URI and _FULL_URI are not set"),
        (vec![NO_EC2], "[default]\nrole_arn=r\ncredential_source=Ec2InstanceMetadata\n".into(), "AWS_EC2_METADATA_DISABLED is true"),
        (vec![], format!("[default]\nrole_arn=r\nsource_profile=b\nmfa_serial=m\n{b}"), "mfa_serial"),
        (vec![], format!("[default]\nrole_arn=r\nsource_profile=b\nduration_seconds=1h\n{b}"), "duration_seconds is not a number"),
        (vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "x")], String::new(), "must be IPv4 or IPv6"),
    ] {
        let error = plan(&vars, &config).unwrap_err();
        assert!(error.contains(why), "{config}: {error}");
        assert!(!error.contains("hush"), "{error}");
    }
}

#[test]
fn oddities_are_warnings() {
    let warnings = |vars: &[(&str, &str)], config: &str| {
        let found = selection(vars, config, None).unwrap().warnings;
        found.join("; ")
    };
    assert!(warnings(&[ID], "").starts_with("environment: AWS_SECRET_ACCESS_KEY is not set"));
    assert!(warnings(&[RELATIVE], "[default]\nrole_arn=r\n").contains("neither source_profile"));
    assert_eq!(warnings(&[RELATIVE], "[default]\nregion=x\n"), "");
}

#[test]
fn what_counts_as_configured() {
    let endpoint = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9");
    for (vars, config, role_arn, expected) in [
        (vec![], "", None, false),
        (vec![ID], "", None, false),
        (
            vec![("AWS_REGION", "eu-west-1")],
            "[default]\nregion=x\n",
            None,
            false,
        ),
        (vec![], "", Some("arn"), true),
        (vec![ID, SECRET], "", None, true),
        (vec![TOKEN_FILE], "", None, true),
        (vec![RELATIVE], "", None, true),
        (vec![endpoint], "", None, true),
        (vec![], "[default]\naws_access_key_id=half\n", None, true),
        (vec![], "[default]\ncredential_process=x\n", None, true),
        (
            vec![("AWS_DEFAULT_PROFILE", "none")],
            "[default]\ncredential_process=x\n",
            None,
            false,
        ),
    ] {
        let env = env_of(&vars);
        let found = is_configured(&env, &profiles(&env, config), role_arn);
        assert_eq!(found, expected, "{vars:?} {config} {role_arn:?}");
    }
}

#[test]
fn no_plan_shows_a_secret() {
    let shown = format!(
        "{:?}",
        (environment("AWS_ACCESS_KEY_ID"), keys_of("p", "FILE"))
    );
    assert!(!shown.contains("hush"), "{shown}");
}
