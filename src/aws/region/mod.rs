//! Finds the region: configuration, environment, profile, ECS, EC2, in this order. What it asks is
//! handed to it, so that the order and the parsing are pure.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::aws::endpoint::is_region;
use crate::env::{Lookup, set};

/// Where the region may be written, and who may be asked.
pub(crate) struct RegionSources<'a> {
    /// `-n` or `Region` in cfg.yaml.
    pub(crate) configured: Option<&'a str>,
    pub env: &'a Lookup<'a>,
    /// Name of the selected profile, and its `region`.
    pub profile: (&'a str, Option<&'a str>),
    /// `-o`: no metadata is asked for.
    pub local_mode: bool,
    /// Reads the ECS metadata file, up to a limit.
    pub read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// GETs a URL of the ECS task metadata endpoint, without a proxy.
    pub task: &'a dyn Fn(&str) -> MetadataAnswer,
    /// GETs a path below `/latest/` of IMDS.
    pub imds: &'a dyn Fn(&str) -> MetadataAnswer,
    pub pause: &'a dyn Fn(Duration),
}

/// What a metadata endpoint said.
pub(crate) enum MetadataAnswer {
    Body(Vec<u8>),
    /// It answered, but not with success: asking for something else may help.
    Refused(String),
    /// No answer. It may come later: the network may not be up yet.
    Silent(String),
    /// It must not be asked.
    Disabled(String),
}

/// A region, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Region {
    /// `eu-west-1`.
    pub name: String,
    /// For the line at start: `AWS_REGION`, `profile default`, `EC2 metadata`.
    pub source: String,
}

/// No source knows the region.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoRegion {
    /// Each source and what it answered, in the order in which they were asked.
    pub tried: Vec<(String, String)>,
    /// Whether a metadata service did not answer: then a later attempt may find the region.
    pub(crate) may_come: bool,
}

impl fmt::Display for NoRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The official daemon's words, which people search for.
        f.write_str(
            "Cannot fetch region variable from config file, environment variables, ecs metadata, \
             or ec2 metadata: ",
        )?;
        for (source, answer) in &self.tried {
            write!(f, "{source}: {answer}; ")?;
        }
        f.write_str("pass -n REGION")
    }
}

impl std::error::Error for NoRegion {}

/// The ECS agent completes its file within a second of the container's start.
const FILE_READS: u32 = 10;
const FILE_PAUSE: Duration = Duration::from_millis(200);
/// The task endpoint's second chance, as in the ECS agent's own clients.
const TASK_ATTEMPTS: u32 = 2;

