//! Hosts with odd networks: names with addresses that go nowhere, IPv6 only, name servers that do
//! not answer. Each test runs in a network and with an /etc/hosts of its own.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use xray_test_support::DEADLINE;
use xray_test_support::daemon::{Launch, Running};
use xray_test_support::http_client::HttpClient;
use xray_test_support::keys::Keys;
use xray_test_support::load::{UdpClient, segment};
use xray_test_support::scratch::ScratchDir;
use xray_test_support::tls::Authority;
use xray_test_support::xray::{FakeXray, Fault, KEY_ID, REGION, SECRET, State};

/// Set where the test runs in a network of its own.
const INSIDE: &str = "XRAY_TEST_OWN_NETWORK";

/// Runs `inside` in this test once more, in a process with a network that has nothing but a
/// loopback device, and with these lines in /etc/hosts. Where the system does not let unprivileged
/// users have one, the test says so and proves nothing.
pub fn in_own_network(test: &str, hosts: &str, inside: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let unshare = |command: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--net", "--mount"]);
        unshare.args(command);
        unshare
    };
    let possible = unshare(&["ip", "link", "set", "lo", "up"]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no network of its own to be had here");
        return;
    }
    let files = ScratchDir::new();
    let hosts = files.file("hosts", hosts);
    let resolv = files.file("resolv.conf", "nameserver 127.0.0.1\n");
    let script = format!(
        "ip link set lo up && mount --bind {} /etc/hosts && mount --bind {} /etc/resolv.conf && \
         exec \"$0\" \"$@\"",
        hosts.display(),
        resolv.display()
    );
    let me = std::env::current_exe().unwrap();
    let me = me.to_str().unwrap();
    let output = unshare(&["sh", "-c", &script, me, "--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("1 passed"), "{text}");
}

/// A listener that answers nobody, as a host does that is gone: its queue is full.
fn silent(address: SocketAddr) -> Vec<Socket> {
    let listener = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    listener.set_reuse_address(true).unwrap();
    listener.bind(&address.into()).unwrap();
    listener.listen(0).unwrap();
    let mut held = vec![listener];
    loop {
        let client = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        let connected = client.connect_timeout(&address.into(), Duration::from_millis(100));
        held.push(client);
        if connected.is_err() {
            return held;
        }
    }
}

/// What the fake X-Ray says to calls other than uploads.
const FROM_THE_FAKE: u16 = 404;

fn sampling_rules(daemon: &Running) -> u16 {
    let request = "POST /GetSamplingRules HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    HttpClient::connect(daemon.tcp).ask(request).status
}

fn with_keys(launch: Launch) -> Launch {
    launch
        .args(["-b", "127.0.0.1:0", "-t", "127.0.0.1:0", "-o", "-n", REGION])
        .env("AWS_ACCESS_KEY_ID", KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
}

#[test]
fn an_address_that_goes_nowhere_is_tried_once() {
    let hosts = "::1 xray.test\n127.0.0.1 xray.test\n";
    in_own_network(
        "network::an_address_that_goes_nowhere_is_tried_once",
        hosts,
        || {
            let mut fake = FakeXray::start();
            let port: u16 = fake.url().rsplit(':').next().unwrap().parse().unwrap();
            let six = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
            let gone = silent(six);
            let daemon = Launch::against(&fake)
                .env("AWS_ENDPOINT_URL_XRAY", &format!("http://xray.test:{port}"))
                .start();
            // The connection that is made ahead meets the dead address first.
            fake.wait_for("the connection made ahead", |state| state.warm_ups == 1);
            drop(gone);
            let alive = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
            alive.set_reuse_address(true).unwrap();
            alive.bind(&six.into()).unwrap();
            alive.listen(16).unwrap();
            // New connections go where the last one went.
            for _ in 0..5 {
                fake.cut_connections();
                assert_eq!(sampling_rules(&daemon), FROM_THE_FAKE);
            }
            alive.set_nonblocking(true).unwrap();
            assert!(alive.accept().is_err(), "the dead address was tried again");
            // When that one is gone, the other has its chance.
            fake.inject(Fault::Gone);
            alive.set_nonblocking(false).unwrap();
            alive.set_read_timeout(Some(DEADLINE)).unwrap();
            UdpClient::new(daemon.udp).document(segment(1));
            alive.accept().unwrap();
        },
    );
}

#[test]
fn a_host_with_ipv6_only_uses_the_dual_stack_name() {
    // Documentation's address; there is no route to it.
    let hosts = "192.0.2.1 xray.us-east-1.amazonaws.com\n::1 xray.us-east-1.api.aws\n";
    in_own_network(
        "network::a_host_with_ipv6_only_uses_the_dual_stack_name",
        hosts,
        || {
            let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 443)).unwrap();
            let keys = vec![Keys::new(KEY_ID, SECRET, None)];
            let authority = Authority::new(&["xray.us-east-1.api.aws"]);
            let files = ScratchDir::new();
            let bundle = files.file("authority.pem", &authority.pem);
            let fake = FakeXray::on(listener, State::new(keys, REGION), Some(authority));
            let daemon = with_keys(Launch::bare())
                .env("AWS_CA_BUNDLE", &bundle.display().to_string())
                .start();
            UdpClient::new(daemon.udp).document(segment(1));
            fake.wait_for("the document", |state| state.accepted.len() == 1);
            assert_eq!(sampling_rules(&daemon), FROM_THE_FAKE);
        },
    );
}

#[test]
fn a_name_server_that_does_not_answer_costs_one_thread() {
    let test = "network::a_name_server_that_does_not_answer_costs_one_thread";
    in_own_network(test, "", || {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).unwrap();
        server.set_read_timeout(Some(DEADLINE)).unwrap();
        let daemon = with_keys(Launch::bare()).start();
        // The first question, of the connection that is made ahead.
        server.recv(&mut [0; 512]).unwrap();
        UdpClient::new(daemon.udp).document(segment(1));
        let before = threads(daemon.pid());
        assert_eq!(before.iter().filter(|name| *name == "resolver").count(), 1);
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let mut client = HttpClient::connect(daemon.tcp);
                thread::spawn(move || {
                    let request = "POST /GetSamplingRules HTTP/1.1\r\nHost: x\r\n\
                                   Content-Length: 2\r\n\r\n{}";
                    client.ask(request).status
                })
            })
            .collect();
        let statuses: Vec<_> = clients.into_iter().map(|c| c.join().unwrap()).collect();
        assert_eq!(statuses, [502; 8]);
        let after = threads(daemon.pid());
        assert_eq!(after.iter().filter(|name| *name == "resolver").count(), 1);
        daemon.wait_log("unknown host xray.us-east-1.amazonaws.com:443 (no name server");
    });
}

fn threads(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .filter_map(|task| {
            let mut name = String::new();
            let mut file = fs::File::open(task.unwrap().path().join("comm")).ok()?;
            file.read_to_string(&mut name).ok()?;
            Some(name.trim().to_owned())
        })
        .collect()
}

#[test]
fn a_zone_as_the_region_gets_a_hint() {
    let daemon = with_keys(Launch::bare()).args(["-n", "us-east-1a"]).start();
    daemon.wait_log("region \"us-east-1a\" (from -n or cfg.yaml) is used, but not known to this daemon; did you mean us-east-1?");
}
