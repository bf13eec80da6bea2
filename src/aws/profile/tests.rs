use super::*;
use proptest::prelude::*;

const CONFIG: &str = "
[default]
region = eu-west-1
services = local

[profile dev]
role_arn = arn:aws:iam::123456789012:role/dev
Source_Profile = base ; who signs
sso_session = corp
use_fips_endpoint = TRUE

[profile base]
aws_access_key_id = OLD
aws_secret_access_key = old
aws_session_token = old-token

[sso-session corp]
sso_region = us-east-1

[services local]
xray =
  # local stack
  endpoint_url = http://localhost:4566 # here
sts =
  endpoint_url =
";

const CREDENTIALS: &str = "
[base]
aws_access_key_id = NEW
aws_secret_access_key = 'new'
";

fn env_of<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    move |name| {
        pairs
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| (*v).to_owned())
    }
}

fn home(path: &Path) -> io::Result<Vec<u8>> {
    match path.to_str() {
        Some("/root/.aws/config") => Ok(CONFIG.into()),
        Some("/root/.aws/credentials") => Ok(CREDENTIALS.into()),
        Some("/latin1") => Ok(b"[default]\nregion = caf\xe9".to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn loaded(pairs: &[(&str, &str)]) -> Result<Profiles, MissingProfile> {
    Profiles::load(&env_of(pairs), &home)
}

#[test]
fn the_files_of_a_home() {
    let profiles = loaded(&[("HOME", "/root")]).unwrap();
    assert_eq!(profiles.selected_name(), "default");
    assert_eq!(profiles.value("region"), Some("eu-west-1"));
    assert_eq!(profiles.value("endpoint_url"), None);
    assert_eq!(
        profiles.service_endpoint("xray"),
        Some("http://localhost:4566")
    );
    assert_eq!(profiles.service_endpoint("sts"), None);
    assert!(!profiles.is_true("use_fips_endpoint"));
    let session = profiles.sso_session("corp").unwrap();
    assert_eq!(session.get("sso_region"), Some("us-east-1"));
    assert!(profiles.warnings().is_empty(), "{:?}", profiles.warnings());

    let dev = loaded(&[("HOME", "/root"), ("AWS_PROFILE", "dev")]).unwrap();
    assert_eq!(dev.value("source_profile"), Some("base"));
    assert!(dev.is_true("use_fips_endpoint"));
}

/// Regression by reasoning: merged key by key, a new pair would sign with the old pair's token.
#[test]
fn a_key_pair_of_the_credentials_file_brings_its_own_token() {
    let profiles = loaded(&[("HOME", "/root")]).unwrap();
    let base = profiles.get("base").unwrap();
    assert_eq!(base.get("aws_access_key_id"), Some("NEW"));
    assert_eq!(base.get("aws_secret_access_key"), Some("new"));
    assert_eq!(base.get("aws_session_token"), None);
}

/// As the Go SDK has it: half a pair is told as such, not completed with half of another.
#[test]
fn pairs_of_two_files_do_not_mix() {
    for (kept, lost) in [
        ("aws_access_key_id", "aws_secret_access_key"),
        ("aws_secret_access_key", "aws_access_key_id"),
    ] {
        let profiles = Profiles::load(&env_of(&[("HOME", "/root")]), &|path| {
            Ok(match path.ends_with("config") {
                true => CONFIG.into(),
                false => format!("[base]\n{kept} = NEW\nregion = x\n").into(),
            })
        });
        let profiles = profiles.unwrap();
        let base = profiles.get("base").unwrap();
        assert_eq!(base.get(kept), Some("NEW"));
        assert_eq!(base.get(lost), None);
        assert_eq!(base.get("aws_session_token"), None);
    }
}

#[test]
fn debug_output_holds_no_value() {
    let shown = format!("{:?}", loaded(&[("HOME", "/root")]).unwrap());
    assert!(shown.contains("aws_secret_access_key"), "{shown}");
    assert!(
        !shown.contains("NEW") && !shown.contains("\"new\""),
        "{shown}"
    );
}

#[test]
fn selection() {
    for (pairs, expected) in [
        (&[][..], "default"),
        (&[("AWS_PROFILE", "dev")][..], "dev"),
        (
            &[("AWS_PROFILE", "dev"), ("AWS_DEFAULT_PROFILE", "base")][..],
            "dev",
        ),
        (
            &[("AWS_PROFILE", " "), ("AWS_DEFAULT_PROFILE", "base")][..],
            "base",
        ),
        (&[("AWS_DEFAULT_PROFILE", "absent")][..], "absent"),
    ] {
        let pairs = [pairs, &[("HOME", "/root")]].concat();
        let profiles = loaded(&pairs).unwrap();
        assert_eq!(profiles.selected_name(), expected);
        assert_eq!(profiles.selected().is_some(), expected != "absent");
    }
}

#[test]
fn a_missing_profile_is_an_error_only_when_asked_for() {
    let error = loaded(&[("HOME", "/root"), ("AWS_PROFILE", "absent")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "AWS_PROFILE names the profile \"absent\", which is in neither /root/.aws/config nor \
         /root/.aws/credentials; add it or unset AWS_PROFILE"
    );
    let unread = loaded(&[("AWS_CONFIG_FILE", "/latin1"), ("AWS_PROFILE", "absent")]).unwrap_err();
    let ends = "unset AWS_PROFILE (/latin1: not read: not UTF-8)";
    assert!(unread.to_string().ends_with(ends), "{unread}");
    let homeless = loaded(&[("AWS_PROFILE", "absent")]).unwrap_err();
    assert!(homeless.to_string().contains("set HOME"), "{homeless}");
    assert!(loaded(&[]).unwrap().selected().is_none());
}

#[test]
fn unreadable_files_are_empty_and_named() {
    let absent = loaded(&[("HOME", "/nobody")]).unwrap();
    assert!(absent.warnings().is_empty());
    let named = loaded(&[("HOME", "/root"), ("AWS_CONFIG_FILE", "/absent")]).unwrap();
    assert!(named.warnings()[0].starts_with("/absent: not read"));
    assert!(named.get("base").is_some(), "the other file still counts");
    let latin1 = loaded(&[("AWS_SHARED_CREDENTIALS_FILE", "/latin1")]).unwrap();
    assert_eq!(latin1.warnings(), ["/latin1: not read: not UTF-8"]);
}

#[test]
fn locations_by_environment() {
    for (pairs, config, credentials) in [
        (&[][..], None, None),
        (&[("HOME", "")][..], None, None),
        (
            &[("HOME", "/")][..],
            Some("/.aws/config"),
            Some("/.aws/credentials"),
        ),
        (
            &[("HOME", "/h"), ("AWS_CONFIG_FILE", "~/c")][..],
            Some("/h/c"),
            Some("/h/.aws/credentials"),
        ),
        (&[("AWS_CONFIG_FILE", "~/c")][..], Some("~/c"), None),
        (
            &[
                ("HOME", "/h"),
                ("AWS_SHARED_CREDENTIALS_FILE", "/s"),
                ("AWS_CONFIG_FILE", " "),
            ][..],
            Some("/h/.aws/config"),
            Some("/s"),
        ),
    ] {
        let expected = Locations {
            config: config.map(PathBuf::from),
            credentials: credentials.map(PathBuf::from),
        };
        assert_eq!(locations(&env_of(pairs)), expected, "{pairs:?}");
    }
}

/// What the Go SDK reads beyond the specification. Files like these work with the official daemon.
#[test]
fn leniency_of_the_go_sdk() {
    for (text, expected, warnings) in [
        ("[default]\nregion: eu-west-1", "eu-west-1", 1),
        ("[default]\nregion = \"eu-west-1\"", "eu-west-1", 0),
        ("[default]\n  region = eu-west-1", "eu-west-1", 0),
        (
            "[default]\n\toutput = json\n\tregion = eu-west-1 # x",
            "eu-west-1",
            0,
        ),
        ("\u{feff}[default]\nregion = eu-west-1", "eu-west-1", 0),
        ("[default]\nnonsense\nregion = eu-west-1", "eu-west-1", 1),
        (
            "[broken\nregion = x\n[default]\nregion = eu-west-1",
            "eu-west-1",
            1,
        ),
        ("before = x\n[default]\nregion = eu-west-1", "eu-west-1", 1),
        (
            "[default]\nregion = eu-west-1\n[broken\nregion = x",
            "eu-west-1",
            1,
        ),
        ("[default]\nregion = '", "'", 0),
        ("[default]\nregion = eu-west-1\n  # home", "eu-west-1", 0),
        ("[default]\nregion = eu-west-1\n\t; a = b", "eu-west-1", 0),
        (
            "[default]\n # region = x\nregion = eu-west-1",
            "eu-west-1",
            0,
        ),
        ("[default]\nregion = \"a b\" c \"d\"", "\"a b\" c \"d\"", 0),
        ("[default]\nregion = \"it's 'x'\"", "it's 'x'", 0),
        ("[default]\nregion = \"\"", "", 0),
    ] {
        let sections = parse(text, ProfileFile::Config);
        let region = sections.profiles["default"].get("region");
        assert_eq!(region.unwrap_or_default(), expected, "{text:?}");
        assert_eq!(
            sections.warnings.len(),
            warnings,
            "{text:?} {:?}",
            sections.warnings
        );
    }
}

#[test]
fn warnings_name_the_line_and_never_quote_it() {
    let text = "[default]\naws_secret_access_key wJalrXUtnFEMI\n[wJal rXUt]\nwJ!al = wJalrXUtnFEMI";
    let warnings = parse(text, ProfileFile::Config).warnings;
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].starts_with("line 2: "), "{warnings:?}");
    assert!(warnings.iter().all(|w| !w.contains("wJal")), "{warnings:?}");
    let many = "nonsense\n".repeat(1000);
    assert!(parse(&many, ProfileFile::Config).warnings.len() <= 20);
}

proptest! {
    #[test]
    fn any_text_parses(text in "([\\[\\] \t#;=:a-c\n\r.'\"é]|default|profile |services ){0,60}") {
        for kind in [ProfileFile::Config, ProfileFile::Credentials] {
            for profile in parse(&text, kind).profiles.values() {
                for (key, _) in profile.properties() {
                    profile.get(key);
                    profile.sub(key, "endpoint_url");
                    prop_assert!(!key.is_empty() && key == key.to_ascii_lowercase());
                }
            }
        }
    }

    #[test]
    fn what_is_written_is_read_back(
        name in "[A-Za-z0-9_/.%@:+-]{1,12}",
        properties in proptest::collection::btree_map("[a-z_]{1,12}", "[!-~&&[^\"'#;]][!-~&&[^\"']]{0,20}", 0..5),
    ) {
        let mut text = format!("[profile {name}]\r\n");
        for (key, value) in &properties {
            text.push_str(&format!("{key} = {value}\r\n"));
        }
        let sections = parse(&text, ProfileFile::Config);
        let read: BTreeMap<String, String> = sections.profiles[&name]
            .properties()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        prop_assert_eq!(read, properties);
    }
}
