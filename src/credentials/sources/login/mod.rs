//! `aws login`: the session of a person who has signed in by the browser. Its keys last a quarter of
//! an hour; they are in a cache file with all that their renewal takes, for half a day.

pub mod dpop;
pub mod token;

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_credential_types::Credentials;
use sha2::{Digest, Sha256};

use crate::aws::endpoint::IdentityService;
use crate::credentials::sources::session_file::SessionFile;
use crate::credentials::sources::token_service::{TokenRequest, TokenService};
use crate::credentials::{Source, SourceError, date};
use dpop::ProofKey;
use token::LoginToken;

/// Keys are renewed when they have no longer to live, as in the SDKs.
const THRESHOLD: Duration = Duration::from_secs(300);

/// What a profile says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginSettings {
    /// Name of the profile.
    pub profile: String,
    /// File of the session.
    pub cache: PathBuf,
}

/// The cache file of a session: in `directory` (`AWS_LOGIN_CACHE_DIRECTORY`), else below `home`.
pub(crate) fn cache_file(directory: Option<&str>, home: &str, session: &str) -> PathBuf {
    let name = hex::encode(Sha256::digest(session.trim())) + ".json";
    match directory {
        Some(directory) => match directory.strip_prefix("~/") {
            Some(rest) => Path::new(home).join(rest),
            None => PathBuf::from(directory),
        },
        None => Path::new(home).join(".aws/login/cache"),
    }
    .join(name)
}

/// A profile with a `login_session`, as a source.
pub struct Login {
    /// What the profile says.
    pub settings: LoginSettings,
    /// Where AWS Sign-In is asked, unless the session says where it began.
    pub region: String,
    /// How it is reached there.
    pub service: TokenService,
}

impl Login {
    fn file(&self) -> SessionFile<'_> {
        SessionFile {
            path: &self.settings.cache,
            profile: &self.settings.profile,
            name: "session",
            replaced: "its file",
            command: "aws login",
        }
    }

    fn renew(&self, token: &LoginToken) -> Result<Credentials, SourceError> {
        let file = self.file();
        let replacement = file.begin_replacement()?;
        let key = ProofKey::from_pem(&token.proof_key)
            .map_err(|why| file.wrong(&format!("holds a dpopKey that {why}")))?;
        let region = token.region.as_deref().unwrap_or(&self.region);
        let base = self.service.url(IdentityService::SignIn, region)?;
        let url = format!("{base}/v1/token");
        let no_random = || SourceError::Setting("the system gives no random numbers".to_owned());
        let proof = key.proof(&url, self.service.clock.now());
        let proof = proof.ok_or_else(no_random)?;
        let from = format!("AWS Sign-In {base}");
        let answer = self.service.ask(&TokenRequest {
            from: &from,
            url: &url,
            header: Some(("dpop", &proof)),
            body: &token.renewal(),
            secrets: &[&token.refresh_token, &proof],
        });
        let answer = answer.map_err(|error| file.refusal(error))?;
        let renewed = token
            .renewed(&answer, (self.service.timing.now)())
            .map_err(|why| SourceError::Unusable { from, why })?;
        file.commit(replacement, &renewed.text());
        Ok(renewed.credentials)
    }
}

impl Source for Login {
    fn name(&self) -> String {
        format!("aws login session of profile {}", self.settings.profile)
    }

    fn fetch(&mut self) -> Result<Credentials, SourceError> {
        let token = self.file().read(LoginToken::parse)?;
        let now = (self.service.timing.now)();
        let expires = token.credentials.expiry().unwrap_or(now);
        let left = expires.duration_since(now).unwrap_or_default();
        if left > THRESHOLD {
            return Ok(token.credentials);
        }
        match self.renew(&token) {
            Err(error) if !left.is_zero() => {
                log::warn!(
                    "The keys of {} are used until {}: {error}",
                    self.name(),
                    date::format(expires)
                );
                Ok(token.credentials)
            }
            renewed => renewed,
        }
    }
}
