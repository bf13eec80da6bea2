//! Keys in environment variables.

use aws_credential_types::Credentials;

use crate::credentials::{Renewal, Source, SourceError, json};
use crate::env::{Lookup, set};

/// What the environment says about keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Both keys, and the variable that the first one was in.
    Both(Credentials, &'static str),
    /// One key; the name of the variable that is missing. The Go SDK passes over these too.
    Half(&'static str),
    /// Keys that cannot be sent in a header; says which part. This is an error rather than a reason
    /// to try another source.
    Bad(String),
    None,
}

/// Reads `AWS_ACCESS_KEY_ID` (else `AWS_ACCESS_KEY`), `AWS_SECRET_ACCESS_KEY` (else
/// `AWS_SECRET_KEY`) and `AWS_SESSION_TOKEN`, as the Go SDK does, except that blank values count
/// as unset: a blank key signs requests that can only fail.
pub(crate) fn keys(env: &Lookup<'_>) -> Keys {
    let first = |names: [&'static str; 2]| {
        let found = |name| Some((set(env, name)?, name));
        names.into_iter().find_map(found)
    };
    let id = first(["AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"]);
    let secret = first(["AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"]);
    match (id, secret) {
        (Some((id, variable)), Some((secret, _))) => {
            let token = set(env, "AWS_SESSION_TOKEN").unwrap_or_default();
            match json::new(&id, &secret, &token, None, "environment") {
                Ok(credentials) => Keys::Both(credentials, variable),
                Err(why) => Keys::Bad(format!("the keys in the environment: {why}")),
            }
        }
        (Some(_), None) => Keys::Half("AWS_SECRET_ACCESS_KEY"),
        (None, Some(_)) => Keys::Half("AWS_ACCESS_KEY_ID"),
        (None, None) => Keys::None,
    }
}

/// Keys as they were read, from the environment or a profile. For other keys there is another source.
pub(crate) struct StaticKeys {
    /// The name of the source: `environment`.
    pub name: String,
    pub credentials: Credentials,
    /// [`Renewal::Fixed`], unless asking again can find other keys.
    pub renewal: Renewal,
}

impl Source for StaticKeys {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn fetch(&mut self) -> Result<Credentials, SourceError> {
        Ok(self.credentials.clone())
    }

    fn renewal(&self) -> Renewal {
        self.renewal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Keys {
        keys(&|name| {
            let var = vars.iter().find(|(n, _)| *n == name);
            var.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn keys_by_either_name() {
        let both = |id: &str, secret: &str, token: Option<&str>| {
            let token = token.map(str::to_owned);
            let variable = match id {
                "a" => "AWS_ACCESS_KEY",
                _ => "AWS_ACCESS_KEY_ID",
            };
            Keys::Both(
                Credentials::new(id, secret, token, None, "environment"),
                variable,
            )
        };
        let id = ("AWS_ACCESS_KEY_ID", "AKID");
        let secret = ("AWS_SECRET_ACCESS_KEY", "hush");
        for (vars, expected) in [
            (vec![id, secret], both("AKID", "hush", None)),
            (
                vec![id, secret, ("AWS_SESSION_TOKEN", "t")],
                both("AKID", "hush", Some("t")),
            ),
            (
                vec![id, secret, ("AWS_SESSION_TOKEN", " ")],
                both("AKID", "hush", None),
            ),
            (
                vec![id, secret, ("AWS_SECURITY_TOKEN", "t")],
                both("AKID", "hush", None),
            ),
            (
                vec![("AWS_ACCESS_KEY", "a"), ("AWS_SECRET_KEY", "b")],
                both("a", "b", None),
            ),
            (
                vec![id, secret, ("AWS_ACCESS_KEY", "a")],
                both("AKID", "hush", None),
            ),
            (
                vec![id, ("AWS_SECRET_ACCESS_KEY", " hush\n")],
                both("AKID", "hush", None),
            ),
            (
                vec![id, secret, ("AWS_SESSION_TOKEN", "a\r\nb")],
                Keys::Bad("the keys in the environment: Token has an impossible value".into()),
            ),
            (vec![id], Keys::Half("AWS_SECRET_ACCESS_KEY")),
            (
                vec![id, ("AWS_SECRET_ACCESS_KEY", "  ")],
                Keys::Half("AWS_SECRET_ACCESS_KEY"),
            ),
            (vec![secret], Keys::Half("AWS_ACCESS_KEY_ID")),
            (vec![("AWS_SESSION_TOKEN", "t")], Keys::None),
        ] {
            assert_eq!(read(&vars), expected, "{vars:?}");
        }
    }
}
