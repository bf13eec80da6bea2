//! The part that receives data from the readers and the TCP front: it sends to X-Ray, or shows
//! traces in the terminal.

use std::io::{IsTerminal, stdout};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};

use super::daemon::{StartError, spawn};
use super::exits::Exit;
use super::trace_page;
use crate::admin::endpoints::AdminEndpoints;
use crate::aws::clock::{self, Clock};
use crate::batch::Batch;
use crate::config::SpoolConfig;
use crate::config::cli::Exporter;
use crate::credentials::plan::is_configured;
use crate::credentials::sources::imds;
use crate::credentials::target::{self, FoundTarget, Patience, TargetError, TargetSettings};
use crate::env;
use crate::ingest::socket;
use crate::proxy::{
    ClientResources, Counts, LocalSampling, RequestHandler, SigningForwarder, TracePage,
};
use crate::spool::{self, SpoolMessage, SpoolSettings};
use crate::upload::counters::ReaderLedger;
use crate::upload::message::{Event, Message, SpoolAnswer};
use crate::upload::{Identity, Runner, RunnerParts, SpoolParts, UploadChannel, UploadLimits};
use crate::view::printer::{PrintStyle, Printer};
use crate::view::{Console, Feed, Options, SharedStore};

/// What the backend works with.
pub(super) struct BackendParts {
    pub(crate) settings: TargetSettings,
    pub(crate) channel: UploadChannel,
    pub(crate) messages: Receiver<Message>,
    pub(crate) readers: ReaderLedger,
    pub(crate) recycle: SyncSender<Batch>,
    pub(crate) limit: usize,
    pub(crate) socket: Arc<UdpSocket>,
    pub(crate) reading: Arc<AtomicBool>,
    pub(crate) exit: Sender<Exit>,
    pub(crate) clients: Arc<ClientResources>,
}

/// The running backend.
pub(super) struct Backend {
    /// Answers what clients ask by TCP.
    pub(crate) handler: Arc<dyn RequestHandler>,
    /// Answers what operators ask.
    pub(crate) admin: AdminEndpoints,
    /// Where requests of clients are counted.
    pub(crate) counts: Arc<Counts>,
    /// Whether the handler serves the page that shows traces.
    pub(crate) has_page: bool,
    /// Whether traces are shown here instead of being sent.
    pub(crate) shows_here: bool,
    /// Shows the spans that are uploaded.
    pub(crate) feed: Option<Feed>,
}

pub(super) fn start(parts: BackendParts) -> Result<Backend, StartError> {
    let BackendParts {
        settings,
        channel,
        messages,
        readers,
        recycle,
        limit,
        socket,
        reading,
        exit,
        clients,
    } = parts;
    let uncorrected = clock::is_disabled(&*settings.env, &settings.profiles);
    let clock = Arc::new(Clock::new(uncorrected));
    let counts = Arc::new(Counts::default());
    let admin = AdminEndpoints {
        calls: {
            let counts = Arc::clone(&counts);
            Box::new(move || counts.snapshot())
        },
        reading,
        channel: channel.clone(),
        clock: Arc::clone(&clock),
    };
    let udp = socket.local_addr().ok();
    let kernel_drops = Box::new(move || socket::kernel_drops(&socket));
    let on_drained = {
        let exit = exit.clone();
        Box::new(move || {
            let _ = exit.send(Exit::Drained);
        })
    };
    let (view, any_host) = (settings.config.view, settings.config.view_any_host);
    let page = |store, others| -> Arc<dyn RequestHandler> {
        Arc::new(TracePage {
            store,
            any_host,
            others,
        })
    };
    if let Some(style) = style(&settings) {
        if settings.config.spool.is_some() {
            log::warn!("the spool (--spool) is not used: traces are shown here and not sent");
        }
        let (exporter, by_default) = match style {
            PrintStyle::Console(_) => ("console", true),
            PrintStyle::Json => ("json", false),
        };
        let store = view
            .unwrap_or(by_default)
            .then(|| trace_page::store(trace_page::page_limit(limit), udp, exporter));
        let others: Arc<dyn RequestHandler> = Arc::new(LocalSampling);
        let handler = match &store {
            Some(store) => page(Arc::clone(store), others),
            None => others,
        };
        let has_page = store.is_some();
        let printer = Printer::new(messages, channel.clone(), readers, style, store, limit);
        spawn("printer", move || {
            let counts = printer.run(&*kernel_drops, &*on_drained);
            let _ = exit.send(Exit::UploaderEnded(counts));
        })?;
        return Ok(Backend {
            handler,
            admin,
            counts,
            has_page,
            shows_here: true,
            feed: None,
        });
    }
    let shown = match view {
        Some(true) => {
            let waiting = trace_page::feed_limit(limit);
            let kept = trace_page::page_limit(limit) - waiting;
            Some(show(trace_page::store(kept, udp, "xray"), waiting)?)
        }
        _ => None,
    };
    let set = |name| env::set(&*settings.env, name).unwrap_or_default();
    let spool = match &settings.config.spool {
        None => None,
        Some(spool) => Some(SpoolParts {
            messages: start_spool(spool, channel.clone())?,
            role: settings.config.role_arn.clone().unwrap_or_default(),
        }),
    };
    let runner = Runner::new(
        RunnerParts {
            limits: UploadLimits {
                concurrency: settings.config.concurrency,
                buffer: match shown {
                    Some(_) => limit - trace_page::page_limit(limit),
                    None => limit,
                },
            },
            clock: Arc::clone(&clock),
            identity: Identity {
                instance_id: set("AWS_INSTANCE_ID"),
                hostname: set("AWS_HOSTNAME"),
                resource_arn: settings.config.resource_arn.clone().unwrap_or_default(),
            },
            readers,
            recycled: recycle,
            kernel_drops,
            spool,
            show: match &shown {
                Some((_, feed)) => {
                    let feed = feed.clone();
                    Box::new(move |batch| feed.documents(batch))
                }
                None => Box::new(|_| ()),
            },
            on_drained,
        },
        channel.clone(),
        messages,
    )
    .map_err(StartError::Thread)?;
    spawn("uploader", {
        let exit = exit.clone();
        move || {
            let counts = runner.run();
            let _ = exit.send(Exit::UploaderEnded(counts));
        }
    })?;
    let forwarder = Arc::new(SigningForwarder::new(
        Arc::clone(&clock),
        clients,
        Arc::clone(&counts),
        settings.config.sampling_cache,
    ));
    let identity = Identify {
        settings,
        clock,
        forwarder: Arc::clone(&forwarder),
        channel,
    };
    spawn("credentials", move || {
        if let Err(error) = identity.run() {
            let _ = exit.send(Exit::Fatal(error));
        }
    })?;
    let has_page = shown.is_some();
    let (handler, feed) = match shown {
        Some((store, feed)) => (page(store, forwarder), Some(feed)),
        None => (forwarder as Arc<dyn RequestHandler>, None),
    };
    Ok(Backend {
        handler,
        admin,
        counts,
        has_page,
        shows_here: false,
        feed,
    })
}

