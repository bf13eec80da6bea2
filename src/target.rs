//! Finds out whom to send to, and as whom.

use std::fmt;
use std::sync::Arc;

use crate::agent::{self, AgentError, Service, ServiceConfig};
use crate::clock::Clock;
use crate::config::Config;
use crate::credentials::{Keeper, Renewal, Source, Timing, container, environment};
use crate::endpoint::{EndpointError, Endpoints, Sources};
use crate::uploader::Target;

/// Why the daemon cannot know where to send. It ends with status 1.
#[derive(Debug)]
pub enum TargetError {
    /// No source says which region this is.
    NoRegion(String),
    /// The region or a custom endpoint cannot be used.
    Endpoint(EndpointError),
    /// The proxy or the certificate bundle cannot be used.
    Agent(AgentError),
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetError::NoRegion(tried) => write!(f, "no region: {tried}; pass -n REGION"),
            TargetError::Endpoint(error) => error.fmt(f),
            TargetError::Agent(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TargetError {}

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Resolves region, endpoint and credential source. May wait for metadata endpoints, for seconds.
///
/// # Errors
/// When there is no region, or a setting cannot be used. Missing credentials are no error.
pub fn resolve(config: &Config, env: Env<'_>, clock: &Arc<Clock>) -> Result<Target, TargetError> {
    let set = |name| environment::set(env, name);
    let region = config
        .region
        .clone()
        .or_else(|| set("AWS_REGION"))
        .or_else(|| set("AWS_DEFAULT_REGION"))
        .ok_or_else(|| TargetError::NoRegion("AWS_REGION and AWS_DEFAULT_REGION unset".into()))?;
    let endpoints = Endpoints::resolve(
        &region,
        &Sources {
            configured: config.endpoint.as_deref(),
            env_xray: set("AWS_ENDPOINT_URL_XRAY").as_deref(),
            env_all: set("AWS_ENDPOINT_URL").as_deref(),
            ..Sources::default()
        },
    )
    .map_err(TargetError::Endpoint)?;
    let service = Service::new(&ServiceConfig {
        proxy_address: config.proxy_address.as_deref().unwrap_or_default(),
        no_verify_ssl: config.no_verify_ssl,
        profile_ca_bundle: None,
        connections: config.concurrency,
        user_agent: &user_agent(set("AWS_EXECUTION_ENV").as_deref()),
        env,
    })
    .map_err(TargetError::Agent)?;
    let agent = service.agent(&endpoints.xray).map_err(TargetError::Agent)?;
    let clock = Arc::clone(clock);
    let timing = Timing::new(Arc::new(move || clock.now()));
    let keeper = Keeper::new(source(env, &timing), timing);
    Ok(Target {
        endpoint: endpoints.xray,
        region,
        agent,
        keeper,
    })
}

fn source(env: Env<'_>, timing: &Timing) -> Box<dyn Source> {
    if let environment::Keys::Both(credentials) = environment::keys(env) {
        return Box::new(environment::Fixed {
            name: "environment".to_owned(),
            credentials,
            renewal: Renewal::Fixed,
        });
    }
    match container::settings(env) {
        Some(settings) => Box::new(container::Container::new(
            settings,
            agent::metadata(),
            timing.clone(),
        )),
        None => Box::new(environment::Fixed {
            name: "environment".to_owned(),
            credentials: aws_credential_types::Credentials::new("", "", None, None, "none"),
            renewal: Renewal::Fixed,
        }),
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
