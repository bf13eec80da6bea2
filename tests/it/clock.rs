//! A clock that is wrong, and then right: what was learnt meanwhile must not outlive it.

use std::time::Duration;

use xray_test_support::daemon::Launch;
use xray_test_support::ecs::FakeEcs;
use xray_test_support::keys::Keys;
use xray_test_support::load::{UdpClient, segment};
use xray_test_support::xray::FakeXray;

/// The host is hours behind or ahead, X-Ray's answers teach that, and then the clocks agree: from
/// then on every fresh temporary key seems to have expired long ago, or to live for a day.
#[test]
fn keys_are_used_whatever_the_clock_was_when_they_came() {
    for offset in [2 * 3600, 7 * 3600, -7 * 3600] {
        let old = Keys::new("ASIAOLD", "oldsecret", Some("old"));
        let new = Keys::new("ASIANEW", "newsecret", Some("new"));
        let ecs = FakeEcs::start(old.clone(), Duration::from_secs(4));
        let fake = FakeXray::start();
        fake.update(|state| {
            state.keys = vec![old];
            state.clock_offset = offset;
        });
        let daemon = Launch::against(&fake)
            .without_env("AWS_ACCESS_KEY_ID")
            .without_env("AWS_SECRET_ACCESS_KEY")
            .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &ecs.uri())
            .start();
        let client = UdpClient::new(daemon.udp);
        client.document(segment(1));
        fake.wait_for("the document of the wrong time", |state| {
            state.accepted.len() == 1
        });

        ecs.rotate(new.clone());
        fake.update(|state| {
            state.keys = vec![new];
            state.clock_offset = 0;
        });
        // Fetched by the clock of before.
        ecs.endpoint
            .wait_requests(ecs.endpoint.requests().len() + 1);
        client.document(segment(2));
        fake.wait_for("the document of the right time", |state| {
            state.accepted.len() == 2
        });
        // A refusal ends them, whenever they seem to end.
        let last = Keys::new("ASIALAST", "lastsecret", Some("last"));
        ecs.rotate(last.clone());
        fake.update(|state| state.keys = vec![last]);
        client.document(segment(3));
        fake.wait_for("the document of the last keys", |state| {
            state.accepted.len() == 3
        });
        fake.read(|state| assert_eq!(state.different(), 3));
    }
}
