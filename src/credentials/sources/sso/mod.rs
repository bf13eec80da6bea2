//! IAM Identity Center: the session that `aws sso login` has left in a cache file, renewed while the
//! identity center allows it.

pub mod token;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use serde_json::Value;

use crate::aws::endpoint::IdentityService;
use crate::credentials::metadata::{AttemptError, MetadataRequest, attempts, exchange};
use crate::credentials::sources::session_file::SessionFile;
use crate::credentials::sources::sts;
use crate::credentials::sources::token_service::{TokenRequest, TokenService};
use crate::credentials::{Source, SourceError, date, json};
use token::SsoToken;

/// Tokens are renewed when they have no longer to live.
const THRESHOLD: Duration = Duration::from_secs(300);

/// What a profile says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsoSettings {
    /// Name of the profile.
    pub profile: String,
    /// File of the token.
    pub cache: PathBuf,
    /// Region of the identity center.
    pub region: String,
    /// Account to act in.
    pub account_id: String,
    /// Role in that account.
    pub role_name: String,
}

/// The cache file of a session, by its name, or of an older profile, by its start URL.
pub(crate) fn cache_file(home: &str, key: &str) -> PathBuf {
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
    let name = hex::encode(digest) + ".json";
    Path::new(home).join(".aws/sso/cache").join(name)
}

/// A profile with `sso_*` keys, as a source.
pub struct Sso {
    /// What the profile says.
    pub settings: SsoSettings,
    /// How the identity center is reached.
    pub service: TokenService,
}

impl Sso {
    fn file(&self) -> SessionFile<'_> {
        SessionFile {
            path: &self.settings.cache,
            profile: &self.settings.profile,
            name: "cached token",
            replaced: "it",
            command: "aws sso login",
        }
    }

    /// The token, renewed if necessary and possible. A token that seems to have expired is tried
    /// all the same, because the clock of this host may be wrong.
    fn token(&self) -> Result<SsoToken, SourceError> {
        let token = self.file().read(SsoToken::parse)?;
        let now = (self.service.timing.now)();
        let left = token.expires.duration_since(now).unwrap_or_default();
        let Some(body) = token.renewal(now).filter(|_| left <= THRESHOLD) else {
            return Ok(token);
        };
        match self.renew(&token, &body, now) {
            Err(error) if !left.is_zero() => {
                log::warn!(
                    "The token of {} is used until {}: {error}",
                    self.name(),
                    date::format(token.expires)
                );
                Ok(token)
            }
            renewed => renewed,
        }
    }

    fn renew(
        &self,
        token: &SsoToken,
        body: &str,
        now: SystemTime,
    ) -> Result<SsoToken, SourceError> {
        let file = self.file();
        let replacement = file.begin_replacement()?;
        let region = &self.settings.region;
        let base = self.service.url(IdentityService::Oidc, region)?;
        let from = format!("IAM Identity Center {base}");
        let answer = self.service.ask(&TokenRequest {
            from: &from,
            url: &format!("{base}/token"),
            header: None,
            body,
            secrets: &token.secrets(),
        });
        let answer = answer.map_err(|error| file.refusal(error))?;
        let renewed = token
            .renewed(&answer, now)
            .map_err(|why| SourceError::Unusable { from, why })?;
        file.commit(replacement, &renewed.text());
        Ok(renewed)
    }

    fn once(&self, token: &SsoToken) -> Result<Credentials, AttemptError> {
        let SsoSettings {
            region,
            account_id,
            role_name,
            ..
        } = &self.settings;
        let setting = |error: SourceError| AttemptError {
            error,
            again: false,
        };
        let base = self.service.url(IdentityService::Portal, region);
        let base = base.map_err(setting)?;
        let from = format!("IAM Identity Center {base}");
        let mut url = format!("{base}/federation/credentials?role_name=");
        sts::encode(role_name, &mut url);
        url.push_str("&account_id=");
        sts::encode(account_id, &mut url);
        let agent = self.service.agent(&url).map_err(setting)?;
        let request = MetadataRequest {
            method: "GET",
            url: &url,
            headers: &[("x-amz-sso_bearer_token", &token.access_token)],
            body: None,
            connect: Duration::from_secs(3),
            total: Duration::from_secs(10),
        };
        let answer = exchange(&agent, &request).map_err(|failure| AttemptError {
            again: true,
            error: SourceError::Unreachable {
                from: from.clone(),
                why: failure.why,
            },
        })?;
        if answer.status == 401 {
            let expires = date::format(token.expires);
            return Err(AttemptError {
                again: false,
                error: self.file().wrong(&format!(
                    "is refused: the session is over (expiry: {expires})"
                )),
            });
        }
        if !answer.is_success() {
            return Err(AttemptError {
                again: answer.is_transient(),
                error: answer.refusal(&from, &[&token.access_token]),
            });
        }
        read(&answer.body).map_err(|why| AttemptError {
            again: true,
            error: SourceError::Unusable { from, why },
        })
    }
}

impl Source for Sso {
    fn name(&self) -> String {
        format!(
            "IAM Identity Center role {} of account {}",
            self.settings.role_name, self.settings.account_id
        )
    }

    fn fetch(&mut self) -> Result<Credentials, SourceError> {
        let token = self.token()?;
        attempts(&self.service.timing, 3, Duration::from_secs(2), &mut || {
            self.once(&token)
        })
    }
}

fn read(body: &[u8]) -> Result<Credentials, String> {
    let root = json::object(body).map_err(|e| e.to_string())?;
    let role = root.get("roleCredentials").unwrap_or(&Value::Null);
    let text = |name: &str| role[name].as_str().unwrap_or_default();
    let milliseconds = role["expiration"]
        .as_f64()
        .and_then(|ms| date::from_epoch(ms / 1000.0));
    let expires = milliseconds.ok_or("expiration is missing or no date")?;
    json::new(
        text("accessKeyId"),
        text("secretAccessKey"),
        text("sessionToken"),
        Some(expires),
        "sso",
    )
    .map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_files_are_found_where_the_cli_puts_them() {
        // The SDKs' published example.
        assert_eq!(
            cache_file("/home/me", "https://d-92671207e4.awsapps.com/start"),
            Path::new("/home/me/.aws/sso/cache/13f9d35043871d073ab260e020f0ffde092cb14b.json")
        );
        assert!(cache_file("/", "").ends_with("da39a3ee5e6b4b0d3255bfef95601890afd80709.json"));
    }

    #[test]
    fn answers() {
        let body = r#"{"roleCredentials":{"accessKeyId":"ASIA","secretAccessKey":"hush","sessionToken":"t","expiration":1758428213500}}"#;
        let found = read(body.as_bytes()).unwrap();
        assert_eq!(found.session_token(), Some("t"));
        assert_eq!(
            found.expiry().map(date::format).as_deref(),
            Some("2025-09-21T04:16:53Z")
        );
        for (body, why) in [
            (
                body.replace("1758428213500", "\"soon\""),
                "expiration is missing",
            ),
            (body.replace("hush", ""), "SecretAccessKey is missing"),
            ("{}".to_owned(), "expiration is missing"),
            ("<html>hush".to_owned(), "HTML"),
        ] {
            let error = read(body.as_bytes()).unwrap_err();
            assert!(
                error.contains(why) && !error.contains("hush"),
                "{body}: {error}"
            );
        }
    }
}
