//! Settings of the EC2 metadata service: whatever the variables and the profile hold, an operation
//! has its limits, the profile never beats the environment, and "disabled" is obeyed.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use xray::credentials::sources::imds::settings;

const NAMES: [(&str, &str); 6] = [
    ("AWS_EC2_METADATA_DISABLED", ""),
    (
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "ec2_metadata_service_endpoint",
    ),
    (
        "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
        "ec2_metadata_service_endpoint_mode",
    ),
    ("AWS_EC2_METADATA_V1_DISABLED", "ec2_metadata_v1_disabled"),
    ("AWS_METADATA_SERVICE_TIMEOUT", "metadata_service_timeout"),
    (
        "AWS_METADATA_SERVICE_NUM_ATTEMPTS",
        "metadata_service_num_attempts",
    ),
];

fuzz_target!(|input: ([Option<String>; 6], [Option<String>; 6])| {
    let (variables, keys) = input;
    let look_up = |values: &[Option<String>; 6], is_wanted: &dyn Fn(&(&str, &str)) -> bool| {
        let at = NAMES.iter().position(is_wanted)?;
        values[at].clone()
    };
    let env = |name: &str| look_up(&variables, &|(variable, _)| *variable == name);
    let profile = |name: &str| look_up(&keys, &|(_, key)| *key == name);
    let is_true = |value: &Option<String>| {
        value
            .as_deref()
            .is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    };
    let is_set = |value: &Option<String>| value.as_deref().is_some_and(|v| !v.trim().is_empty());
    match settings(&env, &profile) {
        Ok(None) => assert!(is_true(&variables[0])),
        Ok(Some(found)) => {
            assert!(!is_true(&variables[0]));
            let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
            assert!((second..=minute).contains(&found.timeout));
            assert!((1..=10).contains(&found.tries));
            assert!(!found.url.ends_with('/'));
            if is_set(&variables[1]) {
                let given = variables[1].as_deref().unwrap_or_default();
                assert_eq!(found.url, given.trim().trim_end_matches('/'));
            }
            if is_set(&variables[3]) {
                assert_eq!(found.version_1, !is_true(&variables[3]));
            }
        }
        Err(_) => {
            assert!(!is_true(&variables[0]) && !is_set(&variables[1]) && !is_set(&keys[1]));
        }
    }
});
