//! Reads which source of credentials a profile of the shared files asks for.

use super::{Plan, PlanSearch};
use crate::aws::profile::Profile;
use crate::credentials::sources::environment::{Keys, keys};
use crate::credentials::sources::login::{self, LoginSettings};
use crate::credentials::sources::roles::{Role, WebIdentity};
use crate::credentials::sources::sso::{self, SsoSettings};
use crate::credentials::sources::{container, imds};
use crate::credentials::{SourceError, json};
use crate::env::set;

impl PlanSearch<'_> {
    /// A profile and, before it in `path`, those that lead to it.
    pub(super) fn profile(
        &mut self,
        name: &str,
        profile: &Profile,
        path: &mut Vec<String>,
    ) -> Result<Plan, SourceError> {
        let wrong = |what: &str| Err(SourceError::Setting(format!("profile {name}: {what}")));
        let fixed = fixed_keys(name, profile)?;
        // A profile that is another one's `source_profile` gives its keys; its own role is not
        // used.
        if let (Some(plan), false) = (&fixed, path.is_empty()) {
            return Ok(plan.clone());
        }
        let kinds = [
            "source_profile",
            "credential_source",
            "web_identity_token_file",
            "credential_process",
        ];
        let given: Vec<_> = kinds
            .into_iter()
            .filter(|key| profile.get(key).is_some())
            .collect();
        if let [one, other, ..] = given[..] {
            return wrong(&format!("has both {one} and {other}; keep one"));
        }
        let role = role(name, profile)?;
        let needs_role = given.first().filter(|key| **key != "credential_process");
        if let (None, Some(key)) = (&role, needs_role) {
            return wrong(&format!("{key} needs a role_arn"));
        }
        path.push(name.to_owned());

        let base = if let Some(source) = profile.get("source_profile") {
            self.source_profile(name, profile, source, fixed, path)?
        } else if let Some(plan) = fixed {
            plan
        } else if let Some(source) = profile.get("credential_source") {
            self.credential_source(name, profile, source)?
        } else if let (Some(file), Some(role)) = (profile.get("web_identity_token_file"), &role) {
            return Ok(Plan::WebIdentity(WebIdentity {
                token_file: file.into(),
                role_arn: role.arn.clone(),
                session_name: profile.get("role_session_name").map(str::to_owned),
            }));
        } else if let Some(plan) = self.own(name, profile)? {
            plan
        } else if path.len() > 1 {
            return wrong("is the source_profile of another one, but holds no credentials");
        } else {
            let problem = match role {
                None => format!("profile {name}: holds no credentials"),
                Some(_) => format!(
                    "profile {name}: has a role_arn, but neither source_profile nor \
                     credential_source: the role is assumed with the role of the container or instance"
                ),
            };
            if role.is_some() {
                self.warnings.push(problem.clone());
            }
            self.passed.push(problem);
            self.platform(&|key| profile.get(key).map(str::to_owned))?
        };
        Ok(match role {
            Some(role) => Plan::Role(Box::new(base), role),
            None => base,
        })
    }

    fn source_profile(
        &mut self,
        name: &str,
        profile: &Profile,
        source: &str,
        fixed: Option<Plan>,
        path: &mut Vec<String>,
    ) -> Result<Plan, SourceError> {
        let wrong = |what: &str| Err(SourceError::Setting(format!("profile {name}: {what}")));
        if source == name {
            let own = match fixed {
                Some(plan) => Some(plan),
                None => self.own(name, profile)?,
            };
            return own.map_or_else(|| wrong("is its own source_profile, but holds no keys"), Ok);
        }
        if path.iter().any(|before| before == source) {
            return wrong(&format!(
                "its source_profile {source} leads back to it: an infinite loop"
            ));
        }
        match self.profiles.get(source) {
            Some(found) => self.profile(source, found, path),
            None => wrong(&format!("its source_profile {source} is in no file")),
        }
    }

    fn credential_source(
        &self,
        name: &str,
        profile: &Profile,
        source: &str,
    ) -> Result<Plan, SourceError> {
        let wrong = |what: &str| {
            Err(SourceError::Setting(format!(
                "profile {name}: credential_source {source}: {what}"
            )))
        };
        match source {
            "Environment" => match keys(self.env) {
                Keys::Both(credentials, variable) => Ok(Plan::Environment(credentials, variable)),
                _ => wrong("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set"),
            },
            "EcsContainer" => match container::settings(self.env) {
                Some(settings) => Ok(Plan::Container(settings)),
                None => wrong("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set"),
            },
            "Ec2InstanceMetadata" => {
                let lookup = |key: &str| profile.get(key).map(str::to_owned);
                match imds::settings(self.env, &lookup)? {
                    Some(settings) => Ok(Plan::Ec2(settings)),
                    None => wrong("AWS_EC2_METADATA_DISABLED is true"),
                }
            }
            _ => wrong("must be Environment, EcsContainer or Ec2InstanceMetadata"),
        }
    }

    /// Sources that a profile holds itself, besides keys and web identities.
    fn own(&self, name: &str, profile: &Profile) -> Result<Option<Plan>, SourceError> {
        let asks_for_sso = [
            "sso_session",
            "sso_start_url",
            "sso_region",
            "sso_account_id",
            "sso_role_name",
        ];
        if asks_for_sso.iter().any(|key| profile.get(key).is_some()) {
            return self.sso(name, profile).map(Some);
        }
        if let Some(session) = profile.get("login_session") {
            let directory = set(self.env, "AWS_LOGIN_CACHE_DIRECTORY");
            let home = set(self.env, "HOME");
            if home.is_none() && directory.is_none() {
                return Err(SourceError::Setting(format!(
                    "profile {name}: the variable HOME is missing"
                )));
            }
            return Ok(Some(Plan::Login(LoginSettings {
                profile: name.to_owned(),
                cache: login::cache_file(directory.as_deref(), &home.unwrap_or_default(), session),
            })));
        }
        let process = profile.get("credential_process");
        Ok(process.map(|line| Plan::Process(name.to_owned(), line.to_owned())))
    }

    fn sso(&self, name: &str, profile: &Profile) -> Result<Plan, SourceError> {
        let missing =
            |what: &str| SourceError::Setting(format!("profile {name}: {what} is missing"));
        let session = match profile.get("sso_session") {
            None => None,
            Some(session) => Some((
                session,
                self.profiles
                    .sso_session(session)
                    .ok_or_else(|| missing(&format!("section [sso-session {session}]")))?,
            )),
        };
        if let Some((session, section)) = session {
            for key in ["sso_start_url", "sso_region"] {
                if profile
                    .get(key)
                    .is_some_and(|own| section.get(key) != Some(own))
                {
                    return Err(SourceError::Setting(format!(
                        "profile {name}: {key} is not that of [sso-session {session}]; remove it \
                         from the profile"
                    )));
                }
            }
        }
        let holder = session.map_or(profile, |(_, section)| section);
        let need = |from: &Profile, key: &str| {
            let value = from.get(key).ok_or_else(|| missing(key))?;
            Ok::<_, SourceError>(value.to_owned())
        };
        let start_url = need(holder, "sso_start_url")?;
        let home = set(self.env, "HOME").ok_or_else(|| missing("the variable HOME"))?;
        Ok(Plan::Sso(SsoSettings {
            profile: name.to_owned(),
            cache: sso::cache_file(&home, session.map_or(&start_url, |(name, _)| name)),
            region: need(holder, "sso_region")?,
            account_id: need(profile, "sso_account_id")?,
            role_name: need(profile, "sso_role_name")?,
        }))
    }
}

