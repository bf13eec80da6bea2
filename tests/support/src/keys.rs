//! Keys as AWS hands them out.

use std::time::SystemTime;

use aws_smithy_types::{DateTime, date_time::Format};
use serde_json::json;

/// Keys that a fake service gives, knows, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    pub id: String,
    pub secret: String,
    pub token: Option<String>,
    pub expires: Option<SystemTime>,
}

impl Keys {
    pub fn new(id: &str, secret: &str, token: Option<&str>) -> Self {
        Self {
            id: id.to_owned(),
            secret: secret.to_owned(),
            token: token.map(str::to_owned),
            expires: None,
        }
    }

    /// The same, with an end.
    pub fn until(self, expires: SystemTime) -> Self {
        Self {
            expires: Some(expires),
            ..self
        }
    }

    /// The body of a container endpoint or of the EC2 metadata service.
    pub fn json(&self) -> String {
        let end = self.expires.expect("keys that AWS hands out have an end");
        self.json_until(&timestamp(end))
    }

    /// The same, with the end in a text of choice.
    pub fn json_until(&self, expiration: &str) -> String {
        json!({
            "Code": "Success",
            "RoleArn": "arn:aws:iam::123456789012:role/app",
            "AccessKeyId": self.id,
            "SecretAccessKey": self.secret,
            "Token": self.token,
            "Expiration": expiration,
        })
        .to_string()
    }
}

/// A time as AWS writes it: `2026-01-31T12:00:00Z`.
pub fn timestamp(time: SystemTime) -> String {
    let text = DateTime::from(time).fmt(Format::DateTime);
    text.expect("a year of four digits")
}