/// How long a silent metadata service is asked again: a host may start this daemon before its
/// network is up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two searches: 1, 2, 4 seconds, and then this long.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// As [`resolve`], but searches again for a minute while a metadata service is silent. Calls
/// `waiting` once, when the first search has found nothing. `now` is the time that passes.
///
/// # Errors
/// When no source knows the region after that minute, or at once when waiting cannot help.
pub(crate) fn resolve_patiently(
    sources: &RegionSources<'_>,
    now: &dyn Fn() -> Instant,
    waiting: &dyn Fn(&NoRegion),
) -> Result<Region, NoRegion> {
    let end = now() + PATIENCE;
    let mut pause = Duration::from_secs(1);
    loop {
        match resolve(sources) {
            Err(error) if error.may_come && now() + pause < end => {
                if pause == Duration::from_secs(1) {
                    waiting(&error);
                }
                (sources.pause)(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            found => return found,
        }
    }
}

/// Asks one source after the other until one knows. May take seconds where metadata is silent.
///
/// # Errors
/// When none does.
pub(crate) fn resolve(sources: &RegionSources<'_>) -> Result<Region, NoRegion> {
    let mut search = RegionSearch::default();
    let env = |name: &str| (sources.env)(name);
    let (profile, in_profile) = sources.profile;
    let written = [
        (
            "-n or cfg.yaml".to_owned(),
            sources.configured.map(str::to_owned),
        ),
        ("AWS_REGION".to_owned(), env("AWS_REGION")),
        ("AWS_DEFAULT_REGION".to_owned(), env("AWS_DEFAULT_REGION")),
        (format!("profile {profile}"), in_profile.map(str::to_owned)),
    ];
    for (source, value) in written {
        match value.as_deref().map(str::trim).filter(|v| !v.is_empty()) {
            // Not checked here: a typing error must lead to an error, not to another source.
            Some(name) => {
                return Ok(Region {
                    name: name.to_owned(),
                    source,
                });
            }
            None => search.note(source, "not set"),
        }
    }
    if sources.local_mode {
        search.note("metadata", "not asked in local mode");
        return Err(search.failed());
    }
    ecs_file(sources, &mut search)
        .or_else(|| ecs_task(sources, &mut search))
        .or_else(|| ec2(sources, &mut search))
        .ok_or_else(|| search.failed())
}

#[derive(Default)]
struct RegionSearch {
    tried: Vec<(String, String)>,
    may_come: bool,
}

impl RegionSearch {
    fn note(&mut self, source: impl Into<String>, answer: impl Into<String>) {
        self.tried.push((source.into(), answer.into()));
    }

    fn failed(&mut self) -> NoRegion {
        let Self { tried, may_come } = std::mem::take(self);
        NoRegion { tried, may_come }
    }
}

fn ecs_file(sources: &RegionSources<'_>, search: &mut RegionSearch) -> Option<Region> {
    const VARIABLE: &str = "ECS_CONTAINER_METADATA_FILE";
    let Some(path) = set(sources.env, VARIABLE) else {
        search.note(VARIABLE, "not set");
        return None;
    };
    let mut answer = String::new();
    for read in 0..FILE_READS {
        if read > 0 {
            (sources.pause)(FILE_PAUSE);
        }
        let (why, complete) = match (sources.read)(Path::new(&path)) {
            Ok(bytes) => match task_region(&bytes) {
                Ok(name) => {
                    return Some(Region {
                        name,
                        source: format!("ECS metadata file {path}"),
                    });
                }
                Err(why) => (why.to_owned(), is_complete(&bytes)),
            },
            Err(e) => (format!("{path}: {e}"), false),
        };
        answer = why;
        if complete {
            break;
        }
    }
    search.note(VARIABLE, answer);
    None
}

fn ecs_task(sources: &RegionSources<'_>, search: &mut RegionSearch) -> Option<Region> {
    for variable in [
        "ECS_CONTAINER_METADATA_URI_V4",
        "ECS_CONTAINER_METADATA_URI",
    ] {
        let Some(base) = set(sources.env, variable) else {
            search.note(variable, "not set");
            continue;
        };
        if !is_local_http(&base) {
            search.note(
                variable,
                "not an http URL of a link-local or loopback address",
            );
            continue;
        }
        let url = format!("{}/task", base.trim_end_matches('/'));
        let (mut answer, mut is_silent) = (String::new(), false);
        for _ in 0..TASK_ATTEMPTS {
            answer = match (sources.task)(&url) {
                MetadataAnswer::Body(body) => match task_region(&body) {
                    Ok(name) => {
                        return Some(Region {
                            name,
                            source: format!("ECS task metadata ({variable})"),
                        });
                    }
                    Err(why) => why.to_owned(),
                },
                MetadataAnswer::Silent(why) => {
                    is_silent = true;
                    why
                }
                MetadataAnswer::Refused(why) | MetadataAnswer::Disabled(why) => why,
            };
        }
        search.may_come |= is_silent;
        search.note(variable, answer);
    }
    None
}

fn ec2(sources: &RegionSources<'_>, search: &mut RegionSearch) -> Option<Region> {
    const SOURCE: &str = "EC2 metadata";
    let found = |name| {
        Some(Region {
            name,
            source: SOURCE.to_owned(),
        })
    };
    match (sources.imds)("dynamic/instance-identity/document") {
        MetadataAnswer::Body(body) => match identity_region(&body) {
            Ok(name) => return found(name),
            Err(why) => search.note(SOURCE, why),
        },
        MetadataAnswer::Refused(why) => search.note(SOURCE, why),
        MetadataAnswer::Silent(why) => {
            search.may_come = true;
            search.note(SOURCE, why);
            return None;
        }
        MetadataAnswer::Disabled(why) => {
            search.note(SOURCE, why);
            return None;
        }
    }
    match (sources.imds)("meta-data/placement/region") {
        MetadataAnswer::Body(body) => match std::str::from_utf8(&body).map(str::trim) {
            Ok(name) if is_region(name) => return found(name.to_owned()),
            _ => search.note(SOURCE, "placement/region is not a region"),
        },
        MetadataAnswer::Silent(why) => {
            search.may_come = true;
            search.note(SOURCE, why);
        }
        MetadataAnswer::Refused(why) | MetadataAnswer::Disabled(why) => search.note(SOURCE, why),
    }
    None
}

/// The region in ECS task metadata, from file or endpoint: its `TaskARN`, else its
/// `AvailabilityZone`.
///
/// # Errors
/// What is wrong with it, without quoting it.
pub fn task_region(json: &[u8]) -> Result<String, &'static str> {
    let value: Value = serde_json::from_slice(json).map_err(|_| "not JSON, or not complete yet")?;
    let text = |key| value.get(key).and_then(Value::as_str);
    text("TaskARN")
        .and_then(arn_region)
        .or_else(|| text("AvailabilityZone").and_then(zone_region))
        .map(str::to_owned)
        .ok_or("holds no usable TaskARN or AvailabilityZone")
}

fn is_complete(json: &[u8]) -> bool {
    let value: Option<Value> = serde_json::from_slice(json).ok();
    value.is_some_and(|v| v.get("MetadataFileStatus").is_some_and(|s| s == "READY"))
}

/// The region in an EC2 instance identity document.
///
/// # Errors
/// What is wrong with it, without quoting it.
pub fn identity_region(json: &[u8]) -> Result<String, &'static str> {
    let value: Value =
        serde_json::from_slice(json).map_err(|_| "the identity document is not JSON")?;
    value
        .get("region")
        .and_then(Value::as_str)
        .filter(|name| is_region(name))
        .map(str::to_owned)
        .ok_or("the identity document names no region")
}

