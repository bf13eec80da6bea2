//! Whole platforms, as the real binary meets them.

use std::time::{Duration, SystemTime};

use xray::credentials::date;

use super::Scratch;
use crate::support::daemon::Launch;
use crate::support::fake_xray::{FakeXray, REGION};
use crate::support::http::Response;
use crate::support::keys::Keys;
use crate::support::load::{Client, segment};
use crate::support::metadata::{Answer, Ec2, Fake, FakeEc2};
use crate::support::sts;

fn in_an_hour() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

/// The fake X-Ray knows only the keys of the role, and STS only these.
fn role(known: Vec<Keys>) -> (Fake, FakeXray) {
    let role = Keys::new("ASIASTS", "hush", Some("token/of+sts==")).until(in_an_hour());
    let fake = FakeXray::start();
    fake.update(|state| state.keys = vec![role.clone()]);
    let sts = Fake::start(move |_, request| {
        Answer::Say(sts::assume(request, &known, REGION, || role.clone()))
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
    let proxy = Fake::start(|_, _| Answer::Say(Response::new(502, "")));
    let document = format!(r#"{{"region":"{REGION}"}}"#);
    let ec2 = FakeEc2::start(Ec2::with_role("ASIAEC2", &date::format(in_an_hour())).page(
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
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &ec2.fake.url())
        .env("AWS_ENDPOINT_URL_XRAY", &fake.url());
    for variable in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        launch = launch.env(variable, &proxy.url());
    }
    let daemon = launch.start();
    Client::new(daemon.udp).document(segment(1));
    fake.wait_for("the document", |state| state.accepted.len() == 1);
    let chosen = daemon.wait_log("Using region: ");
    assert!(
        chosen.contains("(from EC2 metadata), AWS credentials from: EC2 instance role ("),
        "{chosen}"
    );
    assert!(proxy.asked().is_empty());
}

/// A pod with a service account's role. `Endpoint` moves X-Ray, not
/// STS.
#[test]
fn a_service_account_becomes_its_role() {
    let (sts, fake) = role(Vec::new());
    let token = Scratch::new("irsa", "service.account.jwt");
    let config = Scratch::new(
        "irsa-cfg",
        &format!("Endpoint: {}\nVersion: 2\n", fake.url()),
    );
    let daemon = without_keys(&fake)
        .without_env("AWS_ENDPOINT_URL_XRAY")
        .args(["-c", &config.path()])
        .env("AWS_ENDPOINT_URL_STS", &sts.url())
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", &token.path())
        .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod")
        .start();
    Client::new(daemon.udp).document(segment(1));
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
        .start();
    Client::new(daemon.udp).document(segment(1));
    fake.wait_for("the document", |state| state.accepted.len() == 1);
    let form = sts::form(&sts.requests()[0]);
    assert_eq!(form["RoleArn"], "arn:aws:iam::210987654321:role/xray");
    assert_eq!(form["RoleSessionName"], "xray-daemon");
}

/// A laptop with a profile and a program that prints its keys.
#[test]
fn a_profile_with_a_credential_process_and_a_region() {
    let fake = FakeXray::start();
    fake.update(|state| state.keys = vec![Keys::new("AKIAPROC", "hush", None)]);
    let json = r#"{"Version":1,"AccessKeyId":"AKIAPROC","SecretAccessKey":"hush"}"#;
    let printed = Scratch::new("process-answer", json);
    let config = Scratch::new(
        "process-config",
        &format!(
            "[profile dev]\nregion = {REGION}\ncredential_process = /bin/cat '{}'\n",
            printed.path()
        ),
    );
    let daemon = Launch::bare()
        .args(["-b", "127.0.0.1:0", "-t", "127.0.0.1:0", "-o"])
        .env("AWS_ENDPOINT_URL_XRAY", &fake.url())
        .env("AWS_CONFIG_FILE", &config.path())
        .env("AWS_PROFILE", "dev")
        .start();
    Client::new(daemon.udp).document(segment(1));
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
