//! `xray check`: does every step that the daemon would do to deliver a segment, and prints which
//! steps work and which do not. It binds no port and sends no segment.

mod calls;
mod page;
mod report;

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use ureq::http::Uri;

use super::daemon::spawn;
use crate::aws::clock::{self, Clock};
use crate::aws::endpoint;
use crate::aws::profile::{Profiles, read_file};
use crate::config::cli::Exporter;
use crate::config::{Config, ConfigError};
use crate::credentials::date;
use crate::credentials::sources::process::RunningProgram;
use crate::credentials::target::{
    self, FoundTarget, Patience, Target, TargetError, TargetSettings,
};
use crate::http::client::AgentError;
use crate::http::dns::Resolver;
use crate::http::error::{TransportError, TransportErrorKind as Kind};
use crate::http::url;
use crate::spool::{XRayApi, examine};
use crate::upload::explain;
use crate::upload::response::{Meaning, ResponseBody, XRayResponse};
use page::Page;
use report::CheckVerdict;

/// Limit for fetching credentials. A `credential_process` may take a minute; all other sources are
/// faster.
const CREDENTIALS: Duration = Duration::from_secs(65);

/// The time that the daemon waits for a name look-up.
const LOOK_UP: Duration = Duration::from_secs(3);

/// A clock that is this far off is worth a warning: signatures are refused after five minutes.
const MOST_SKEW: Duration = Duration::from_secs(60);

/// Prints the report for this configuration. Returns whether segments reach X-Ray.
pub(super) fn run(config: Result<Config, ConfigError>) -> bool {
    let mut page = Page::new();
    page.print(&format!("xray {}\n\n", env!("CARGO_PKG_VERSION")));
    if steps(&mut page, config).is_none() {
        page.line(
            CheckVerdict::NotTried,
            "upload",
            "not tried because of the failure above",
        );
    }
    page.end()
}

/// Returns `None` if a step has failed that all later steps depend on.
fn steps(page: &mut Page, config: Result<Config, ConfigError>) -> Option<()> {
    let settings = settings(page, config)?;
    let disabled = clock::is_disabled(&*settings.env, &settings.profiles);
    let clock = Arc::new(Clock::new(disabled));
    let found = target::resolve(&settings, &clock, Patience::None)
        .map_err(|error| page.fail(subject(&error), &error.to_string()))
        .ok()?;
    region(page, &found);
    let target = Arc::clone(&found.target);
    let credentials = credentials(page, &found);
    addresses(page, &settings.resolver, &found);
    let connected = connection(page, &target, &clock);
    // The source of credentials may be running a program, which must not outlive this process.
    settings.program.end();
    let credentials = credentials?;
    connected?;
    sampling(page, &target, &clock, &credentials);
    upload(page, &target, &clock, &credentials);
    skew(page, &clock);
    Some(())
}

/// Reports which part of the target could not be found.
fn subject(error: &TargetError) -> &'static str {
    match error {
        TargetError::Region(_) => "region",
        TargetError::Endpoint(_) => "endpoint",
        TargetError::Agent(AgentError::Proxy { .. }) => "proxy",
        TargetError::Agent(AgentError::Bundle { .. }) => "certificates",
        TargetError::Agent(AgentError::Target(_)) => "endpoint",
        TargetError::Metadata(_) => "metadata",
    }
}

