//! Which source to ask: chosen once, from what is configured, in the order of the Go SDK, which
//! the official daemon uses. A source that fails is not followed by another. No I/O.

use aws_credential_types::Credentials;

use super::environment::{Keys, keys, set};
use super::roles::{Role, WebIdentity};
use super::{SourceError, container, imds, json, sso};
use crate::profile::{Profile, Profiles};

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A source, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Keys of the environment.
    Environment(Credentials),
    /// Keys of a profile; its name.
    Profile(String, Credentials),
    /// The container endpoint.
    Container(container::Settings),
    /// The EC2 metadata service, because a profile says so.
    Ec2(imds::Settings),
    /// Nothing is configured: the EC2 metadata service, unless it is switched off. With what was
    /// looked at before, and why it was passed over.
    LastResort(Option<imds::Settings>, Vec<String>),
    /// A web identity token.
    WebIdentity(WebIdentity),
    /// A program: the profile's name and the command line.
    Process(String, String),
    /// IAM Identity Center.
    Sso(sso::Settings),
    /// A role on top of another source.
    Role(Box<Plan>, Role),
}

impl Plan {
    /// What led to it, in a few words.
    pub fn why(&self) -> &'static str {
        match self {
            Self::Environment(_) => "AWS_ACCESS_KEY_ID is set",
            Self::Profile(..) => "the profile holds keys",
            Self::Container(_) => "AWS_CONTAINER_CREDENTIALS_* is set",
            Self::Ec2(_) => "the profile has a credential_source",
            Self::LastResort(..) => "nothing else is configured",
            Self::WebIdentity(_) => "there is a web identity token file",
            Self::Process(..) => "the profile has a credential_process",
            Self::Sso(_) => "the profile has sso_ keys",
            Self::Role(base, _) => base.why(),
        }
    }
}

/// A plan, and what is odd about what it was made from.
#[derive(Debug, PartialEq, Eq)]
pub struct Selection {
    /// The plan.
    pub plan: Plan,
    /// Worth a warning each. Without secrets.
    pub warnings: Vec<String>,
}

/// Whether credentials are configured, in the environment, in the selected profile or by a role
/// to assume, rightly or wrongly. The EC2 metadata service counts only when
/// `AWS_EC2_METADATA_SERVICE_ENDPOINT` names it: whether it is there cannot be known without
/// asking.
pub fn is_configured(env: Env<'_>, profiles: &Profiles, role_arn: Option<&str>) -> bool {
    let last_resort = matches!(
        select(env, profiles, role_arn),
        Ok(Selection {
            plan: Plan::LastResort(..),
            ..
        })
    );
    !last_resort || set(env, "AWS_EC2_METADATA_SERVICE_ENDPOINT").is_some()
}

/// Chooses. `role_arn` is that of `-r`.
///
/// # Errors
/// When what is configured contradicts itself or is incomplete.
pub fn select(
    env: Env<'_>,
    profiles: &Profiles,
    role_arn: Option<&str>,
) -> Result<Selection, SourceError> {
    let mut search = Search {
        env,
        profiles,
        passed: Vec::new(),
        warnings: Vec::new(),
    };
    let base = search.base()?;
    let plan = match role_arn.map(str::trim).filter(|arn| !arn.is_empty()) {
        Some(arn) => Plan::Role(Box::new(base), Role::new(arn)),
        None => base,
    };
    Ok(Selection {
        plan,
        warnings: search.warnings,
    })
}

struct Search<'a> {
    env: Env<'a>,
    profiles: &'a Profiles,
    passed: Vec<String>,
    warnings: Vec<String>,
}

impl Search<'_> {
    fn base(&mut self) -> Result<Plan, SourceError> {
        match keys(self.env) {
            Keys::Both(credentials) => return Ok(Plan::Environment(credentials)),
            Keys::Bad(why) => return Err(SourceError::Setting(why)),
            Keys::Half(missing) => {
                let half = format!("environment: {missing} is not set, although its other half is");
                self.warnings.push(half.clone());
                self.passed.push(half);
            }
            Keys::None => self
                .passed
                .push("environment: AWS_ACCESS_KEY_ID is not set".to_owned()),
        }
        if let Some(file) = set(self.env, "AWS_WEB_IDENTITY_TOKEN_FILE") {
            let role_arn = set(self.env, "AWS_ROLE_ARN").ok_or_else(|| {
                SourceError::Setting(
                    "AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not; \
                     set the role to assume"
                        .to_owned(),
                )
            })?;
            return Ok(Plan::WebIdentity(WebIdentity {
                token_file: file.into(),
                role_arn,
                session_name: set(self.env, "AWS_ROLE_SESSION_NAME"),
            }));
        }
        self.passed
            .push("web identity: AWS_WEB_IDENTITY_TOKEN_FILE is not set".to_owned());
        let name = self.profiles.selected_name();
        match self.profiles.selected() {
            Some(profile) => self.profile(name, profile, &mut Vec::new()),
            None => {
                self.passed
                    .push(format!("profile {name}: not in the shared files"));
                self.platform(&|_| None)
            }
        }
    }

    /// A profile and, before it in `path`, those that lead to it.
    fn profile(
        &mut self,
        name: &str,
        profile: &Profile,
        path: &mut Vec<String>,
    ) -> Result<Plan, SourceError> {
        let wrong = |what: &str| Err(SourceError::Setting(format!("profile {name}: {what}")));
        let fixed = fixed_keys(name, profile)?;
        // A profile that another one leads to is that one's source of keys, not of its role.
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
                     credential_source: the role is assumed with what the host gives"
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
                Keys::Both(credentials) => Ok(Plan::Environment(credentials)),
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
        if profile.properties().any(|(key, _)| key.starts_with("sso_")) {
            return self.sso(name, profile).map(Some);
        }
        if profile.get("login_session").is_some() {
            return Err(SourceError::Setting(format!(
                "profile {name}: sessions of `aws login` cannot be used here; \
                 set credential_process to a program that prints their credentials"
            )));
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
        let holder = session.map_or(profile, |(_, section)| section);
        let need = |from: &Profile, key: &str| {
            let value = from.get(key).ok_or_else(|| missing(key))?;
            Ok::<_, SourceError>(value.to_owned())
        };
        let start_url = need(holder, "sso_start_url")?;
        let home = set(self.env, "HOME").ok_or_else(|| missing("the variable HOME"))?;
        Ok(Plan::Sso(sso::Settings {
            profile: name.to_owned(),
            cache: sso::cache_file(&home, session.map_or(&start_url, |(name, _)| name)),
            region: need(holder, "sso_region")?,
            account_id: need(profile, "sso_account_id")?,
            role_name: need(profile, "sso_role_name")?,
        }))
    }

    /// What the host gives: the container's role, or the instance's.
    fn platform(&mut self, profile: &dyn Fn(&str) -> Option<String>) -> Result<Plan, SourceError> {
        if let Some(settings) = container::settings(self.env) {
            return Ok(Plan::Container(settings));
        }
        self.passed.push(
            "container: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set"
                .to_owned(),
        );
        let settings = imds::settings(self.env, profile)?;
        Ok(Plan::LastResort(settings, self.passed.clone()))
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
        return wrong("mfa_serial: a daemon has nobody to ask for a code");
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

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
