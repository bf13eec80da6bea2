//! Chooses the source of credentials once, by the configuration, in the order of the Go SDK, which
//! the official daemon uses. A source that fails is not followed by another. No I/O.

mod profile;

use aws_credential_types::Credentials;

use super::SourceError;
use super::sources::environment::{Keys, keys};
use super::sources::roles::{Role, WebIdentity};
use crate::aws::profile::Profiles;
use crate::credentials::sources::login::LoginSettings;
use crate::credentials::sources::sso::SsoSettings;
use crate::credentials::sources::{container, imds};
use crate::env::{Lookup, set};

/// A source, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Keys of the environment, and the variable that the first one is in.
    Environment(Credentials, &'static str),
    /// Keys of a profile; its name.
    Profile(String, Credentials),
    Container(container::ContainerSettings),
    /// The EC2 metadata service, because a profile says so.
    Ec2(imds::ImdsSettings),
    /// Nothing is configured: the EC2 metadata service, unless it is switched off. With the places
    /// that were tried before, and why each was not used.
    LastResort(Option<imds::ImdsSettings>, Vec<String>),
    /// A web identity token.
    WebIdentity(WebIdentity),
    /// A program: the profile's name and the command line.
    Process(String, String),
    Sso(SsoSettings),
    /// A session of `aws login`.
    Login(LoginSettings),
    /// A role on top of another source.
    Role(Box<Plan>, Role),
}

impl Plan {
    /// Why this source was chosen, in a few words.
    pub(crate) fn why(&self) -> &'static str {
        match self {
            Self::Environment(_, "AWS_ACCESS_KEY") => "AWS_ACCESS_KEY is set",
            Self::Environment(..) => "AWS_ACCESS_KEY_ID is set",
            Self::Profile(..) => "the profile holds keys",
            Self::Container(_) => "AWS_CONTAINER_CREDENTIALS_* is set",
            Self::Ec2(_) => "the profile has a credential_source",
            Self::LastResort(..) => "nothing else is configured",
            Self::WebIdentity(_) => "there is a web identity token file",
            Self::Process(..) => "the profile has a credential_process",
            Self::Sso(_) => "the profile has sso_ keys",
            Self::Login(_) => "the profile has a login_session",
            Self::Role(base, _) => base.why(),
        }
    }
}

/// A plan, and warnings about the settings that it was made from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    pub plan: Plan,
    /// No setting asks for this source: it is the role of the container or instance.
    pub is_platform: bool,
    /// Worth a warning each. Without secrets.
    pub warnings: Vec<String>,
}

/// Whether credentials are configured, in the environment, in the selected profile or by the role
/// of `-r`, rightly or wrongly. The EC2 metadata service counts only when
/// `AWS_EC2_METADATA_SERVICE_ENDPOINT` names it, because only a request could show whether it
/// exists.
pub(crate) fn is_configured(env: &Lookup<'_>, profiles: &Profiles, role_arn: Option<&str>) -> bool {
    let last_resort = matches!(
        select(env, profiles, None),
        Ok(Selection {
            plan: Plan::LastResort(..),
            ..
        })
    );
    role_arn.is_some() || !last_resort || set(env, "AWS_EC2_METADATA_SERVICE_ENDPOINT").is_some()
}

/// Chooses. `role` is that of `-r`.
///
/// # Errors
/// When what is configured contradicts itself or is incomplete.
pub(crate) fn select(
    env: &Lookup<'_>,
    profiles: &Profiles,
    role: Option<&Role>,
) -> Result<Selection, SourceError> {
    let mut search = PlanSearch {
        env,
        profiles,
        is_platform: false,
        passed: Vec::new(),
        warnings: Vec::new(),
    };
    let base = search.base()?;
    let plan = match role {
        Some(role) => Plan::Role(Box::new(base), role.clone()),
        None => base,
    };
    Ok(Selection {
        plan,
        is_platform: search.is_platform,
        warnings: search.warnings,
    })
}

struct PlanSearch<'a> {
    env: &'a Lookup<'a>,
    profiles: &'a Profiles,
    is_platform: bool,
    passed: Vec<String>,
    warnings: Vec<String>,
}

impl PlanSearch<'_> {
    fn base(&mut self) -> Result<Plan, SourceError> {
        match keys(self.env) {
            Keys::Both(credentials, variable) => {
                return Ok(Plan::Environment(credentials, variable));
            }
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

    /// The role of the container or of the instance.
    fn platform(&mut self, profile: &Lookup<'_>) -> Result<Plan, SourceError> {
        self.is_platform = true;
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

#[cfg(test)]
mod tests;
