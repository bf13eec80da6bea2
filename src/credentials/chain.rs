//! Builds the source that the plan has chosen, and replaces it when the shared files have changed.

use std::path::PathBuf;
use std::sync::Arc;

use aws_credential_types::Credentials;

use super::plan::{Plan, select};
use super::sources::container::Container;
use super::sources::environment::StaticKeys;
use super::sources::instance::InstanceRole;
use super::sources::login::Login;
use super::sources::process::{Process, RunningProgram};
use super::sources::roles::{AssumedRole, Role, WebIdentityRole};
use super::sources::sso::Sso;
use super::sources::token_service::TokenService;
use super::{Renewal, Source, SourceError, date};
use crate::aws::endpoint::IdentityEndpoints;
use crate::aws::profile::{Profiles, read_file};
use crate::credentials::sources::{imds, sts};
use crate::env::{Env, set};

/// What the sources are built with.
pub struct Parts {
    /// The environment.
    pub env: Env,
    /// Role to assume on top of all, from `-r` or cfg.yaml.
    pub role: Option<Role>,
    /// For metadata endpoints.
    pub metadata: ureq::Agent,
    /// The program of a `credential_process`, while it runs.
    pub program: RunningProgram,
    /// Where people's sessions are renewed.
    pub identity: IdentityEndpoints,
    /// For roles. Its agents serve IAM Identity Center too, and its timing every source.
    pub sts: sts::StsClient,
}

/// The chosen source.
pub struct Chain {
    parts: Parts,
    chosen: Result<ChosenSource, SourceError>,
    /// The shared files that could not be read when they were last used.
    unread: Vec<PathBuf>,
    /// What was wrong with the shared files, as far as it was logged.
    warned: Vec<String>,
}

struct ChosenSource {
    plan: Plan,
    is_platform: bool,
    source: Box<dyn Source>,
}

impl Chain {
    /// Chooses by `profiles`, whose warnings the caller logs, without I/O. If nothing can be chosen, [`fetch`](Source::fetch),
    /// which reads the files again, returns the reason.
    pub fn new(parts: Parts, profiles: &Profiles) -> Self {
        let nothing = SourceError::Setting("no source is chosen".to_owned());
        let mut chain = Self {
            parts,
            chosen: Err(nothing),
            unread: Vec::new(),
            warned: profiles.warnings().to_vec(),
        };
        if let Err(error) = chain.choose(profiles) {
            chain.chosen = Err(error);
        }
        chain
    }

    /// Replaces the source if the plan has changed. Otherwise the source and its state are kept.
    /// Returns whether the source was replaced.
    fn choose(&mut self, profiles: &Profiles) -> Result<bool, SourceError> {
        let selection = select(&*self.parts.env, profiles, self.parts.role.as_ref())?;
        if let Ok(chosen) = &self.chosen
            && chosen.plan != selection.plan
            && !chosen.is_platform
        {
            // The files may be missing only while they are replaced, and the role of the container
            // or instance may belong to another account.
            let was_read = |path: &&PathBuf| !self.unread.contains(path);
            if let Some(path) = profiles.unread().iter().find(was_read) {
                let path = path.display();
                return Err(SourceError::Setting(format!(
                    "{path} can no longer be read"
                )));
            }
            if selection.is_platform {
                return Err(SourceError::Setting(
                    "the shared files no longer say where credentials come from; restart the \
                     daemon to use the role of the container or instance"
                        .to_owned(),
                ));
            }
        }
        self.unread = profiles.unread().to_vec();
        if self
            .chosen
            .as_ref()
            .is_ok_and(|chosen| chosen.plan == selection.plan)
        {
            return Ok(false);
        }
        for warning in &selection.warnings {
            log::warn!("AWS credentials: {warning}");
        }
        self.warn_if_expired(&selection.plan);
        self.chosen = Ok(ChosenSource {
            source: self.build(&selection.plan),
            plan: selection.plan,
            is_platform: selection.is_platform,
        });
        Ok(true)
    }

    /// Logs what is wrong with the shared files, once.
    fn warn_of_files(&mut self, profiles: &Profiles) {
        let news = |warning: &&String| !self.warned.contains(warning);
        for warning in profiles.warnings().iter().filter(news) {
            log::warn!("{warning}");
        }
        self.warned = profiles.warnings().to_vec();
    }

    /// The source that was chosen and why, for the log.
    pub(crate) fn choice(&self) -> String {
        match &self.chosen {
            Ok(chosen) => format!("{} ({})", chosen.source.name(), chosen.plan.why()),
            Err(error) => format!("nowhere yet: {error}"),
        }
    }

