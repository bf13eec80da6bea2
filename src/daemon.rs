//! Starts the threads, waits for signals, and stops the threads in the order in which a segment
//! passes them.

use std::fmt;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::books::Books;
use crate::clock::Clock;
use crate::config::Config;
use crate::intake::{Intake, Readers};
use crate::memory;
use crate::metrics::Gauges;
use crate::socket::{self, BindError};
use crate::target::{self, TargetError};
use crate::telemetry::{Identity, Telemetry};
use crate::uploader::{self, Event, Parts, Uploader};

/// Why the daemon could not start.
#[derive(Debug)]
pub enum StartError {
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
            StartError::Bind(error) => error.fmt(f),
            StartError::Target(error) => error.fmt(f),
            StartError::System(what, error) => write!(f, "the system refused {what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Status of a second signal: documents that were held are lost.
const STOPPED_AT_ONCE: i32 = 1;

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// [`StartError`] when it cannot begin its work.
pub fn run(config: Config) -> Result<(), StartError> {
    let mut signals = Signals::new([SIGTERM, SIGINT])
        .map_err(|error| StartError::System("a signal handler", error))?;
    let failed = Arc::new(Mutex::new(None));
    let handle = signals.handle();
    let mut daemon = Some(Daemon::start(config, handle.clone(), &failed)?);
    let mut stopping = None;
    // Ends when the handle is closed: by `stop` when all is done, or by the failure to find a
    // target.
    for signal in signals.forever() {
        let Some(daemon) = daemon.take() else {
            log::warn!("a second signal: stopping at once");
            crate::logging::flush();
            std::process::exit(STOPPED_AT_ONCE);
        };
        log::info!("Got shutdown signal: {}", name_of(signal));
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

fn name_of(signal: i32) -> &'static str {
    if signal == SIGINT {
        "interrupt"
    } else {
        "terminated"
    }
}

/// The running parts.
struct Daemon {
    readers: Readers,
    uploader: JoinHandle<()>,
    events: SyncSender<Event>,
    books: Arc<Books>,
    shutdown_delay: Duration,
    shutdown_timeout: Duration,
}

impl Daemon {
    /// Binds the sockets and starts the threads. Segments are received from here on; whom to send
    /// them to is found out by a thread of its own, since that may take seconds.
    fn start(
        config: Config,
        signals: Handle,
        failed: &Arc<Mutex<Option<TargetError>>>,
    ) -> Result<Daemon, StartError> {
        let limit = memory::buffer_limit(config.buffer_mb.map(u64::from));
        log::info!("Using buffer memory limit of {} MB", limit >> 20);
        let udp = socket::udp(&config.bind_udp).map_err(StartError::Bind)?;
        let tcp = socket::tcp(&config.bind_tcp).map_err(StartError::Bind)?;
        for (protocol, address) in [("udp", udp.local_addr()), ("tcp", tcp.local_addr())] {
            if let Ok(address) = address {
                log::info!("Listening on {protocol} {address}");
            }
        }
        let books = Arc::new(Books::default());
        let clock = Arc::new(Clock::new(false));
        let (sender, events) = sync_channel(uploader::CHANNEL);
        let intake = Arc::new(Intake::new(sender.clone(), Arc::clone(&books)));
        let readers = Readers::start(udp, &intake).map_err(no_thread)?;
        let counted = Arc::clone(readers.socket());
        let uploader = Uploader::new(Parts {
            events,
            sender: sender.clone(),
            intake,
            books: Arc::clone(&books),
            gauges: Arc::new(Gauges::default()),
            clock: Arc::clone(&clock),
            concurrency: config.concurrency,
            limit,
            telemetry: Telemetry::new(Identity {
                resource_arn: config.resource_arn.clone().unwrap_or_default(),
                ..Identity::default()
            }),
            kernel_drops: Box::new(move || socket::kernel_drops(&counted)),
        });
        let uploader = spawn("uploader", move || uploader.run())?;
        let daemon = Daemon {
            readers,
            uploader,
            events: sender.clone(),
            books,
            shutdown_delay: config.shutdown_delay,
            shutdown_timeout: config.shutdown_timeout,
        };
        spawn("credentials", {
            let failed = Arc::clone(failed);
            move || {
                if let Err(error) = find_target(&config, &clock, &sender) {
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    signals.close();
                }
            }
        })?;
        Ok(daemon)
    }

    /// Delivers what is held, within the time for it, and says what became of every segment.
    fn stop(self) {
        if !self.shutdown_delay.is_zero() {
            log::info!("still receiving for {:?}", self.shutdown_delay);
            thread::sleep(self.shutdown_delay);
        }
        self.readers.stop();
        let deadline = Instant::now() + self.shutdown_timeout;
        let _ = self.events.send(Event::Stop(deadline));
        let _ = self.uploader.join();
        log::info!("Totals: {}", self.books.totals());
    }
}

/// The thread `credentials`: finds the target, then keeps the credentials fresh.
fn find_target(
    config: &Config,
    clock: &Arc<Clock>,
    events: &SyncSender<Event>,
) -> Result<(), TargetError> {
    let env = |name: &str| std::env::var(name).ok();
    let target = target::resolve(config, &env, clock)?;
    log::info!("Using region: {}", target.region);
    let keeper = Arc::clone(&target.keeper);
    let _ = events.send(Event::Target(Box::new(target)));
    let events = events.clone();
    keeper.run(Box::new(move || {
        let _ = events.send(Event::Credentials);
    }));
    Ok(())
}

fn spawn(
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

/// TLS handshakes with metadata and token services are the deepest that these threads go.
const STACK: usize = 256 * 1024;
