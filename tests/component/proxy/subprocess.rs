//! What can be seen of the whole process only: log, descriptors, threads. Each test runs itself
//! again in a process of its own.

use std::fs;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use xray::proxy::{Limits, LocalSampling};

use xray_test_support::DEADLINE;
use xray_test_support::http_client::HttpClient;
use xray_test_support::process::{Process, Stdout, limited_command};
use xray_test_support::procfs;
use xray_test_support::watch::wait_until;

use super::harness::{connections, counted, server, stop};

const CHILD: &str = "XRAY_TEST_SUBPROCESS";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";

/// Runs `body` in a process of its own with at most `files` open files.
#[track_caller]
fn in_subprocess(name: &str, files: u32, body: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        log::set_boxed_logger(Box::new(Lines)).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        return body();
    }
    let program = std::env::current_exe().unwrap();
    let name = format!("proxy::subprocess::{name}");
    let mut command = limited_command(&program, Some(files));
    command
        .args(["--exact", &name, "--test-threads", "1"])
        .env(CHILD, "1");
    let process = Process::spawn(&mut command, Stdout::Read).unwrap();
    let ended = process.wait_exit(DEADLINE);
    let said = ended.log.join("\n");
    assert!(ended.code == Some(0) && said.contains("1 passed"), "{said}");
}

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        SAID.lock()
            .unwrap()
            .push(format!("{} {}", record.level(), record.args()));
    }

    fn flush(&self) {}
}

fn descriptors() -> usize {
    procfs::open_descriptors(std::process::id()).unwrap()
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// Load balancers and orchestrators check health by connecting and closing.
#[test]
fn a_thousand_health_checks_leave_nothing() {
    in_subprocess("a_thousand_health_checks_leave_nothing", 256, || {
        let before = (descriptors(), threads());
        let (address, server) = server(Limits::DEFAULT, Arc::new(LocalSampling));
        for _ in 0..1000 {
            drop(TcpStream::connect(address).unwrap());
        }
        assert_eq!(HttpClient::connect(address).ask(HEALTH).status, 200);
        stop(&server);
        drop(server);
        // Each thread has said that it is done; the last instructions of some may be to come.
        wait_until("no thread is left", || threads() == before.1);
        assert_eq!((descriptors(), threads()), before);
        assert_eq!(*SAID.lock().unwrap(), [""; 0]);
    });
}

/// Other servers end here: their accept loop panics, spins or returns.
#[test]
fn running_out_of_descriptors_costs_idle_connections_only() {
    let name = "running_out_of_descriptors_costs_idle_connections_only";
    in_subprocess(name, 64, || {
        let (address, server, counts) = counted(Limits::DEFAULT, Arc::new(LocalSampling));
        let mut idle = HttpClient::connect(address);
        assert_eq!(idle.ask(HEALTH).status, 200);
        wait_until("the connection is idle", || {
            connections(&counts, "idle") == 1
        });
        // Both ends are in this process, so that the client needs its descriptor first.
        let waiting = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let waiting = waiting.unwrap();
        let mut others = Vec::new();
        while let Ok(file) = fs::File::open("/dev/null") {
            others.push(file);
        }
        waiting.connect(&address.into()).unwrap();
        let mut served = HttpClient::over(waiting.into());
        assert_eq!(served.ask(HEALTH).status, 200);
        assert!(idle.is_closed());
        drop(others);
        stop(&server);
        drop(server);
        let said = SAID.lock().unwrap();
        assert!(
            said.len() == 1 && said[0].contains("cannot accept"),
            "{said:?}"
        );
    });
}

/// What a client sends is never in the log above debug, and there escaped and without its query.
#[test]
fn the_log_holds_nothing_of_a_clients_secrets() {
    in_subprocess("the_log_holds_nothing_of_a_clients_secrets", 256, || {
        let (address, server) = server(Limits::DEFAULT, Arc::new(LocalSampling));
        let mut client = HttpClient::connect(address);
        client.ask("POST /seen?q=s3cret HTTP/1.1\r\nHost: h\r\nAuthorization: s3cret\r\nContent-Length: 6\r\n\r\ns3cret");
        client.ask("s3cret\r\n\r\n").assert_empty(400);
        stop(&server);
        drop(server);
        let said = SAID.lock().unwrap().join("\n");
        assert!(said.contains("/seen"), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
        assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
    });
}
