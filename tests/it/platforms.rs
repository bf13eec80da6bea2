//! Whole platforms, as the real binary meets them.

use std::time::{Duration, SystemTime};

use xray_test_support::daemon::Launch;
use xray_test_support::ec2::{Ec2, FakeEc2};
use xray_test_support::endpoint::{Endpoint, Reply};
use xray_test_support::http::Response;
use xray_test_support::keys::{Keys, timestamp};
use xray_test_support::load::{UdpClient, segment};
use xray_test_support::scratch::ScratchFile;
use xray_test_support::sts;
use xray_test_support::xray::{FakeXray, REGION};

fn in_an_hour() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

/// The fake X-Ray knows only the keys of the role, and STS only these.
fn role(known: Vec<Keys>) -> (Endpoint, FakeXray) {
    let role = Keys::new("ASIASTS", "hush", Some("token/of+sts==")).until(in_an_hour());
    let fake = FakeXray::start();
    fake.update(|state| state.keys = vec![role.clone()]);
    let sts = Endpoint::start(move |_, request| {
        Reply::Send(sts::assume(request, &known, REGION, || role.clone()))
    });
    (sts, fake)
}

fn without_keys(fake: &FakeXray) -> Launch {
    Launch::against(fake)
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY")
}

/// An instance with nothing but its role, behind a company's proxy.
#[test]
fn an_ec2_instance_asks_its_metadata_service_past_any_proxy() {
    let proxy = Endpoint::start(|_, _| Reply::Send(Response::new(502, "")));
    let document = format!(r#"{{"region":"{REGION}"}}"#);
    let ec2 = FakeEc2::start(Ec2::with_role("ASIAEC2", &timestamp(in_an_hour())).page(
        "dynamic/instance-identity/document",
        200,
        &document,
    ));
    let fake = FakeXray::start();
    let keys = Keys::new("ASIAEC2", "hush", Some("session/token/of/fakes"));
    fake.update(|state| state.keys = vec![keys]);
    let mut launch = Launch::bare()
        .args(["-b", "127.0.0.1:0", "-t", "127.0.0.1:0"])
        .without_env("AWS_EC2_METADATA_DISABLED")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &ec2.endpoint.url())
        .env("AWS_ENDPOINT_URL_XRAY", &fake.url());
    for variable in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        launch = launch.env(variable, &proxy.url());
    }
    let daemon = launch.start();
    UdpClient::new(daemon.udp).document(segment(1));
    fake.wait_for("the document", |state| state.accepted.len() == 1);
    let chosen = daemon.wait_log("Using region: ");
    assert!(
        chosen.contains("(from EC2 metadata), AWS credentials from: EC2 instance role ("),
        "{chosen}"
    );
    assert!(proxy.request_lines().is_empty());
}

/// A pod with a service account's role. `Endpoint` moves X-Ray, not STS.
#[test]
fn a_service_account_becomes_its_role() {
    let (sts, fake) = role(Vec::new());
    let token = ScratchFile::new("service.account.jwt");
    let config = ScratchFile::new(format!("Endpoint: {}\nVersion: 2\n", fake.url()));
    let daemon = without_keys(&fake)
        .without_env("AWS_ENDPOINT_URL_XRAY")
        .args(["-c", &config.text()])
        .env("AWS_ENDPOINT_URL_STS", &sts.url())
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", &token.text())
        .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod")
        .start();
    UdpClient::new(daemon.udp).document(segment(1));
    fake.wait_for("the document", |state| state.accepted.len() == 1);
    let request = &sts.requests()[0];
    assert_eq!(request.header("authorization"), None);
    assert_eq!(
        sts::form(request)["WebIdentityToken"],
        "service.account.jwt"
    );
}

#[test]
fn the_role_of_another_account_is_assumed() {
    let (sts, fake) = role(vec![Keys::new("AKIABASE", "base secret", None)]);
    let daemon = Launch::against(&fake)
        .env("AWS_ACCESS_KEY_ID", "AKIABASE")
        .env("AWS_SECRET_ACCESS_KEY", "base secret")
        .env("AWS_ENDPOINT_URL_STS", &sts.url())
        .args(["-r", "arn:aws:iam::210987654321:role/xray"])
        .args(["--external-id", "partner/7"])
        .start();
    UdpClient::new(daemon.udp).document(segment(1));
    fake.wait_for("the document", |state| state.accepted.len() == 1);
    let form = sts::form(&sts.requests()[0]);
    assert_eq!(form["RoleArn"], "arn:aws:iam::210987654321:role/xray");
    assert_eq!(form["RoleSessionName"], "xray-daemon");
    assert_eq!(form["ExternalId"], "partner/7");
}

/// A laptop with a profile and a program that prints its keys.
#[test]
fn a_profile_with_a_credential_process_and_a_region() {
    let fake = FakeXray::start();
    fake.update(|state| state.keys = vec![Keys::new("AKIAPROC", "hush", None)]);
    let json = r#"{"Version":1,"AccessKeyId":"AKIAPROC","SecretAccessKey":"hush"}"#;
    let printed = ScratchFile::new(json);
    let config = ScratchFile::new(format!(
        "[profile dev]\nregion = {REGION}\ncredential_process = /bin/cat '{}'\n",
        printed.text()
    ));
    let daemon = Launch::bare()
        .args(["-b", "127.0.0.1:0", "-t", "127.0.0.1:0", "-o"])
        .env("AWS_ENDPOINT_URL_XRAY", &fake.url())
        .env("AWS_CONFIG_FILE", &config.text())
        .env("AWS_PROFILE", "dev")
        .start();
    UdpClient::new(daemon.udp).document(segment(1));
    fake.wait_for("the document", |state| state.accepted.len() == 1);
    daemon.wait_log("credential_process of profile dev");
}

#[test]
fn a_profile_that_is_nowhere_ends_it() {
    let ended = Launch::bare()
        .args(["-b", "127.0.0.1:0", "-t", "127.0.0.1:0", "-o", "-n", REGION])
        .env("AWS_PROFILE", "absent")
        .run();
    assert_eq!(ended.code, Some(1));
    let text = ended.log.join("\n");
    assert!(text.contains("the profile \"absent\""), "{text}");
    assert!(text.contains("add it or unset AWS_PROFILE"), "{text}");
}

/// Nobody can renew the environment of a running process.
#[test]
fn keys_of_the_environment_that_have_expired_are_told() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake)
        .env("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z")
        .start();
    daemon.wait_log("those of the environment expired at 2020-01-01T00:00:00Z");
}
