//! IAM Identity Center: the access token that `aws sso login` has left in a cache file.
//!
//! The token is used, not renewed: that needs a browser, or a client registration of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use std::sync::Arc;

use aws_credential_types::Credentials;
use serde_json::Value;

use crate::aws::endpoint::{dns_suffix, is_region};
use crate::credentials::metadata::{Failed, Request, attempts, exchange};
use crate::credentials::sources::sts;
use crate::credentials::{Source, SourceError, Timing, date, json, read_small};
use crate::http::client::HttpClientFactory;

/// What a profile says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
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
pub fn cache_file(home: &str, key: &str) -> PathBuf {
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
    let name = hex::encode(digest) + ".json";
    Path::new(home).join(".aws/sso/cache").join(name)
}

/// A profile with `sso_*` keys, as a source.
pub struct Sso {
    /// What the profile says.
    pub settings: Settings,
    /// Makes the agent.
    pub service: Arc<HttpClientFactory>,
    /// For the pauses, and to see whether the token has expired.
    pub timing: Timing,
}

impl Sso {
    fn wrong(&self, what: &str) -> SourceError {
        SourceError::Setting(format!(
            "the cached token {} of profile {} {what}; run: aws sso login --profile {1}",
            self.settings.cache.display(),
            self.settings.profile,
        ))
    }

    fn token(&self) -> Result<String, SourceError> {
        let wrong = |what: &str| self.wrong(what);
        let text = read_small(&self.settings.cache)
            .map_err(|why| wrong(&format!("cannot be read ({why})")))?;
        let fields = json::object(text.as_bytes()).map_err(|e| wrong(&format!("is {e}")))?;
        let field = |name| fields.get(name).and_then(Value::as_str).unwrap_or_default();
        let token = field("accessToken");
        let Some(expires) = date::parse(field("expiresAt")) else {
            return Err(wrong("says no expiry"));
        };
        if expires <= (self.timing.now)() {
            return Err(wrong(&format!("has expired at {}", date::format(expires))));
        }
        match !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()) {
            true => Ok(token.to_owned()),
            false => Err(wrong("holds no token")),
        }
    }

    fn once(&self, token: &str) -> Result<Credentials, Failed> {
        let Settings {
            region,
            account_id,
            role_name,
            ..
        } = &self.settings;
        let setting = |why: String| Failed {
            error: SourceError::Setting(why),
            again: false,
        };
        if !is_region(region) {
            return Err(setting(format!("sso_region {region:?} is not a region")));
        }
        let from = format!("https://portal.sso.{region}.{}", dns_suffix(region));
        let mut url = format!("{from}/federation/credentials?role_name=");
        sts::encode(role_name, &mut url);
        url.push_str("&account_id=");
        sts::encode(account_id, &mut url);
        let agent = self
            .service
            .agent(&url)
            .map_err(|e| setting(e.to_string()))?;
        let request = Request {
            method: "GET",
            url: &url,
            headers: &[("x-amz-sso_bearer_token", token)],
            body: None,
            connect: Duration::from_secs(3),
            total: Duration::from_secs(10),
        };
        let answer = exchange(&agent, &request).map_err(|failure| Failed {
            again: true,
            error: SourceError::Unreachable {
                from: from.clone(),
                why: failure.why,
            },
        })?;
        if answer.status == 401 {
            return Err(Failed {
                again: false,
                error: self.wrong("is refused: the session is over"),
            });
        }
        if !answer.is_success() {
            return Err(Failed {
                again: answer.is_transient(),
                error: answer.refusal(&from, &[token]),
            });
        }
        read(&answer.body).map_err(|why| Failed {
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
        attempts(&self.timing, 3, Duration::from_secs(2), &mut || {
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
    use crate::http::client::HttpClientConfig;
    use crate::http::dns::Resolver;
    use std::fs;

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

    #[test]
    fn a_token_that_cannot_be_used_says_what_to_do() {
        let cache = std::env::temp_dir().join(format!("xray-sso-{}.json", std::process::id()));
        let now = date::parse("2025-01-01T00:00:00Z").unwrap();
        let service = HttpClientFactory::new(HttpClientConfig {
            resolver: Resolver::start().unwrap(),
            proxy_address: "",
            no_verify_ssl: false,
            profile_ca_bundle: None,
            connections: 0,
            user_agent: "test",
            env: &|_| None,
        });
        let sso = Sso {
            settings: Settings {
                profile: "dev".into(),
                cache: cache.clone(),
                region: "us-east-1".into(),
                account_id: "1".into(),
                role_name: "r".into(),
            },
            service: Arc::new(service.unwrap()),
            timing: Timing::new(Arc::new(move || now)),
        };
        for (text, expected) in [
            (
                r#"{"accessToken":"hush","expiresAt":"2025-01-01T00:00:01Z"}"#,
                Ok("hush"),
            ),
            (
                r#"{"accessToken":"hush","expiresAt":"2025-01-01T00:00:00Z"}"#,
                Err("has expired at 2025-01-01T00:00:00Z"),
            ),
            (r#"{"accessToken":"hush"}"#, Err("says no expiry")),
            (
                r#"{"accessToken":"hu\nsh","expiresAt":"2025-01-01T00:00:01Z"}"#,
                Err("holds no token"),
            ),
            (
                r#"{"accessToken":"hush","expi"#,
                Err("is not a JSON object"),
            ),
        ] {
            fs::write(&cache, text).unwrap();
            match (sso.token(), expected) {
                (Ok(token), Ok(expected)) => assert_eq!(token, expected),
                (Err(error), Err(why)) => {
                    let error = error.to_string();
                    assert!(error.contains(why), "{error}");
                    assert!(
                        error.ends_with("run: aws sso login --profile dev"),
                        "{error}"
                    );
                    assert!(!error.contains("hush"), "{error}");
                }
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
        fs::remove_file(&cache).unwrap();
        assert!(
            sso.token()
                .unwrap_err()
                .to_string()
                .contains("cannot be read")
        );
    }
}