    /// The environment of a running process cannot be changed, so only the files can give other
    /// keys.
    fn warn_if_expired(&self, plan: &Plan) {
        let expires = set(&*self.parts.env, "AWS_CREDENTIAL_EXPIRATION");
        if let (Plan::Environment(..), Some(end)) = (plan, expires.as_deref().and_then(date::parse))
            && end <= (self.parts.sts.timing.now)()
        {
            log::warn!(
                "AWS credentials: those of the environment expired at {}; restart the daemon with new ones",
                date::format(end)
            );
        }
    }

    fn build(&self, plan: &Plan) -> Box<dyn Source> {
        let Parts {
            metadata,
            sts,
            identity,
            program,
            ..
        } = &self.parts;
        let timing = || sts.timing.clone();
        let sessions = || TokenService {
            endpoints: identity.clone(),
            http: Arc::clone(&sts.service),
            clock: Arc::clone(&sts.clock),
            timing: timing(),
        };
        let instance = |settings: &imds::ImdsSettings| {
            Box::new(InstanceRole(imds::ImdsClient::new(
                settings.clone(),
                metadata.clone(),
                timing(),
            )))
        };
        match plan {
            Plan::Environment(credentials, _) => Box::new(StaticKeys {
                name: "environment".to_owned(),
                credentials: credentials.clone(),
                renewal: Renewal::Fixed,
            }),
            // When they are refused, the files are read again.
            Plan::Profile(name, credentials) => Box::new(StaticKeys {
                name: format!("profile {name}"),
                credentials: credentials.clone(),
                renewal: Renewal::Timed,
            }),
            Plan::Container(settings) => {
                Box::new(Container::new(settings.clone(), metadata.clone(), timing()))
            }
            Plan::Ec2(settings) => instance(settings),
            Plan::LastResort(settings, skipped) => Box::new(LastResort {
                imds: settings.as_ref().map(instance),
                skipped: skipped.clone(),
            }),
            Plan::WebIdentity(identity) => {
                Box::new(WebIdentityRole::new(identity.clone(), sts.clone()))
            }
            Plan::Process(profile, line) => {
                Box::new(Process::new(profile.clone(), line.clone(), program.clone()))
            }
            Plan::Sso(settings) => Box::new(Sso {
                settings: settings.clone(),
                service: sessions(),
            }),
            Plan::Login(settings) => Box::new(Login {
                settings: settings.clone(),
                region: sts.endpoints.sts_region.clone(),
                service: sessions(),
            }),
            Plan::Role(base, role) => Box::new(AssumedRole::new(
                self.build(base),
                role.clone(),
                sts.clone(),
            )),
        }
    }
}

impl Source for Chain {
    fn name(&self) -> String {
        match &self.chosen {
            Ok(chosen) => chosen.source.name(),
            Err(_) => "none".to_owned(),
        }
    }

    fn fetch(&mut self) -> Result<Credentials, SourceError> {
        let env = Arc::clone(&self.parts.env);
        let changed = Profiles::load(&*env, &read_file)
            .map_err(|error| SourceError::Setting(error.to_string()))
            .and_then(|profiles| {
                self.warn_of_files(&profiles);
                self.choose(&profiles)
            });
        if matches!(changed, Ok(true)) {
            log::info!("AWS credentials now come from: {}", self.choice());
        }
        match (&mut self.chosen, changed) {
            (Ok(chosen), Ok(_)) => chosen.source.fetch(),
            (Ok(chosen), Err(error)) => {
                // The file may be half-written, or missing while it is being replaced.
                log::warn!("AWS credentials: the new configuration is not used: {error}");
                chosen.source.fetch()
            }
            (Err(before), changed) => {
                if let Err(error) = changed {
                    *before = error;
                }
                Err(before.clone())
            }
        }
    }

    fn renewal(&self) -> Renewal {
        match &self.chosen {
            Ok(chosen) => chosen.source.renewal(),
            Err(_) => Renewal::Timed,
        }
    }
}

/// The EC2 metadata service where nothing is configured. Its error lists all places that were
/// tried.
struct LastResort {
    imds: Option<Box<InstanceRole>>,
    skipped: Vec<String>,
}

impl Source for LastResort {
    fn name(&self) -> String {
        match &self.imds {
            Some(imds) => imds.name(),
            None => "none".to_owned(),
        }
    }

    fn fetch(&mut self) -> Result<Credentials, SourceError> {
        let answer = match &mut self.imds {
            Some(imds) => imds.fetch(),
            None => Err(SourceError::Setting(
                "EC2 metadata service: AWS_EC2_METADATA_DISABLED is true".to_owned(),
            )),
        };
        answer.map_err(|last| SourceError::NoneFound {
            passed: self.skipped.clone(),
            last: Box::new(last),
        })
    }

    fn renewal(&self) -> Renewal {
        Renewal::Stable
    }
}