fn settings(page: &mut Page, config: Result<Config, ConfigError>) -> Option<TargetSettings> {
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            for problem in &error.problems {
                page.fail("configuration", problem);
            }
            return None;
        }
    };
    let file = match &config.file {
        Some(path) => format!("the command line and {}", path.display()),
        None => "the command line; there is no cfg.yaml".to_owned(),
    };
    page.ok("configuration", &file);
    for warning in &config.warnings {
        page.line(CheckVerdict::Warning, "configuration", warning);
    }
    if matches!(config.exporter, Exporter::Console | Exporter::Json) {
        let text = "with this --exporter the daemon shows segments here and sends none to X-Ray";
        page.line(CheckVerdict::Warning, "configuration", text);
    }
    spool(page, &config);
    let env = |name: &str| std::env::var(name).ok();
    let profiles = Profiles::load(&env, &read_file)
        .map_err(|error| page.fail("profile", &error.to_string()))
        .ok()?;
    for warning in profiles.warnings() {
        page.line(CheckVerdict::Warning, "profile", warning);
    }
    let resolver = Resolver::start()
        .map_err(|error| page.fail("system", &format!("cannot start a thread: {error}")))
        .ok()?;
    Some(TargetSettings {
        config,
        env: Arc::new(env),
        profiles,
        resolver,
        program: RunningProgram::default(),
    })
}

/// Without it the daemon works, but keeps nothing for its next start.
fn spool(page: &mut Page, config: &Config) {
    let Some(spool) = &config.spool else { return };
    let directory = spool.directory.display();
    match examine(&spool.directory) {
        Ok(exists) => {
            let created = if exists {
                ""
            } else {
                ", which the daemon creates"
            };
            let text = format!("{directory}{created}; at most {} MB", spool.limit_mb);
            page.ok("spool", &text);
        }
        Err(error) => page.line(CheckVerdict::Warning, "spool", &error.to_string()),
    }
}

fn region(page: &mut Page, found: &FoundTarget) {
    let region = format!("{} (from {})", found.target.region, found.region_source);
    match endpoint::hint(&found.target.region) {
        None => page.ok("region", &region),
        Some(hint) => page.line(
            CheckVerdict::Warning,
            "region",
            &format!("{region} is not known to this daemon; did you mean {hint}?"),
        ),
    }
    page.ok("endpoint", &found.target.uploads.current().url);
    page.ok("proxy", found.through.as_deref().unwrap_or("none"));
}

fn credentials(page: &mut Page, found: &FoundTarget) -> Option<Credentials> {
    let (sender, snapshots) = channel();
    let cache = Arc::clone(&found.target.credentials);
    let started = spawn("credentials", move || {
        cache.run(&|snapshot| {
            // Only the first is waited for.
            let _ = sender.send(snapshot);
        });
    });
    if let Err(error) = started {
        page.fail("credentials", &error.to_string());
        return None;
    }
    let Ok(snapshot) = snapshots.recv_timeout(CREDENTIALS) else {
        let text = format!("{}: no answer in {CREDENTIALS:?}", found.credentials);
        page.fail("credentials", &text);
        return None;
    };
    let Some(credentials) = snapshot.credentials else {
        let error = snapshot.status.error.unwrap_or_default();
        page.fail("credentials", &error);
        return None;
    };
    let until = match (credentials.expiry(), credentials.session_token()) {
        (Some(at), _) => format!("expire at {}", date::format(at)),
        (None, Some(_)) => "are temporary and do not say their expiry".to_owned(),
        (None, None) => "do not expire".to_owned(),
    };
    let key = report::masked(credentials.access_key_id());
    page.ok(
        "credentials",
        &format!("{}: {key}, {until}", found.credentials),
    );
    Some(credentials)
}

fn addresses(page: &mut Page, resolver: &Resolver, found: &FoundTarget) {
    let (name, what) = match &found.through {
        Some(proxy) => (format!("http://{proxy}"), " (of the proxy)"),
        None => (found.target.uploads.current().url.clone(), ""),
    };
    let Some((host, port)) = name
        .parse::<Uri>()
        .ok()
        .and_then(|uri| Some((uri.host()?.to_owned(), url::port(&uri))))
    else {
        return;
    };
    match resolver.addresses(&host, port, LOOK_UP) {
        Ok(addresses) => {
            let list: Vec<String> = addresses.iter().map(|a| a.ip().to_string()).collect();
            page.ok("addresses", &format!("{host}{what}: {}", list.join(", ")));
        }
        Err(error) => page.fail("addresses", &format!("{host}{what}: {error}")),
    }
}

