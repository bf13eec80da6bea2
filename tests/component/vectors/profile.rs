use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use xray::aws::profile::{Profile, Profiles, locations};

/// Both files are read through the same door as at run time, so that merging is tested too. Where
/// the specification wants an error, this daemon skips the line and must say so.
#[test]
fn profile_parser_cases() {
    let suite: Value =
        serde_json::from_str(include_str!("data/profile-parser-tests.json")).unwrap();
    let cases = suite["tests"].as_array().unwrap();
    assert_eq!(cases.len(), 65);
    let mut warned = 0;
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let file = |key: &str| -> io::Result<Vec<u8>> {
            match case["input"][key].as_str() {
                Some(text) => Ok(text.as_bytes().to_vec()),
                None => Err(io::ErrorKind::NotFound.into()),
            }
        };
        let profiles = Profiles::load(
            &|name| (name == "HOME").then(|| "/".to_owned()),
            &|path: &Path| {
                file(match path.to_str() {
                    Some("/.aws/config") => "configFile",
                    _ => "credentialsFile",
                })
            },
        )
        .unwrap();
        if let Some(error) = case["output"]["errorContaining"].as_str() {
            let heard = profiles.warnings().iter().any(|w| w.contains(error));
            assert!(heard, "{name}: {error:?} not in {:?}", profiles.warnings());
            warned += 1;
            continue;
        }
        let config = &case["output"]["config"];
        assert_eq!(
            written(profiles.profiles()),
            expected(&config["profiles"]),
            "{name}"
        );
        if let Some(sessions) = config["sso_sessions"].as_object() {
            for (session, properties) in sessions {
                let read = profiles.sso_session(session).unwrap();
                let read = written([(session.as_str(), read)].into_iter());
                assert_eq!(read[session], expected_properties(properties), "{name}");
            }
        }
    }
    assert_eq!(warned, 10);
}

#[test]
fn file_location_cases() {
    let suite: Value = serde_json::from_str(include_str!("data/file-location-tests.json")).unwrap();
    let mut run = 0;
    for case in suite["tests"].as_array().unwrap() {
        if case["platform"] != "linux" {
            continue;
        }
        run += 1;
        let name = case["name"].as_str().unwrap();
        let env = |name: &str| case["environment"][name].as_str().map(str::to_owned);
        let found = locations(&env);
        let path = |key: &str| case[key].as_str().map(PathBuf::from);
        assert_eq!(found.config, path("configLocation"), "{name}");
        assert_eq!(found.credentials, path("credentialsLocation"), "{name}");
        if let Some(profile) = case["profile"].as_str() {
            let file = format!("[profile {profile}]\n").into_bytes();
            let profiles = Profiles::load(&env, &|_| Ok(file.clone())).unwrap();
            assert_eq!(profiles.selected_name(), profile, "{name}");
        }
    }
    assert_eq!(run, 4);
}

type Properties = BTreeMap<String, String>;

fn written<'a>(
    profiles: impl Iterator<Item = (&'a str, &'a Profile)>,
) -> BTreeMap<String, Properties> {
    profiles
        .map(|(name, profile)| {
            let properties = profile
                .properties()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
            (name.to_owned(), properties)
        })
        .collect()
}

fn expected(profiles: &Value) -> BTreeMap<String, Properties> {
    let profiles = profiles.as_object().unwrap();
    profiles
        .iter()
        .map(|(name, properties)| (name.clone(), expected_properties(properties)))
        .collect()
}

fn expected_properties(properties: &Value) -> Properties {
    let properties = properties.as_object().unwrap();
    properties
        .iter()
        .map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()))
        .collect()
}