/// Starts the thread that does the disk I/O. Returns the channel to it.
fn start_spool(
    config: &SpoolConfig,
    channel: UploadChannel,
) -> Result<Sender<SpoolMessage>, StartError> {
    let (messages, receiver) = mpsc::channel();
    let settings = SpoolSettings {
        directory: config.directory.clone(),
        limit: u64::from(config.limit_mb) << 20,
    };
    spawn("spool", move || {
        spool::run(settings, &receiver, |event| {
            channel.send(Event::Spool(SpoolAnswer(event)));
        });
    })?;
    Ok(messages)
}

/// Starts the thread that keeps for the page what is uploaded, of which `waiting` bytes may wait for it.
fn show(store: Arc<SharedStore>, waiting: usize) -> Result<(Arc<SharedStore>, Feed), StartError> {
    let (feed, feeder) = Feed::new(waiting);
    let kept = Arc::clone(&store);
    spawn("view", move || feeder.run(&kept))?;
    Ok((store, feed))
}

/// How to show traces here; `None` if they go to X-Ray.
fn style(settings: &TargetSettings) -> Option<PrintStyle> {
    let console = || {
        let env = |name: &str| (settings.env)(name);
        let options = Options {
            annotations: settings.config.annotations,
            ..Options::from_env(stdout().is_terminal(), env)
        };
        PrintStyle::Console(Console::new(options))
    };
    match settings.config.exporter {
        Exporter::Xray => None,
        Exporter::Json => Some(PrintStyle::Json),
        Exporter::Console => Some(console()),
        Exporter::Auto => {
            let role_arn = settings.config.role_arn.as_deref();
            if is_configured(&*settings.env, &settings.profiles, role_arn) {
                log::info!("AWS credentials are configured: segments go to X-Ray");
                return None;
            }
            log::info!(
                "No AWS credentials are configured: traces are shown here, nothing leaves this machine"
            );
            Some(console())
        }
    }
}

/// The thread `credentials`: finds the region, the endpoint and the source of credentials, then
/// renews the credentials.
struct Identify {
    settings: TargetSettings,
    clock: Arc<Clock>,
    forwarder: Arc<SigningForwarder>,
    channel: UploadChannel,
}

impl Identify {
    fn run(self) -> Result<(), TargetError> {
        let FoundTarget {
            target,
            region_source,
            credentials,
            through,
            host,
        } = target::resolve(&self.settings, &self.clock, Patience::Minute)?;
        log::info!(
            "Using region: {} (from {region_source}), AWS credentials from: {credentials}",
            target.region
        );
        log::info!("Using endpoint: {}", target.uploads.current().url);
        if let Some(through) = through {
            log::info!("Using proxy: {through}");
        }
        let credentials = Arc::clone(&target.credentials);
        self.channel.send(Event::Target(Arc::clone(&target)));
        self.forwarder.set_target(target);
        self.beside(host);
        let channel = self.channel;
        credentials.run(&|snapshot| channel.send(Event::Credentials(Box::new(snapshot))));
        Ok(())
    }

    /// Work that nothing waits for: a first connection to X-Ray, so that the first sampling call
    /// finds it open, and the names of this host, for telemetry.
    fn beside(&self, host: Option<imds::ImdsClient>) {
        let forwarder = Arc::clone(&self.forwarder);
        let channel = self.channel.clone();
        let env = Arc::clone(&self.settings.env);
        let started = spawn("warm-up", move || {
            forwarder.warm();
            let Some(mut imds) = host else { return };
            let known = |name: &str| env::set(&*env, name);
            let mut ask = |name: &str, path: &str| {
                known(name).or_else(|| match imds.get(path) {
                    Ok(text) => Some(text.trim().to_owned()),
                    Err(error) => {
                        log::debug!("telemetry is sent without {path}: {error}");
                        None
                    }
                })
            };
            let instance_id = ask("AWS_INSTANCE_ID", "meta-data/instance-id");
            // If the metadata service did not answer the first request, there is no second one.
            let hostname = match instance_id {
                Some(_) => ask("AWS_HOSTNAME", "meta-data/hostname"),
                None => known("AWS_HOSTNAME"),
            };
            channel.send(Event::Host(
                instance_id.unwrap_or_default(),
                hostname.unwrap_or_default(),
            ));
        });
        if let Err(error) = started {
            log::debug!("cannot connect to X-Ray in advance: {error}");
        }
    }
}
