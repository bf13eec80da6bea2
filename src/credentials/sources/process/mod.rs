//! `credential_process` of a profile: another program that prints credentials.
//!
//! The SDKs run the line in a shell. A scratch image has none, so the words are split here and the
//! program is started directly. A line that needs a shell is refused with a message that names the
//! reason.

mod run;
pub mod words;

use std::time::Duration;

use aws_credential_types::Credentials;

use crate::credentials::{Source, SourceError, json};
use run::ProcessRunner;
pub use run::RunningProgram;

/// As long as the Go SDK waits.
const LIMIT: Duration = Duration::from_secs(60);

/// The program as a source.
pub struct Process {
    profile: String,
    /// The line in the profile. May hold secrets.
    command: String,
    limit: Duration,
    runner: ProcessRunner,
}

impl Process {
    /// The program of `profile`, by the line `command` in it.
    pub(crate) fn new(profile: String, command: String, running: RunningProgram) -> Self {
        Self {
            profile,
            command,
            limit: LIMIT,
            runner: ProcessRunner::new(running),
        }
    }

    fn output(&mut self) -> Result<Vec<u8>, String> {
        let output = self.runner.run(&words::split(&self.command)?, self.limit)?;
        match output.status {
            Some(status) if !status.success() => Err(format!(
                "failed: {status}; its error message is on standard error"
            )),
            _ => Ok(output.stdout),
        }
    }
}

/// Reads what a program printed.
///
/// # Errors
/// What is wrong with it, without any of its text.
pub fn read(printed: &[u8]) -> Result<Credentials, String> {
    let fields = json::object(printed).map_err(|e| e.to_string())?;
    let version = json::find(&fields, &["Version"]).and_then(serde_json::Value::as_u64);
    if version != Some(1) {
        return Err("Version is not 1".to_owned());
    }
    json::credentials(printed, "process").map_err(|e| e.to_string())
}

impl Source for Process {
    fn name(&self) -> String {
        format!("credential_process of profile {}", self.profile)
    }

    fn fetch(&mut self) -> Result<Credentials, SourceError> {
        let body = self
            .output()
            .map_err(|why| SourceError::Setting(format!("{}: the program {why}", self.name())))?;
        read(&body).map_err(|why| SourceError::Unusable {
            from: self.name(),
            why,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str) -> Result<Credentials, String> {
        let quoted = script.replace('\'', r"'\''");
        let mut process = Process::new(
            "p".into(),
            format!("/bin/sh -c '{quoted}'"),
            RunningProgram::default(),
        );
        process.fetch().map_err(|e| e.to_string())
    }

    #[test]
    fn credentials_of_a_program() {
        let keys = r#""AccessKeyId":"AKID","SecretAccessKey":"hush""#;
        let found = run(&format!(
            r#"printf %s '{{"Version":1,{keys},"SessionToken":"t","Expiration":"2025-09-21T04:16:53+00:00"}}'"#
        ))
        .unwrap();
        assert_eq!(found.session_token(), Some("t"));
        assert_eq!(
            found.expiry(),
            crate::credentials::date::parse("2025-09-21T04:16:53Z")
        );
        assert_eq!(
            run(&format!(r#"echo '{{"Version":1,{keys}}}'"#))
                .unwrap()
                .expiry(),
            None
        );
        // Keys in any case.
        assert!(
            run(&format!(
                r#"echo '{{"version":1,{}}}'"#,
                keys.to_lowercase()
            ))
            .is_ok()
        );
        for (script, why) in [
            (format!(r#"echo '{{{keys}}}'"#), "Version is not 1"),
            (
                format!(r#"echo '{{"Version":"1",{keys}}}'"#),
                "Version is not 1",
            ),
            (
                format!(r#"echo '{{"Version":1,{keys}'"#),
                "not a JSON object",
            ),
            (r#"echo '{"Version":1}'"#.into(), "AccessKeyId is missing"),
            ("echo hush".into(), "not a JSON object"),
            ("true".into(), "not a JSON object: empty"),
            (
                format!(r#"echo '{{"Version":1,{keys}}}'; exit 3"#),
                "exit status: 3",
            ),
            ("head -c 70000 /dev/zero".into(), "printed more than 64 KiB"),
            ("cat".into(), "not a JSON object: empty"),
        ] {
            let error = run(&script).unwrap_err();
            assert!(error.contains(why), "{script}: {error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_program_that_is_not_there() {
        let line = "/nonexistent/program hush".to_owned();
        let mut missing = Process::new("p".into(), line, RunningProgram::default());
        let error = missing.fetch().unwrap_err().to_string();
        assert!(error.contains("cannot be started"), "{error}");
        assert!(!error.contains("hush"), "{error}");
    }
}
