//! `credential_process` of a profile: another program that prints credentials.
//!
//! The SDKs hand the line to a shell. There is none in a scratch image, so the words are split
//! here and the program is started directly; what only a shell could do is refused by name.

mod words;

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;

use crate::credentials::{Source, SourceError, json};
use words::split;

/// As long as the Go SDK waits.
const LIMIT: Duration = Duration::from_secs(60);
/// No answer is longer.
const LARGEST: u64 = 64 * 1024;

/// The program as a source.
pub struct Process {
    /// The profile that names it.
    pub profile: String,
    /// The line in the profile. May hold secrets.
    pub command: String,
    /// How long it may run.
    pub limit: Duration,
}

impl Process {
    /// With the time limit of the SDKs.
    pub fn new(profile: String, command: String) -> Self {
        Self {
            profile,
            command,
            limit: LIMIT,
        }
    }

    fn output(&self) -> Result<Vec<u8>, String> {
        let words = split(&self.command)?;
        let (program, arguments) = words.split_first().ok_or("names no program")?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot be started: {error}"))?;
        let end = Instant::now() + self.limit;
        let answer = self.read(&mut child, end);
        if answer.is_err() {
            // It may have ended meanwhile.
            let _ = child.kill();
        }
        let status = wait(&mut child, end).map_err(|error| format!("is lost: {error}"))?;
        let body = answer?;
        match status.success() {
            true => Ok(body),
            false => Err(format!(
                "failed: {status}; its own words are on standard error"
            )),
        }
    }

    fn read(&self, child: &mut Child, end: Instant) -> Result<Vec<u8>, String> {
        let stdout = child.stdout.take().ok_or("has no output")?;
        let (sender, receiver) = channel();
        // A pipe has no time-out of its own.
        thread::Builder::new()
            .name("process".to_owned())
            .spawn(move || {
                let mut body = Vec::new();
                let read = stdout.take(LARGEST + 1).read_to_end(&mut body);
                // The receiver is gone when the time is over.
                let _ = sender.send(read.map(|_| body));
            })
            .map_err(|error| format!("cannot be read: {error}"))?;
        match receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(Ok(body)) if body.len() as u64 > LARGEST => {
                Err("printed more than 64 KiB".to_owned())
            }
            Ok(Ok(body)) => Ok(body),
            Ok(Err(error)) => Err(format!("cannot be read: {error}")),
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("did not end within {} s", self.limit.as_secs()))
            }
            Err(RecvTimeoutError::Disconnected) => Err("cannot be read".to_owned()),
        }
    }
}

/// Waits for a program that has closed its output, and ends it when it lingers.
fn wait(child: &mut Child, end: Instant) -> std::io::Result<std::process::ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= end {
            child.kill()?;
            return child.wait();
        }
        thread::sleep(Duration::from_millis(10));
    }
}

impl Source for Process {
    fn name(&self) -> String {
        format!("credential_process of profile {}", self.profile)
    }

    fn fetch(&mut self) -> Result<Credentials, SourceError> {
        let body = self
            .output()
            .map_err(|why| SourceError::Setting(format!("{}: the program {why}", self.name())))?;
        let unusable = |why: String| SourceError::Unusable {
            from: self.name(),
            why,
        };
        let fields = json::object(&body).map_err(|e| unusable(e.to_string()))?;
        let version = json::find(&fields, &["Version"]).and_then(serde_json::Value::as_u64);
        if version != Some(1) {
            return Err(unusable("Version is not 1".to_owned()));
        }
        json::credentials(&body, "process").map_err(|e| unusable(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str) -> Result<Credentials, String> {
        let quoted = script.replace('\'', r"'\''");
        let mut process = Process::new("p".into(), format!("/bin/sh -c '{quoted}'"));
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
    fn a_program_that_is_not_there_or_hangs() {
        let mut missing = Process::new("p".into(), "/nonexistent/program hush".into());
        let error = missing.fetch().unwrap_err().to_string();
        assert!(error.contains("cannot be started"), "{error}");
        assert!(!error.contains("hush"), "{error}");

        let mut hanging = Process::new("p".into(), "/bin/sleep 1000".into());
        hanging.limit = Duration::from_millis(1);
        let error = hanging.fetch().unwrap_err().to_string();
        assert!(error.contains("did not end within"), "{error}");
    }
}
