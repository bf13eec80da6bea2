//! The daemon from its start to its end, read from top to bottom: load, bind, start, wait, stop.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::backend::{self, Backend, BackendParts};
use super::exits::{Exit, SignalAction};
use super::{memory, trace_page};
use crate::admin::endpoints;
use crate::aws::profile::{MissingProfile, Profiles, read_file};
use crate::config::cli::Exporter;
use crate::config::{Config, DEFAULT_ADDRESS};
use crate::credentials::sources::process::RunningProgram;
use crate::credentials::target::{TargetError, TargetSettings};
use crate::http::dns::Resolver;
use crate::ingest::socket::{self, BindError};
use crate::ingest::{ReaderParts, Readers};
use crate::logging;
use crate::proxy::{
    AllowedOrigins, ClientResources, Limits, OperatorEndpoints, OtlpFront, ProxyParts, ProxyServer,
};
use crate::upload::counters::{ReaderCounts, ReaderLedger};
use crate::upload::{UploadChannel, UploadLimits};

/// Why the daemon could not start, or go on.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The AWS profile asked for does not exist.
    Profile(MissingProfile),
    /// A socket could not be bound.
    Bind(BindError),
    /// There is nowhere to send to.
    Target(TargetError),
    /// The system refused this.
    System(&'static str, io::Error),
    /// The system refused a thread.
    Thread(io::Error),
    /// The shutdown was cut short: the segments in memory are lost.
    CutShort,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Profile(error) => error.fmt(f),
            StartError::Bind(error) => error.fmt(f),
            StartError::Target(error) => error.fmt(f),
            StartError::System(what, error) => write!(f, "the system refused {what}: {error}"),
            StartError::Thread(error) => write!(
                f,
                "the system refused a thread: {error}; raise the limit of processes and threads"
            ),
            StartError::CutShort => f.write_str("ended before everything was delivered"),
        }
    }
}

impl std::error::Error for StartError {}

/// Most memory that clients on TCP may take: enough for one of the largest OTLP bodies beside
/// others. With less for segments, by `-m` or by the control group, clients get as little.
const MAX_CLIENT_MEMORY: usize = 20 * 1024 * 1024;

/// Threads and descriptors that are left to the daemon itself, besides those of its simultaneous
/// requests: its readers, the uploader, credentials, the log.
const RESERVED_THREADS: usize = 8;
const RESERVED_DESCRIPTORS: usize = 8;

/// Memory of delivered batches that is kept for the next ones: enough that at full speed none is
/// asked of the system, half a megabyte in all.
const SPARE_BATCHES: usize = 4;

/// The part of the buffer memory that batches may take in the channel.
const CHANNEL_PART: usize = 8;

/// A batch that is not full is handed over this long after its first document. Tests set another
/// time.
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// The same with `--exporter console` or `json`: no request is sent for a batch, and a person waits
/// for the output.
const BATCH_WAIT_SHOWN: Duration = Duration::from_millis(50);
const BATCH_WAIT_VARIABLE: &str = "XRAY_TEST_BATCH_WAIT_MS";

/// Runs the daemon until it is told to stop. `exits` is where signals come.
///
/// # Errors
/// [`StartError`] when the daemon cannot start.
pub(super) fn run(
    config: Config,
    (exit, exits): (Sender<Exit>, Receiver<Exit>),
) -> Result<(), StartError> {
    let logs_to_file = config.log_file.is_some();
    let address = |asked: &Option<String>| asked.clone().unwrap_or(DEFAULT_ADDRESS.to_owned());
    let sockets = Sockets::bind(&address(&config.bind_udp), &address(&config.bind_tcp));
    let daemon = Daemon::start(config, sockets.map_err(StartError::Bind)?, exit)?;
    let name = loop {
        match exits.recv() {
            Ok(Exit::Signal(SignalAction::ShutDown(name))) => break name,
            Ok(Exit::Signal(SignalAction::HangUp)) if logs_to_file => {
                logging::reopen();
                log::info!("Got hangup signal: the log file is opened anew");
            }
            Ok(Exit::Signal(SignalAction::HangUp)) => break "hangup",
            Ok(Exit::Fatal(error)) => return Err(StartError::Target(error)),
            Ok(_) => {}
            Err(_) => break "no thread is left",
        }
    };
    log::info!("Got shutdown signal: {name}");
    daemon.shut_down(exits, logs_to_file, Some(Instant::now()))
}

/// The two bound sockets.
pub(super) struct Sockets {
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
}

impl Sockets {
    /// Binds both.
    ///
    /// # Errors
    /// The first that cannot be bound.
    pub(super) fn bind(udp: &str, tcp: &str) -> Result<Sockets, BindError> {
        Ok(Sockets {
            udp: socket::udp(udp)?,
            tcp: socket::tcp(tcp)?,
        })
    }

    /// Where they listen: by UDP, by TCP.
    pub(super) fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.udp.local_addr()?, self.tcp.local_addr()?))
    }
}

/// The running parts.
pub(super) struct Daemon {
    pub(super) socket: Arc<UdpSocket>,
    pub(super) readers: Readers,
    pub(super) proxy: ProxyServer,
    /// Where it takes OTLP, if it has a port for that.
    pub(super) otlp: Option<SocketAddr>,
    /// The threads report their end here.
    pub(super) exit: Sender<Exit>,
    pub(super) channel: UploadChannel,
    pub(super) shutdown_delay: Duration,
    pub(super) shutdown_timeout: Duration,
    _program: EndAtDrop,
}

