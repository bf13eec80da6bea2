//! Finds the region, the endpoints and the source of credentials.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::Agent;

use crate::aws::clock::Clock;
use crate::aws::endpoint::{
    self, CloudWatchEndpoints, EndpointError, Endpoints, IdentityEndpoints,
};
use crate::aws::profile::{Profiles, read_file};
use crate::aws::region::{self, NoRegion};
use crate::config::Config;
use crate::credentials::chain::{self, Chain};
use crate::credentials::metadata::{MetadataRequest, exchange};
use crate::credentials::sources::process::RunningProgram;
use crate::credentials::sources::roles::Role;
use crate::credentials::sources::{imds, sts};
use crate::credentials::{CredentialCache, SourceError, Timing};
use crate::env::{Env, set};
use crate::http::client::{
    AgentError, HttpClientConfig, HttpClientFactory, ServiceClient, metadata_agent,
};
use crate::http::dns::Resolver;

/// Where to send, and with what.
pub struct Target {
    /// Region to sign for.
    pub region: String,
    /// Carries the daemon's uploads to X-Ray.
    pub uploads: ServiceClient,
    /// Carries the requests of clients of the TCP front to X-Ray.
    pub forwards: ServiceClient,
    /// Carry what OpenTelemetry sends besides spans, where the daemon may pass it on.
    pub cloudwatch: Option<CloudWatchClients>,
    /// The credentials to sign with. Reading them never waits.
    pub credentials: Arc<CredentialCache>,
}

/// The clients of the services that take what OpenTelemetry sends besides spans.
pub struct CloudWatchClients {
    /// CloudWatch Logs.
    pub logs: ServiceClient,
    /// CloudWatch, which takes metrics.
    pub metrics: ServiceClient,
    /// CloudWatch Application Signals.
    pub application_signals: ServiceClient,
}

impl Target {
    /// Lets the clients' current requests and all later ones fail at once.
    pub(crate) fn shutdown_forwards(&self) {
        self.forwards.shutdown();
        if let Some(CloudWatchClients {
            logs,
            metrics,
            application_signals,
        }) = &self.cloudwatch
        {
            for client in [logs, metrics, application_signals] {
                client.shutdown();
            }
        }
    }
}

/// The target, with what was found on the way.
pub(crate) struct FoundTarget {
    /// For all that send.
    pub target: Arc<Target>,
    /// Why this region: `AWS_REGION`, `EC2 metadata`.
    pub(crate) region_source: String,
    /// The credential source and why: `environment (AWS_ACCESS_KEY_ID is set)`.
    pub credentials: String,
    /// The proxy that requests go through: host and port.
    pub through: Option<String>,
    /// The metadata service of EC2, where it may be asked for instance id and host name.
    pub host: Option<imds::ImdsClient>,
}