fn fixed_keys(name: &str, profile: &Profile) -> Result<Option<Plan>, SourceError> {
    let wrong = |what: &str| SourceError::Setting(format!("profile {name}: {what}"));
    let id = profile.get("aws_access_key_id");
    let secret = profile.get("aws_secret_access_key");
    match (id, secret) {
        (Some(id), Some(secret)) => {
            let token = profile.get("aws_session_token").unwrap_or_default();
            let credentials = json::new(id, secret, token, None, "profile")
                .map_err(|why| wrong(&why.to_string()))?;
            Ok(Some(Plan::Profile(name.to_owned(), credentials)))
        }
        (Some(_), None) => Err(wrong("aws_secret_access_key is missing")),
        (None, Some(_)) => Err(wrong("aws_access_key_id is missing")),
        (None, None) => Ok(None),
    }
}

/// The role that a profile wants assumed.
fn role(name: &str, profile: &Profile) -> Result<Option<Role>, SourceError> {
    let wrong = |what: &str| Err(SourceError::Setting(format!("profile {name}: {what}")));
    let Some(arn) = profile.get("role_arn") else {
        return Ok(None);
    };
    if profile.get("mfa_serial").is_some() {
        return wrong("mfa_serial: a daemon cannot ask a person for a code");
    }
    let mut role = Role::new(arn);
    if let Some(name) = profile.get("role_session_name") {
        role.session_name = name.to_owned();
    }
    role.external_id = profile.get("external_id").map(str::to_owned);
    if let Some(text) = profile.get("duration_seconds") {
        match text.parse::<u32>() {
            // Shorter ones are raised by the Go SDK too: STS would refuse them.
            Ok(seconds) => role.duration = role.duration.max(seconds),
            Err(_) => return wrong("duration_seconds is not a number"),
        }
    }
    Ok(Some(role))
}
