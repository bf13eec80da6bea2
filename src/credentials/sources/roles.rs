//! Roles: assumed with other credentials, or with a web identity token (EKS service accounts).

use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use aws_credential_types::Credentials;

use crate::aws::error_codes::blames_credentials;
use crate::credentials::schedule::{NextStep, RenewalSchedule};
use crate::credentials::sources::sts::{StsCall, StsClient};
use crate::credentials::{IssuedCredentials, Source, SourceError, Timing, read_small};

/// Seconds of an assumed session: the official daemon's, which every role and every chain of
/// roles allows.
const DURATION: u32 = 900;

/// A role to assume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// Name of the session, as CloudTrail shows it.
    pub session_name: String,
    /// What the role's trust policy may ask for.
    pub external_id: Option<String>,
    /// Seconds that the session lasts.
    pub duration: u32,
}

impl Role {
    /// As the official daemon assumes the role of `-r`.
    pub fn new(arn: &str) -> Self {
        Self {
            arn: arn.to_owned(),
            session_name: "xray-daemon".to_owned(),
            external_id: None,
            duration: DURATION,
        }
    }
}

/// A role assumed with the credentials of another source, which are kept and renewed apart.
pub struct AssumedRole {
    base: Box<dyn Source>,
    base_schedule: RenewalSchedule,
    /// The error of the base when it last failed.
    failure: Option<SourceError>,
    role: Role,
    sts: StsClient,
    timing: Timing,
}

impl AssumedRole {
    /// `base` gives the credentials that may assume `role`.
    pub fn new(base: Box<dyn Source>, role: Role, sts: StsClient) -> Self {
        Self {
            base,
            base_schedule: RenewalSchedule::default(),
            failure: None,
            role,
            timing: sts.timing.clone(),
            sts,
        }
    }

    /// The base's credentials, fetched when a renewal is due.
    fn signer(&mut self) -> Result<IssuedCredentials, SourceError> {
        let (now, time) = ((self.timing.reading)(), (self.timing.now)());
        let random = (self.timing.random)();
        if self.base_schedule.next(now) == NextStep::Now {
            match self.base.fetch() {
                Err(error) => {
                    self.base_schedule.failed(now, random);
                    self.failure = Some(error);
                }
                Ok(fetched) => {
                    let renewal = self.base.renewal();
                    let taken = self
                        .base_schedule
                        .fetched(fetched, renewal, now, time, random);
                    self.failure = taken.err().map(|_| SourceError::Unusable {
                        from: self.base.name(),
                        why: "the credentials have expired".to_owned(),
                    });
                }
            }
        }
        self.base_schedule.current(now).ok_or_else(|| {
            self.failure
                .clone()
                .unwrap_or_else(|| SourceError::Unusable {
                    from: self.base.name(),
                    why: "no credentials".to_owned(),
                })
        })
    }

    fn assume(&mut self, signer: &Credentials) -> Result<Credentials, SourceError> {
        let duration = self.role.duration.to_string();
        let mut parameters = vec![
            ("RoleArn", self.role.arn.as_str()),
            ("RoleSessionName", self.role.session_name.as_str()),
            ("DurationSeconds", duration.as_str()),
        ];
        if let Some(id) = &self.role.external_id {
            parameters.push(("ExternalId", id));
        }
        // STS explains a bad signature by quoting the request, token and all.
        let secrets = [
            signer.session_token().unwrap_or_default(),
            self.role.external_id.as_deref().unwrap_or_default(),
        ];
        self.sts.call(&StsCall {
            action: "AssumeRole",
            parameters: &parameters,
            signer: Some(signer),
            secrets: &secrets,
        })
    }
}

impl Source for AssumedRole {
    fn name(&self) -> String {
        format!("role {} assumed with {}", self.role.arn, self.base.name())
    }

    fn fetch(&mut self) -> Result<Credentials, SourceError> {
        let signer = self.signer()?;
        match self.assume(&signer.credentials) {
            Err(SourceError::Refused { code, .. })
                if blames_credentials(&code)
                    && self
                        .base_schedule
                        .reject(signer.generation, (self.timing.reading)()) =>
            {
                let signer = self.signer()?;
                self.assume(&signer.credentials)
            }
            other => other,
        }
    }
}

/// What a web identity needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebIdentity {
    /// File of the token. Read at each call, because the kubelet rotates it.
    pub token_file: PathBuf,
    /// The role's ARN.
    pub role_arn: String,
    /// Name of the session; `None` makes one from the time.
    pub session_name: Option<String>,
}

/// A role assumed with a web identity token.
pub struct WebIdentityRole {
    identity: WebIdentity,
    sts: StsClient,
}

impl WebIdentityRole {
    /// Asks STS at each [`fetch`](Source::fetch).
    pub fn new(identity: WebIdentity, sts: StsClient) -> Self {
        Self { identity, sts }
    }

    fn token(&self) -> Result<String, SourceError> {
        let path = self.identity.token_file.display();
        let wrong =
            |what: &str| SourceError::Setting(format!("the web identity token file {path} {what}"));
        let text = read_small(&self.identity.token_file)
            .map_err(|why| wrong(&format!("cannot be read: {why}")))?;
        match text.trim() {
            "" => Err(wrong("is empty")),
            token if !token.bytes().all(|b| b.is_ascii_graphic()) => {
                Err(wrong("holds more than one token"))
            }
            token => Ok(token.to_owned()),
        }
    }
}

impl Source for WebIdentityRole {
    fn name(&self) -> String {
        format!("web identity role {}", self.identity.role_arn)
    }

    fn fetch(&mut self) -> Result<Credentials, SourceError> {
        let token = self.token()?;
        let session_name = self.identity.session_name.clone().unwrap_or_else(|| {
            let now = (self.sts.timing.now)();
            let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            format!("xray-daemon-{seconds}")
        });
        self.sts.call(&StsCall {
            action: "AssumeRoleWithWebIdentity",
            parameters: &[
                ("RoleArn", &self.identity.role_arn),
                ("RoleSessionName", &session_name),
                ("WebIdentityToken", &token),
            ],
            signer: None,
            secrets: &[&token],
        })
    }
}