fn connection(page: &mut Page, target: &Target, clock: &Clock) -> Option<()> {
    let start = Instant::now();
    match calls::connect(target, clock) {
        Ok(()) => {
            let url = &target.uploads.current().url;
            let security = match url.starts_with("https:") {
                true => "with TLS",
                false => "without TLS",
            };
            let took = start.elapsed().as_millis();
            page.ok("connection", &format!("answered {security} in {took} ms"));
            Some(())
        }
        // Services that imitate X-Ray may know no such request.
        Err(error) if matches!(error.kind, Kind::Other | Kind::ClosedIdle) => {
            page.line(CheckVerdict::Warning, "connection", &unanswered(&error));
            Some(())
        }
        Err(error) => {
            page.fail("connection", &unanswered(&error));
            None
        }
    }
}

fn unanswered(error: &TransportError) -> String {
    format!("{error}; {}", calls::transport_advice(error.kind))
}

fn sampling(page: &mut Page, target: &Target, clock: &Clock, credentials: &Credentials) {
    let result = calls::call(target, clock, credentials, "/GetSamplingRules", "{}");
    let is_answered = |response: &XRayResponse| {
        response.status == 200 && response.body != ResponseBody::NotAnObject
    };
    match &result {
        Ok(response) if is_answered(response) => {
            page.ok("sampling rules", "GetSamplingRules is allowed");
        }
        _ => {
            let text = format!(
                "GetSamplingRules: {}. SDKs sample by rules of their own until it is answered",
                explained(&result)
            );
            page.line(CheckVerdict::Warning, "sampling rules", &text);
        }
    }
}

fn upload(page: &mut Page, target: &Target, clock: &Clock, credentials: &Credentials) {
    let body = r#"{"TraceSegmentDocuments":[]}"#;
    let result = calls::call(target, clock, credentials, "/TraceSegments", body);
    let meaning = result.as_ref().map(XRayResponse::meaning);
    match meaning {
        Ok(Meaning::Delivered(_)) => page.ok("upload", "PutTraceSegments is allowed"),
        Ok(Meaning::Refused) if !refuses_empty_batch(&result) => {
            let text = format!("PutTraceSegments: {}", explained(&result));
            page.line(CheckVerdict::Warning, "upload", &text);
        }
        // X-Ray checks the sender before the content, so this answer shows that the sender is
        // allowed.
        Ok(Meaning::Refused) => {
            let text = "PutTraceSegments is allowed; X-Ray refuses only that it holds no segment";
            page.ok("upload", text);
        }
        _ => page.fail(
            "upload",
            &format!("PutTraceSegments: {}", explained(&result)),
        ),
    }
}

/// Whether the service complains that the request has no documents. X-Ray and its imitations use
/// different words, but most of them name the list.
fn refuses_empty_batch(result: &Result<XRayResponse, TransportError>) -> bool {
    let message = result.as_ref().ok().and_then(|one| one.message.as_deref());
    let message = message.unwrap_or_default().to_ascii_lowercase();
    message.contains("empty") || message.contains("tracesegmentdocuments")
}

/// What went wrong with a call, and what to do.
fn explained(result: &Result<XRayResponse, TransportError>) -> String {
    let advice = match result {
        Ok(response) => calls::refusal_advice(response),
        Err(error) => Some(calls::transport_advice(error.kind)),
    };
    let text = explain(XRayApi::Segments, result);
    match advice {
        Some(advice) => format!("{text}; {advice}"),
        None => text,
    }
}

fn skew(page: &mut Page, clock: &Clock) {
    let skew = clock.skew().0;
    let seconds = Duration::from_millis(skew.unsigned_abs()).as_secs();
    if seconds >= MOST_SKEW.as_secs() {
        let side = if skew > 0 { "behind" } else { "ahead of" };
        let text = format!(
            "the clock of this host is {seconds} s {side} X-Ray's: set it; the daemon signs with \
             X-Ray's time meanwhile"
        );
        page.line(CheckVerdict::Warning, "clock", &text);
    }
}