/// Why the daemon cannot know where to send. It ends with status 1.
#[derive(Debug)]
pub(crate) enum TargetError {
    /// No source says which region this is.
    Region(NoRegion),
    /// The region or a custom endpoint cannot be used.
    Endpoint(EndpointError),
    /// The proxy or the certificate bundle cannot be used.
    Agent(AgentError),
    /// The settings of the EC2 metadata service cannot be used.
    Metadata(SourceError),
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetError::Region(error) => error.fmt(f),
            TargetError::Endpoint(error) => error.fmt(f),
            TargetError::Agent(error) => error.fmt(f),
            TargetError::Metadata(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TargetError {}

/// Settings that are read before the sockets are bound.
pub(crate) struct TargetSettings {
    /// Flags and cfg.yaml.
    pub config: Config,
    /// The environment.
    pub env: Env,
    /// The shared AWS files.
    pub profiles: Profiles,
    /// Looks names up, on a thread that was started before clients could take the last one.
    pub resolver: Resolver,
    /// Whoever ends this process ends this, too.
    pub(crate) program: RunningProgram,
}

/// `AWS_EXECUTION_ENV` in a task on Fargate.
const FARGATE: &str = "AWS_ECS_FARGATE";

/// Limit for the task endpoint. It is on this host: it answers in milliseconds or not at all.
const TASK_CONNECT: Duration = Duration::from_secs(1);
const TASK_TOTAL: Duration = Duration::from_secs(2);

/// How long a silent metadata service is asked for the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Once.
    None,
    /// For a minute: a host may start the daemon before its network is up.
    Minute,
}

/// Resolves region, endpoint and credential source. May wait for metadata endpoints, for seconds,
/// or for as long as `patience` says.
///
/// # Errors
/// When there is no region, or a setting cannot be used. Missing credentials are no error.
pub(crate) fn resolve(
    settings: &TargetSettings,
    clock: &Arc<Clock>,
    patience: Patience,
) -> Result<FoundTarget, TargetError> {
    let TargetSettings {
        config,
        env,
        profiles,
        resolver,
        program,
    } = settings;
    let metadata = metadata_agent(resolver);
    let timing = Timing::new({
        let clock = Arc::clone(clock);
        Arc::new(move || clock.now())
    });
    let imds = imds::settings(&**env, &|key| profiles.value(key).map(str::to_owned))
        .map_err(TargetError::Metadata)?
        .map(|settings| imds::ImdsClient::new(settings, metadata.clone(), timing.clone()));
    let mut asked = imds;
    let region = region(settings, &metadata, &mut asked, patience).map_err(TargetError::Region)?;
    if let Some(hint) = endpoint::hint(&region.name) {
        log::warn!(
            "region {:?} (from {}) is used, but not known to this daemon; did you mean {hint}?",
            region.name,
            region.source
        );
    }
    let endpoints = Endpoints::load(&region.name, config.endpoint.as_deref(), &**env, profiles)
        .map_err(TargetError::Endpoint)?;

    let service = HttpClientFactory::new(HttpClientConfig {
        resolver: resolver.clone(),
        proxy_address: config.proxy_address.as_deref().unwrap_or_default(),
        no_verify_ssl: config.no_verify_ssl,
        profile_ca_bundle: profiles.value("ca_bundle"),
        connections: config.concurrency,
        user_agent: &user_agent(set(&**env, "AWS_EXECUTION_ENV").as_deref()),
        env: &**env,
    })
    .map_err(TargetError::Agent)?;
    let service = Arc::new(service);
    let cloudwatch = match &config.otlp {
        None => None,
        Some(_) => Some(
            CloudWatchEndpoints::load(&region.name, &**env, profiles)
                .map_err(TargetError::Endpoint)?,
        ),
    };
    let cloudwatch = cloudwatch
        .map(|urls| {
            Ok(CloudWatchClients {
                logs: service.client(&urls.logs)?,
                metrics: service.client(&urls.metrics)?,
                application_signals: service.client(&urls.application_signals)?,
            })
        })
        .transpose()
        .map_err(TargetError::Agent)?;
    let chain = Chain::new(
        chain::Parts {
            env: Arc::clone(env),
            role: config.role_arn.as_deref().map(|arn| Role {
                external_id: config.external_id.clone(),
                ..Role::new(arn)
            }),
            metadata: metadata.clone(),
            program: program.clone(),
            identity: IdentityEndpoints::load(&**env, profiles),
            sts: sts::StsClient {
                service: Arc::clone(&service),
                endpoints: endpoints.clone(),
                clock: Arc::clone(clock),
                timing: timing.clone(),
                on_behalf: sts::on_behalf(&**env),
                has_no_route: false,
                use_fallback_region: false,
            },
        },
        profiles,
    );
    let credentials = chain.choice();
    let target = Target {
        uploads: service
            .client(&endpoints.xray)
            .map_err(TargetError::Agent)?,
        forwards: service
            .client(&endpoints.xray)
            .map_err(TargetError::Agent)?,
        cloudwatch,
        region: region.name,
        credentials: CredentialCache::new(Box::new(chain), timing),
    };
    // Fargate has no metadata service of EC2.
    let on_fargate = set(&**env, "AWS_EXECUTION_ENV").as_deref() == Some(FARGATE);
    let ask_host = !config.local_mode && !on_fargate;
    Ok(FoundTarget {
        region_source: region.source,
        credentials,
        through: service
            .proxy_name(&endpoints.xray.usual)
            .map_err(TargetError::Agent)?,
        host: asked.filter(|_| ask_host),
        target: Arc::new(target),
    })
}

fn region(
    settings: &TargetSettings,
    metadata: &Agent,
    imds: &mut Option<imds::ImdsClient>,
    patience: Patience,
) -> Result<region::Region, NoRegion> {
    let imds = std::cell::RefCell::new(imds);
    let sources = region::RegionSources {
        configured: settings.config.region.as_deref(),
        env: &*settings.env,
        profile: (
            settings.profiles.selected_name(),
            settings.profiles.value("region"),
        ),
        local_mode: settings.config.local_mode,
        read: &read_file,
        task: &|url| task(metadata, url),
        imds: &|path| match imds.borrow_mut().as_mut() {
            None => {
                region::MetadataAnswer::Disabled("AWS_EC2_METADATA_DISABLED is true".to_owned())
            }
            Some(client) => match client.get(path) {
                Ok(text) => region::MetadataAnswer::Body(text.into_bytes()),
                Err(
                    error @ (SourceError::Unreachable { .. }
                    | SourceError::Refused { status: 500.., .. }),
                ) => region::MetadataAnswer::Silent(error.to_string()),
                Err(error) => region::MetadataAnswer::Refused(error.to_string()),
            },
        },
        pause: &std::thread::sleep,
    };
    if patience == Patience::None {
        return region::resolve(&sources);
    }
    region::resolve_patiently(&sources, &Instant::now, &|error| {
        log::warn!("No region is known yet; segments wait for it, for up to a minute: {error}");
    })
}

fn task(metadata: &Agent, url: &str) -> region::MetadataAnswer {
    let answer = exchange(
        metadata,
        &MetadataRequest {
            method: "GET",
            url,
            headers: &[],
            body: None,
            connect: TASK_CONNECT,
            total: TASK_TOTAL,
        },
    );
    match answer {
        Ok(answer) if answer.is_success() => region::MetadataAnswer::Body(answer.body),
        Ok(answer) => region::MetadataAnswer::Refused(format!("HTTP {}", answer.status)),
        Err(failure) => region::MetadataAnswer::Silent(failure.why),
    }
}

/// The official daemon's user agent, by which X-Ray may tell daemons apart.
fn user_agent(execution_env: Option<&str>) -> String {
    let execution_env = execution_env.unwrap_or("UNKNOWN");
    let printable = |c: &char| c.is_ascii_graphic();
    let execution_env: String = execution_env.chars().filter(printable).take(64).collect();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!(
        "xray-agent/xray-daemon/{} exec-env/{execution_env} OS/{}-{architecture}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
    )
}
