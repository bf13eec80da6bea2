//! Credentials as the running daemon meets them: missing, from a container endpoint, rotated.

use std::time::Duration;

use xray_test_support::daemon::Launch;
use xray_test_support::ecs::FakeEcs;
use xray_test_support::http::Request;
use xray_test_support::keys::Keys;
use xray_test_support::load::{UdpClient, segment};
use xray_test_support::scratch::ScratchFile;
use xray_test_support::totals::Totals;
use xray_test_support::watch::wait_until;
use xray_test_support::xray::{FakeXray, KEY_ID};

/// In a task, behind a company's proxy that would let nothing through.
fn from_container(fake: &FakeXray, ecs: &FakeEcs) -> Launch {
    let proxies = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"];
    let launch = proxies.into_iter().fold(Launch::against(fake), |l, name| {
        l.env(name, "http://127.0.0.1:9")
    });
    launch
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY")
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &ecs.uri())
}

#[test]
fn a_session_token_is_sent_and_signed() {
    let fake = FakeXray::start();
    let keys = Keys::new("ASIASESSION", "secret", Some("session/token+=="));
    fake.update(|state| state.keys = vec![keys]);
    let daemon = Launch::against(&fake)
        .env("AWS_ACCESS_KEY_ID", "ASIASESSION")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_SESSION_TOKEN", "session/token+==")
        .start();
    UdpClient::new(daemon.udp).document(segment(1));
    fake.wait_for("the document", |state| state.accepted.len() == 1);
}

/// What the log says of keys is so: a session ends, and the variable's name is the one that is set.
#[test]
fn keys_of_the_environment_are_told_as_they_are() {
    let fake = FakeXray::start();
    let launch = || {
        Launch::against(&fake)
            .without_env("AWS_ACCESS_KEY_ID")
            .env("AWS_ACCESS_KEY", KEY_ID)
    };
    let daemon = launch().start();
    daemon.wait_log("AWS credentials from: environment (AWS_ACCESS_KEY is set)");
    daemon.wait_log("AWS credentials from environment do not expire");
    let daemon = launch().env("AWS_SESSION_TOKEN", "token").start();
    daemon.wait_log(
        "AWS credentials from environment are temporary and do not say their expiry: \
         they are used until AWS refuses them",
    );
}

/// An empty variable is what a template leaves behind; a signed empty token is refused by AWS.
#[test]
fn an_empty_session_token_is_none() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake).env("AWS_SESSION_TOKEN", "").start();
    UdpClient::new(daemon.udp).document(segment(1));
    fake.wait_for("the document", |state| state.accepted.len() == 1);
}

#[test]
fn missing_ones_do_not_stop_it() {
    let fake = FakeXray::start();
    let daemon = Launch::against(&fake)
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY")
        .args(["--shutdown-timeout", "500ms"])
        .start();
    UdpClient::new(daemon.udp).document(segment(1));
    daemon.wait_log("credentials");
    let ended = daemon.stop();
    let totals = Totals::at_the_end_of(&ended.log);
    assert_eq!((totals.received, totals.spilled), (1, 1));
    fake.read(|state| assert_eq!(state.requests, 0, "sent without credentials"));
}

/// The old keys die as soon as the new ones are out: every segment still arrives, once.
#[test]
fn rotated_container_keys_lose_nothing() {
    let old = Keys::new("ASIAOLD", "oldsecret", Some("old"));
    let new = Keys::new("ASIANEW", "newsecret", Some("new"));
    let token = ScratchFile::new("first");
    let ecs = FakeEcs::start(old.clone(), Duration::from_secs(6));
    let fake = FakeXray::start();
    fake.update(|state| state.keys = vec![old]);
    let daemon = from_container(&fake, &ecs)
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token.text())
        .start();
    let client = UdpClient::new(daemon.udp);
    client.load(0..500, 500);
    fake.wait_for("all with the old keys", |state| state.accepted.len() == 500);

    token.write("second");
    ecs.rotate(new.clone());
    fake.update(|state| state.keys = vec![new]);
    client.load(500..1_000, 500);
    fake.wait_for("all with the new keys", |state| {
        state.accepted.len() == 1_000
    });
    fake.read(|state| {
        assert_eq!(state.different(), 1_000);
        assert!(state.signers.iter().eq(["ASIANEW", "ASIAOLD"]));
    });
    let token = |request: Option<&Request>| request?.header("authorization").map(str::to_owned);
    let first = token(ecs.endpoint.requests().first());
    assert_eq!(first.as_deref(), Some("first"));
    // A request with the first one may have been on its way; the keys do not last for long.
    wait_until("a request with the second token", || {
        token(ecs.endpoint.requests().last()).as_deref() == Some("second")
    });
    let totals = Totals::at_the_end_of(&daemon.stop().log);
    assert_eq!((totals.received, totals.sent), (1_000, 1_000));
}

/// A signature that is refused for the host's wrong clock says nothing against the keys.
#[test]
fn a_wrong_clock_asks_for_no_new_keys() {
    let keys = Keys::new("ASIACLOCK", "secret", Some("token"));
    let ecs = FakeEcs::start(keys.clone(), Duration::from_secs(3600));
    let fake = FakeXray::start();
    fake.update(|state| state.keys = vec![keys]);
    let daemon = from_container(&fake, &ecs).start();
    let client = UdpClient::new(daemon.udp);
    for (number, offset) in [(1, 0), (2, 1_200), (3, -1_200)] {
        fake.update(|state| state.clock_offset = offset);
        client.document(segment(number));
        fake.wait_for("the document", |state| state.accepted.len() == number);
    }
    daemon.stop();
    fake.read(|state| assert_eq!(state.skewed, 2));
    assert_eq!(ecs.endpoint.request_lines().len(), 1);
}

/// Keys are refreshed before they expire, also when nothing is sent.
#[test]
fn expiring_keys_are_refreshed_ahead() {
    let keys = Keys::new("ASIASHORT", "secret", Some("token"));
    let ecs = FakeEcs::start(keys.clone(), Duration::from_secs(4));
    let fake = FakeXray::start();
    fake.update(|state| state.keys = vec![keys]);
    let daemon = from_container(&fake, &ecs).start();
    ecs.endpoint.wait_requests(3);
    UdpClient::new(daemon.udp).document(segment(1));
    fake.wait_for("the document", |state| state.accepted.len() == 1);
}