/// Ends the program of a `credential_process` whichever way the daemon ends: it would go on alone.
struct EndAtDrop(RunningProgram);

impl Drop for EndAtDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Daemon {
    /// Starts the threads. Segments are received from here on. The region and the endpoint are
    /// found by a thread of its own, since that may take seconds. The threads for uploading start
    /// before the TCP front, so that clients cannot take the last thread that the system allows.
    pub(super) fn start(
        config: Config,
        Sockets { udp, tcp }: Sockets,
        exit: Sender<Exit>,
    ) -> Result<Daemon, StartError> {
        let env = |name: &str| std::env::var(name).ok();
        let profiles = Profiles::load(&env, &read_file).map_err(StartError::Profile)?;
        for warning in profiles.warnings() {
            log::warn!("{warning}");
        }
        let limit = memory::buffer_limit(config.buffer_mb.map(u64::from));
        log::info!("Using buffer memory limit of {} MB", limit >> 20);
        let otlp = otlp(&config)?;
        let is_otlp_enabled = config.otlp.is_some();
        if let Ok(address) = udp.local_addr() {
            log::info!("Listening on udp {address}");
        }
        let tcp_address = tcp.local_addr();
        if let Ok(address) = &tcp_address {
            log::info!("Starting proxy http server on {address}");
        }
        let otlp_address = otlp.as_ref().and_then(|socket| socket.local_addr().ok());
        if let Some(address) = otlp_address {
            log::info!("Listening for OTLP on {address}");
        }
        let socket = Arc::new(udp);
        let (channel, messages) = UploadChannel::new(limit / CHANNEL_PART);
        let (recycle, recycled) = sync_channel(SPARE_BATCHES);
        let counts: [Arc<ReaderCounts>; 2] = Default::default();
        let reading = Arc::new(AtomicBool::new(true));
        let (shutdown_delay, shutdown_timeout) = (config.shutdown_delay, config.shutdown_timeout);
        let uploads = UploadLimits {
            concurrency: config.concurrency,
            buffer: limit,
        };
        let (senders, allow_origin) = (uploads.senders(), config.allow_origin.clone());
        let any_host = config.view_any_host;
        let clients =
            ClientResources::new(limit.min(MAX_CLIENT_MEMORY), RESERVED_THREADS + senders);
        let program = RunningProgram::default();
        let Backend {
            handler,
            admin,
            counts: request_counts,
            has_page,
            shows_here,
            feed,
        } = backend::start(BackendParts {
            settings: TargetSettings {
                config,
                env: Arc::new(env),
                profiles,
                resolver: Resolver::start().map_err(StartError::Thread)?,
                program: program.clone(),
            },
            channel: channel.clone(),
            messages,
            readers: ReaderLedger::new(counts.clone()),
            recycle,
            limit,
            socket: Arc::clone(&socket),
            reading: Arc::clone(&reading),
            exit: exit.clone(),
            clients: Arc::clone(&clients),
        })?;
        let readers = Readers::start(ReaderParts {
            socket: Arc::clone(&socket),
            channel: channel.clone(),
            counts,
            recycled,
            batch_wait: batch_wait().unwrap_or(match shows_here {
                true => BATCH_WAIT_SHOWN,
                false => BATCH_WAIT,
            }),
            reading,
            on_ended: {
                let exit = exit.clone();
                Box::new(move || {
                    let _ = exit.send(Exit::ReadersEnded);
                })
            },
        })
        .map_err(StartError::Thread)?;
        let front = OtlpFront {
            next: handler,
            channel: channel.clone(),
            resources: Arc::clone(&clients),
            feed,
            is_enabled: is_otlp_enabled,
        };
        let proxy = ProxyServer::start(
            tcp,
            ProxyParts {
                otlp,
                limits: Limits::within_descriptors(RESERVED_DESCRIPTORS + senders),
                resources: clients,
                origins: AllowedOrigins::new(&allow_origin),
                operator: OperatorEndpoints {
                    paths: endpoints::PATHS,
                    answer: Box::new(move |path| admin.answer(path)),
                },
                handler: Arc::new(front),
                counts: request_counts,
            },
        )
        .map_err(StartError::Thread)?;
        if let (true, Ok(address)) = (has_page, tcp_address) {
            trace_page::announce(address, any_host);
        }
        Ok(Daemon {
            socket,
            readers,
            proxy,
            otlp: otlp_address,
            exit,
            channel,
            shutdown_delay,
            shutdown_timeout,
            _program: EndAtDrop(program),
        })
    }
}

/// Binds the socket for OTLP, if it is configured. If traces may be shown on this machine, the
/// daemon starts even when the port is taken: 4318 is the port of every collector.
fn otlp(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = &config.otlp else {
        return Ok(None);
    };
    match socket::otlp(address) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.is_taken() && config.exporter != Exporter::Xray => {
            log::warn!("{error}; going on without: spans are taken on the TCP address as well");
            Ok(None)
        }
        Err(error) => Err(StartError::Bind(error)),
    }
}

fn batch_wait() -> Option<Duration> {
    let text = std::env::var(BATCH_WAIT_VARIABLE).ok()?;
    text.parse().ok().map(Duration::from_millis)
}

/// TLS handshakes with metadata and token services are the deepest that these threads go.
const STACK: usize = 256 * 1024;

pub(super) fn spawn(
    name: &'static str,
    work: impl FnOnce() + Send + 'static,
) -> Result<(), StartError> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(work)
        .map(drop)
        .map_err(StartError::Thread)
}
