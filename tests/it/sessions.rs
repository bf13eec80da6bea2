//! Sessions of people on a laptop, as the running daemon renews them.

use std::path::Path;

use serde_json::{Value, json};
use xray_test_support::daemon::Launch;
use xray_test_support::endpoint::{Endpoint, Reply};
use xray_test_support::keys::Keys;
use xray_test_support::load::{UdpClient, segment};
use xray_test_support::scratch::ScratchDir;
use xray_test_support::xray::FakeXray;

const PROOF_KEY: &str = "-----BEGIN EC PRIVATE KEY-----\n\
    MHcCAQEEIPt/u8InPLpQeQLJTvVX+sNDzni8vMDMt3Liu+nMBigfoAoGCCqGSM49\n\
    AwEHoUQDQgAEILkGG7rNOnxiIJlMgimY1UPP8eDMFP0DAY6WGjngP4bvTAiUCQ/I\n\
    ffut2379uP+OBCm2ovGpBOJRgrl1RspUOQ==\n-----END EC PRIVATE KEY-----\n";

/// A user with this `~/.aws/config` and this cache file below `~/.aws`.
fn user(fake: &FakeXray, config: &str, cache: (&str, &Value)) -> (Launch, ScratchDir) {
    let home = ScratchDir::new();
    let file = home.path().join(".aws").join(cache.0);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, cache.1.to_string()).unwrap();
    std::fs::write(home.path().join(".aws/config"), config).unwrap();
    fake.update(|state| state.keys = vec![Keys::new("ASIANEW", "hush", Some("t"))]);
    let launch = Launch::against(fake)
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY")
        .env("HOME", home.path().to_str().unwrap());
    (launch, home)
}

fn parsed(home: &ScratchDir, cache: &str) -> Value {
    let path: &Path = &home.path().join(".aws").join(cache);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_session_of_aws_login_goes_on() {
    let answer = json!({
        "accessToken": {
            "accessKeyId": "ASIANEW",
            "secretAccessKey": "hush",
            "sessionToken": "t",
        },
        "tokenType": "aws_sigv4",
        "expiresIn": 900,
        "refreshToken": "next",
    });
    let sign_in = Endpoint::start(move |_, _| Reply::json(answer.to_string()));
    let fake = FakeXray::start();
    let session = "arn:aws:sts::012345678910:assumed-role/Admin/admin";
    let file = "login/cache/4b0ba8f99f075c0633e122fd73346ce203a3faf18ea0310eb2d29df1bab2e255.json";
    let cached = json!({
        "accessToken": {
            "accessKeyId": "ASIAOLD",
            "secretAccessKey": "old",
            "sessionToken": "old",
            "accountId": "012345678910",
            "expiresAt": "2025-01-01T00:00:00Z",
        },
        "clientId": "arn:aws:signin:::devtools/same-device",
        "refreshToken": "once",
        "dpopKey": PROOF_KEY,
    });
    let config = format!("[default]\nlogin_session = {session}\n");
    let (launch, home) = user(&fake, &config, (file, &cached));
    let daemon = launch
        .env("AWS_ENDPOINT_URL_SIGNIN", &sign_in.url())
        .start();
    UdpClient::new(daemon.udp).document(segment(1));
    fake.wait_for("the document", |state| state.accepted.len() == 1);
    daemon.wait_log("AWS credentials from: aws login session of profile default");
    assert_eq!(sign_in.requests().len(), 1);
    assert_eq!(parsed(&home, file)["refreshToken"], "next");
}

#[test]
fn a_session_with_the_identity_center_goes_on() {
    let center = Endpoint::start(|_, request| match request.path() {
        "/token" => Reply::json(r#"{"accessToken":"new","expiresIn":3600,"refreshToken":"next"}"#),
        _ => {
            assert_eq!(request.header("x-amz-sso_bearer_token"), Some("new"));
            let expiration = 4_102_444_800_000_u64;
            let keys = json!({"accessKeyId": "ASIANEW", "secretAccessKey": "hush",
                              "sessionToken": "t", "expiration": expiration});
            Reply::json(json!({ "roleCredentials": keys }).to_string())
        }
    });
    let fake = FakeXray::start();
    // SHA-1 of the session's name.
    let file = "sso/cache/34c6fceca75e456f25e7e99531e2425c6c1de443.json";
    let cached = json!({
        "accessToken": "old",
        "expiresAt": "2025-01-01T00:00:00Z",
        "clientId": "id",
        "clientSecret": "secret",
        "registrationExpiresAt": "2100-01-01T00:00:00Z",
        "refreshToken": "once",
    });
    let config = "[default]\nsso_session = dev\nsso_account_id = 1\nsso_role_name = r\n\
        [sso-session dev]\nsso_region = eu-west-1\nsso_start_url = https://s\n";
    let (launch, home) = user(&fake, config, (file, &cached));
    let daemon = launch
        .env("AWS_ENDPOINT_URL_SSO", &center.url())
        .env("AWS_ENDPOINT_URL_SSO_OIDC", &center.url())
        .start();
    UdpClient::new(daemon.udp).document(segment(1));
    fake.wait_for("the document", |state| state.accepted.len() == 1);
    assert_eq!(center.requests().len(), 2);
    assert_eq!(parsed(&home, file)["refreshToken"], "next");
}
