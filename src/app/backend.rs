//! What stands behind the readers and the TCP front: X-Ray, or the terminal.

use std::io::{IsTerminal, stdout};
use std::net::UdpSocket;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, PoisonError};
use std::thread::JoinHandle;

use signal_hook::iterator::Handle;

use super::daemon::{Failed, StartError, spawn};
use crate::admin::endpoints::Operator;
use crate::admin::metrics::Gauges;
use crate::aws::clock::{self, Clock};
use crate::config::cli::Exporter;
use crate::credentials::Keeper;
use crate::credentials::plan::is_configured;
use crate::credentials::sources::{environment, imds};
use crate::credentials::target::{self, Found, Settings, TargetError};
use crate::ingest::intake::Intake;
use crate::ingest::socket;
use crate::proxy::{ClientResources, Counts, Handler, LocalSampling, SigningForwarder};
use crate::upload::counters::Books;
use crate::upload::message::{Event, Events};
use crate::upload::telemetry::{Identity, Telemetry};
use crate::upload::uploader::{Parts, Uploader};
use crate::view::printer::{Printer, Style};
use crate::view::{Console, Options};

/// What the backend shares with the readers.
pub(super) struct Shared {
    pub intake: Arc<Intake>,
    pub books: Arc<Books>,
    pub limit: usize,
    pub socket: Arc<UdpSocket>,
    pub reading: Arc<AtomicBool>,
    pub clients: Arc<ClientResources>,
}

/// The running backend.
pub(super) struct Backend {
    /// The thread that delivers documents.
    pub delivery: JoinHandle<()>,
    /// To the part that does.
    pub events: Events,
    /// Answers what clients ask by TCP.
    pub handler: Arc<dyn Handler>,
    /// Answers what operators ask.
    pub operator: Operator,
}

pub(super) fn start(
    settings: Settings,
    shared: Shared,
    signals: Handle,
    failed: &Failed,
) -> Result<Backend, StartError> {
    let uncorrected = clock::is_disabled(&*settings.env, &settings.profiles);
    let clock = Arc::new(Clock::new(uncorrected));
    let keeper = Arc::new(OnceLock::new());
    let gauges = Arc::new(Gauges::default());
    let calls = Arc::new(Counts::default());
    let count_drops: Arc<dyn Fn() + Send + Sync> = Arc::new({
        let (socket, books) = (Arc::clone(&shared.socket), Arc::clone(&shared.books));
        move || {
            if let Some(drops) = socket::kernel_drops(&socket) {
                books.set_kernel_drops(drops);
            }
        }
    });
    let operator = |events: &Events| Operator {
        books: Arc::clone(&shared.books),
        gauges: Arc::clone(&gauges),
        calls: Arc::clone(&calls),
        limit: shared.limit,
        reading: Arc::clone(&shared.reading),
        events: Arc::clone(events),
        clock: Arc::clone(&clock),
        keeper: Arc::clone(&keeper),
        count_drops: Arc::clone(&count_drops),
    };
    if let Some(style) = style(&settings) {
        let (intake, books) = (Arc::clone(&shared.intake), Arc::clone(&shared.books));
        let (printer, events) = Printer::new(intake, books, style);
        return Ok(Backend {
            delivery: spawn("printer", move || printer.run())?,
            handler: Arc::new(LocalSampling),
            operator: operator(&events),
            events,
        });
    }
    let set = |name| environment::set(&*settings.env, name).unwrap_or_default();
    let uploader = Uploader::new(Parts {
        intake: Arc::clone(&shared.intake),
        books: Arc::clone(&shared.books),
        gauges: Arc::clone(&gauges),
        clock: Arc::clone(&clock),
        concurrency: settings.config.concurrency,
        limit: shared.limit,
        telemetry: Telemetry::new(Identity {
            instance_id: set("AWS_INSTANCE_ID"),
            hostname: set("AWS_HOSTNAME"),
            resource_arn: settings.config.resource_arn.clone().unwrap_or_default(),
        }),
    });
    let events = uploader.events();
    let operator = operator(&events);
    let delivery = spawn("uploader", move || uploader.run(&*count_drops))?;
    let signed = Arc::new(SigningForwarder::new(
        Arc::clone(&clock),
        Arc::clone(&shared.clients),
        Arc::clone(&calls),
        settings.config.sampling_cache,
    ));
    let identity = Identify {
        settings,
        clock,
        keeper,
        signed: Arc::clone(&signed),
        events: Arc::clone(&events),
    };
    spawn("credentials", {
        let failed = Arc::clone(failed);
        move || {
            if let Err(error) = identity.run() {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                signals.close();
            }
        }
    })?;
    Ok(Backend {
        delivery,
        events,
        handler: signed,
        operator,
    })
}

/// How to show traces here, if that is what was asked for.
fn style(settings: &Settings) -> Option<Style> {
    let console = || {
        let env = |name: &str| (settings.env)(name);
        let options = Options {
            annotations: settings.config.annotations,
            ..Options::from_env(stdout().is_terminal(), env)
        };
        Style::Console(Console::new(options))
    };
    match settings.config.exporter {
        Exporter::Xray => None,
        Exporter::Json => Some(Style::Json),
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

/// The thread `credentials`: finds out whom to send to and as whom, then keeps the credentials
/// fresh.
struct Identify {
    settings: Settings,
    clock: Arc<Clock>,
    keeper: Arc<OnceLock<Arc<Keeper>>>,
    signed: Arc<SigningForwarder>,
    events: Events,
}

impl Identify {
    fn run(self) -> Result<(), TargetError> {
        let Found {
            target,
            region_source,
            credentials,
            through,
            host,
        } = target::resolve(&self.settings, &self.clock)?;
        log::info!(
            "Using region: {} (from {region_source}), AWS credentials from: {credentials}",
            target.region
        );
        log::info!("Using endpoint: {}", target.endpoint);
        if let Some(through) = through {
            log::info!("Using proxy: {through}");
        }
        let keeper = Arc::clone(&target.keeper);
        let _ = self.keeper.set(Arc::clone(&keeper));
        (self.events)(Event::Target(Arc::clone(&target)));
        self.signed.set_target(target);
        self.beside(host);
        let events = self.events;
        keeper.run(Box::new(move || events(Event::Credentials)));
        Ok(())
    }

    /// What nobody waits for: a first connection to X-Ray, so that the first sampling call finds
    /// it warm, and who this host is, for telemetry.
    fn beside(&self, host: Option<imds::Client>) {
        let signed = Arc::clone(&self.signed);
        let events = Arc::clone(&self.events);
        let env = Arc::clone(&self.settings.env);
        let started = spawn("warm-up", move || {
            signed.warm();
            let Some(mut imds) = host else { return };
            let known = |name: &str| environment::set(&*env, name);
            let mut ask = |name: &str, path: &str| {
                known(name).or_else(|| match imds.get(path) {
                    Ok(text) => Some(text.trim().to_owned()),
                    Err(error) => {
                        log::debug!("telemetry goes without {path}: {error}");
                        None
                    }
                })
            };
            let instance_id = ask("AWS_INSTANCE_ID", "meta-data/instance-id");
            // Where nobody answered the first question, nobody is asked the second.
            let hostname = match instance_id {
                Some(_) => ask("AWS_HOSTNAME", "meta-data/hostname"),
                None => known("AWS_HOSTNAME"),
            };
            events(Event::Host(
                instance_id.unwrap_or_default(),
                hostname.unwrap_or_default(),
            ));
        });
        if let Err(error) = started {
            log::debug!("no connection is made ahead: {error}");
        }
    }
}
