//! The role of an EC2 instance.

use aws_credential_types::Credentials;

use crate::credentials::sources::imds::ImdsClient;
use crate::credentials::{Renewal, Source, SourceError, json};

const ROLES: &str = "meta-data/iam/security-credentials/";

/// The role of the instance profile, as a source.
pub struct InstanceRole(pub ImdsClient);

impl Source for InstanceRole {
    fn name(&self) -> String {
        "EC2 instance role".to_owned()
    }

    fn fetch(&mut self) -> Result<Credentials, SourceError> {
        // The name is requested each time, because the instance profile can be replaced.
        let roles = self.0.get(ROLES).map_err(|error| match error {
            SourceError::Refused {
                from, status: 404, ..
            } => SourceError::Unusable {
                from,
                why: "this instance has no IAM role (instance profile) attached".to_owned(),
            },
            other => other,
        })?;
        let unusable = |client: &ImdsClient, why: String| SourceError::Unusable {
            from: client.from(),
            why,
        };
        let role = roles.lines().next().unwrap_or_default().trim();
        let in_names = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@-_".contains(&b);
        if role.is_empty() || !role.bytes().all(in_names) {
            return Err(unusable(
                &self.0,
                "the answer is not the name of a role".to_owned(),
            ));
        }
        let body = self.0.get(&format!("{ROLES}{role}"))?;
        json::credentials(body.as_bytes(), "imds")
            .map_err(|why| unusable(&self.0, format!("role {role}: {why}")))
    }

    fn renewal(&self) -> Renewal {
        Renewal::Stable
    }
}
