//! The EC2 metadata service, as the running daemon meets it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use xray_test_support::DEADLINE;
use xray_test_support::daemon::Launch;
use xray_test_support::ec2::{Ec2, FakeEc2, ROLES, keys};
use xray_test_support::endpoint::{Endpoint, Reply};
use xray_test_support::keys::{Keys, timestamp};
use xray_test_support::load::{UdpClient, segment};
use xray_test_support::server::closed_address;
use xray_test_support::watch::Watch;
use xray_test_support::xray::{FakeXray, REGION};

const DOCUMENT: &str = "dynamic/instance-identity/document";

fn in_an_hour() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

/// On an instance whose metadata service is at `url`, with nothing else to go by.
fn on_ec2(fake: &FakeXray, url: &str) -> Launch {
    let keys = Keys::new("ASIAEC2", "hush", Some("session/token/of/fakes"));
    fake.update(|state| state.keys = vec![keys]);
    Launch::bare()
        .args(["-b", "127.0.0.1:0", "-t", "127.0.0.1:0"])
        .without_env("AWS_EC2_METADATA_DISABLED")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
        .env("AWS_ENDPOINT_URL_XRAY", &fake.url())
}

/// Nobody has said yet where this is: both ports serve, and what comes is kept.
#[test]
fn a_silent_metadata_service_delays_nothing() {
    let speaks = Arc::new(Watch::new(false));
    let released = speaks.clone();
    let ec2 = Endpoint::start(move |_, request| {
        released.wait(DEADLINE, |speaks| speaks.then_some(()));
        let path = request.path().strip_prefix("/latest/").unwrap();
        match path.strip_prefix(ROLES) {
            Some("") => Reply::text(200, "app"),
            Some(_) => Reply::json(keys("ASIAEC2", &timestamp(in_an_hour()))),
            None if path == DOCUMENT => Reply::json(format!(r#"{{"region":"{REGION}"}}"#)),
            None => Reply::text(200, "token"),
        }
    });
    let fake = FakeXray::start();
    let daemon = on_ec2(&fake, &ec2.url())
        .env("AWS_METADATA_SERVICE_TIMEOUT", "60")
        .start();
    UdpClient::new(daemon.udp).document(segment(1));
    assert_eq!(daemon.operator("/healthz").status, 200);
    let said = |text: &str| daemon.log().iter().any(|line| line.contains(text));
    assert!(!said("Using region") && !said("AWS credentials"));

    speaks.update(|speaks| *speaks = true);
    fake.wait_for("the document", |state| state.accepted.len() == 1);
    daemon.wait_log(&format!("Using region: {REGION} (from EC2 metadata)"));
}

/// The service hands out what it has when it cannot renew it.
#[test]
fn expired_keys_are_used_and_told() {
    let document = format!(r#"{{"region":"{REGION}"}}"#);
    let ec2 = Ec2::with_role("ASIAEC2", "2020-01-01T00:00:00Z").page(DOCUMENT, 200, &document);
    let ec2 = FakeEc2::start(ec2);
    let fake = FakeXray::start();
    let daemon = on_ec2(&fake, &ec2.endpoint.url()).start();
    UdpClient::new(daemon.udp).document(segment(1));
    fake.wait_for("the document", |state| state.accepted.len() == 1);
    daemon.wait_log("EC2 instance role expired at 2020-01-01T00:00:00Z, and it has no newer ones");
}

/// Who this host is, for telemetry: the variables say it, else the metadata service, which is not
/// asked in local mode.
#[test]
fn who_the_host_is() {
    const PUT: &str = "PUT /latest/api/token";
    const ID: &str = "GET /latest/meta-data/instance-id";
    const NAME: &str = "GET /latest/meta-data/hostname";
    for (local, named, asked, id) in [
        (true, false, vec![], Some("")),
        (true, true, vec![], Some("i-env")),
        (false, true, vec![], Some("i-env")),
        (false, false, vec![PUT, ID, NAME], None),
    ] {
        // The name is refused, which is a line in the log to wait for.
        let ec2 = FakeEc2::start(Ec2::default().page("meta-data/instance-id", 200, "i-1"));
        let fake = FakeXray::start();
        let local_mode = format!("-local-mode={local}");
        let mut launch = Launch::against(&fake)
            .args(["-l", "dev", local_mode.as_str()])
            .without_env("AWS_EC2_METADATA_DISABLED")
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &ec2.endpoint.url());
        if named {
            launch = launch.env("AWS_INSTANCE_ID", "i-env");
            launch = launch.env("AWS_HOSTNAME", "host-env");
        }
        let daemon = launch.start();
        UdpClient::new(daemon.udp).document(segment(1));
        fake.wait_for("the document", |state| state.accepted.len() == 1);
        if !asked.is_empty() {
            daemon.wait_log("telemetry is sent without meta-data/hostname");
        }
        daemon.stop();
        assert_eq!(ec2.endpoint.request_lines(), asked, "{local} {named}");
        let told = fake.read(|state| state.telemetry[0]["EC2InstanceId"].clone());
        if let Some(id) = id {
            assert_eq!(told, id, "{local} {named}");
        }
    }
}

/// A host that starts the daemon before its network: nobody answers at first. What comes meanwhile
/// is kept, and the daemon does not end, since it would be started and end again until its service
/// manager gives up.
#[test]
fn a_boot_before_the_network_is_waited_out() {
    let address = closed_address().to_string();
    let fake = FakeXray::start();
    let daemon = on_ec2(&fake, &format!("http://{address}")).start();
    UdpClient::new(daemon.udp).document(segment(1));
    daemon.wait_log("No region is known yet; segments wait for it");
    let document = format!(r#"{{"region":"{REGION}"}}"#);
    let expiry = timestamp(in_an_hour());
    let ec2 = Ec2::with_role("ASIAEC2", &expiry).page(DOCUMENT, 200, &document);
    let _ec2 = Endpoint::on(&address, None, move |_, request| ec2.answer(request));
    fake.wait_for("the document", |state| state.accepted.len() == 1);
    daemon.wait_log(&format!("Using region: {REGION} (from EC2 metadata)"));
}