/// The region of `arn:PARTITION:ecs:REGION:ACCOUNT:task/…`.
pub(crate) fn arn_region(arn: &str) -> Option<&str> {
    let mut fields = arn.splitn(6, ':');
    let (arn, _partition, service) = (fields.next()?, fields.next()?, fields.next()?);
    let (region, _account, _task) = (fields.next()?, fields.next()?, fields.next()?);
    (arn == "arn" && service == "ecs" && is_region(region)).then_some(region)
}

/// The region of an availability zone: up to its first number, so that `us-west-2a` and the Local
/// Zone `us-west-2-lax-1a` are both in `us-west-2`.
pub(crate) fn zone_region(zone: &str) -> Option<&str> {
    let first = zone.find(|c: char| c.is_ascii_digit())?;
    let rest = &zone[first..];
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let region = &zone[..first + digits];
    // `us-west-2` has two hyphens before the number; anything shorter is no zone.
    (is_region(region) && region.matches('-').count() >= 2).then_some(region)
}

/// The agent that injects the variable is on this host; the variable must not send us elsewhere.
fn is_local_http(url: &str) -> bool {
    let Ok(uri) = url.parse::<ureq::http::Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let local = match host.parse() {
        Ok(IpAddr::V4(ip)) => ip.is_link_local() || ip.is_loopback(),
        Ok(IpAddr::V6(ip)) => ip.is_unicast_link_local() || ip.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    };
    local && uri.scheme_str() == Some("http")
}

#[cfg(test)]
mod tests;
