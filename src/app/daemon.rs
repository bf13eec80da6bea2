//! Starts the threads, waits for signals, and stops the threads in the order in which a segment
//! passes them.

use std::fmt;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::admin::endpoints;
use crate::app::memory;
use crate::aws::profile::{ProfileError, Profiles, read_file};
use crate::config::Config;
use crate::credentials::target::{Settings, TargetError};
use crate::ingest::intake::Intake;
use crate::ingest::reader::{self, Readers};
use crate::ingest::socket::{self, BindError};
use crate::logging;
use crate::proxy::{
    AllowedOrigins, ClientResources, Limits, OperatorEndpoints, ProxyParts, ProxyServer,
};
use crate::upload::counters::Books;
use crate::upload::message::{Event, Events};

use super::backend::{Backend, Shared};

/// Why the daemon could not start, or go on.
#[derive(Debug)]
pub enum StartError {
    /// The AWS profile asked for does not exist.
    Profile(ProfileError),
    /// A socket could not be bound.
    Bind(BindError),
    /// There is nowhere to send to.
    Target(TargetError),
    /// The system refused a thread or a signal handler.
    System(&'static str, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Profile(error) => error.fmt(f),
            StartError::Bind(error) => error.fmt(f),
            StartError::Target(error) => error.fmt(f),
            StartError::System(what, error) => write!(f, "the system refused {what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Status after a second signal, or when stopping hangs: documents that were held are lost.
const STOPPED_AT_ONCE: i32 = 1;

/// A signal this soon after the first is its echo: `timeout` and some supervisors signal a process
/// and then its group, and a person needs longer to press a key twice.
const ECHO: Duration = Duration::from_millis(300);

/// How long after its deadline a stop may still take. Only what waits for a stdout that nobody reads
/// takes longer, and that may be for ever.
const OVERDUE: Duration = Duration::from_secs(5);

/// Most memory that clients on TCP may take: enough for one of the largest OTLP bodies beside
/// others. With less for segments, by `-m` or by the control group, clients get as little.
const MAX_CLIENT_MEMORY: usize = 20 * 1024 * 1024;

/// Threads and descriptors that are left to the daemon itself, besides those of its simultaneous
/// requests: its readers, the uploader, credentials, the log.
const RESERVED_THREADS: usize = 8;
const RESERVED_DESCRIPTORS: usize = 8;

/// Where the failure of another thread is put down before the signals are closed.
pub(super) type Failed = Arc<Mutex<Option<TargetError>>>;

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// [`StartError`] when it cannot begin its work.
pub fn run(config: Config) -> Result<(), StartError> {
    let mut signals = Signals::new([SIGTERM, SIGINT])
        .map_err(|error| StartError::System("a signal handler", error))?;
    let handle = signals.handle();
    let failed = Failed::default();
    let mut daemon = Some(Daemon::start(config, handle.clone(), &failed)?);
    let mut stopping = None;
    let mut first = Instant::now();
    // Ends when the handle is closed: when all is done, or when no target can be found.
    for signal in signals.forever() {
        let Some(daemon) = daemon.take() else {
            if first.elapsed() < ECHO {
                continue;
            }
            log::warn!("a second signal: stopping at once");
            logging::flush();
            std::process::exit(STOPPED_AT_ONCE);
        };
        first = Instant::now();
        let name = if signal == SIGINT {
            "interrupt"
        } else {
            "terminated"
        };
        log::info!("Got shutdown signal: {name}");
        let limit = daemon.shutdown_delay + daemon.shutdown_timeout + OVERDUE;
        // Without a thread to be had, the stop still has its own deadline.
        let _ = spawn("overdue", move || {
            thread::sleep(limit);
            log::error!("not stopped after {limit:?}, is stdout not read? Ending at once");
            logging::flush();
            std::process::exit(STOPPED_AT_ONCE);
        });
        stopping = Some(spawn("stop", {
            let handle = handle.clone();
            move || {
                daemon.stop();
                handle.close();
            }
        })?);
    }
    if let Some(stopping) = stopping {
        let _ = stopping.join();
    }
    match failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(error) => Err(StartError::Target(error)),
        None => Ok(()),
    }
}

/// The running parts.
struct Daemon {
    readers: Readers,
    proxy: ProxyServer,
    delivery: JoinHandle<()>,
    events: Events,
    books: Arc<Books>,
    shutdown_delay: Duration,
    shutdown_timeout: Duration,
}

impl Daemon {
    /// Binds the sockets and starts the threads. Segments are received from here on; whom to send
    /// them to is found out by a thread of its own, since that may take seconds.
    fn start(config: Config, signals: Handle, failed: &Failed) -> Result<Daemon, StartError> {
        let env = |name: &str| std::env::var(name).ok();
        let profiles = Profiles::load(&env, &read_file).map_err(StartError::Profile)?;
        for warning in profiles.warnings() {
            log::warn!("{warning}");
        }
        let limit = memory::buffer_limit(config.buffer_mb.map(u64::from));
        log::info!("Using buffer memory limit of {} MB", limit >> 20);
        let udp = socket::udp(&config.bind_udp).map_err(StartError::Bind)?;
        let tcp = socket::tcp(&config.bind_tcp).map_err(StartError::Bind)?;
        if let Ok(address) = udp.local_addr() {
            log::info!("Listening on udp {address}");
        }
        if let Ok(address) = tcp.local_addr() {
            log::info!("Starting proxy http server on {address}");
        }
        let books = Arc::new(Books::default());
        let intake = Arc::new(Intake::new(Arc::clone(&books)));
        let socket = Arc::new(udp);
        let reading = Arc::new(AtomicBool::new(true));
        let (shutdown_delay, shutdown_timeout) = (config.shutdown_delay, config.shutdown_timeout);
        let (concurrency, allow_origin) = (config.concurrency, config.allow_origin.clone());
        let clients =
            ClientResources::new(limit.min(MAX_CLIENT_MEMORY), RESERVED_THREADS + concurrency);
        let Backend {
            delivery,
            events,
            handler,
            operator,
        } = super::backend::start(
            Settings {
                config,
                env: Arc::new(env),
                profiles,
            },
            Shared {
                intake: Arc::clone(&intake),
                books: Arc::clone(&books),
                limit,
                socket: Arc::clone(&socket),
                reading: Arc::clone(&reading),
                clients: Arc::clone(&clients),
            },
            signals,
            failed,
        )?;
        let readers = Readers::start(reader::Parts {
            socket,
            intake,
            events: Arc::clone(&events),
            reading,
        })
        .map_err(no_thread)?;
        let counts = Arc::clone(&operator.calls);
        let proxy = ProxyServer::start(
            tcp,
            ProxyParts {
                limits: Limits::within_descriptors(RESERVED_DESCRIPTORS + concurrency),
                resources: clients,
                origins: AllowedOrigins::new(&allow_origin),
                operator: OperatorEndpoints {
                    paths: endpoints::PATHS,
                    answer: Box::new(move |path| operator.answer(path)),
                },
                handler,
                counts,
            },
        )
        .map_err(no_thread)?;
        Ok(Daemon {
            readers,
            proxy,
            delivery,
            events,
            books,
            shutdown_delay,
            shutdown_timeout,
        })
    }

    /// Delivers what is held, within the time for it, and says what became of every segment.
    fn stop(self) {
        if !self.shutdown_delay.is_zero() {
            log::info!("still receiving for {:?}", self.shutdown_delay);
            thread::sleep(self.shutdown_delay);
        }
        self.readers.stop();
        let deadline = Instant::now() + self.shutdown_timeout;
        (self.events)(Event::Stop(deadline));
        self.proxy.stop(deadline);
        let _ = self.delivery.join();
        log::info!("Totals: {}", self.books.totals());
    }
}

/// TLS handshakes with metadata and token services are the deepest that these threads go.
const STACK: usize = 256 * 1024;

pub(super) fn spawn(
    name: &'static str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(work)
        .map_err(no_thread)
}

fn no_thread(error: io::Error) -> StartError {
    StartError::System("a thread", error)
}
