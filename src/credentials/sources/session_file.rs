//! The cache file of a person's session: reading it, replacing it, and the messages when it cannot
//! be used.

use std::path::Path;

use crate::credentials::sources::token_service::TokenError;
use crate::credentials::token_file::Replacement;
use crate::credentials::{SourceError, read_small};

pub(super) struct SessionFile<'a> {
    pub path: &'a Path,
    pub profile: &'a str,
    /// What it is called in messages.
    pub name: &'static str,
    /// What cannot be written where the file is read-only, for messages after the name.
    pub replaced: &'static str,
    /// The command that begins a session.
    pub command: &'static str,
}

impl SessionFile<'_> {
    pub(super) fn wrong(&self, what: &str) -> SourceError {
        SourceError::Setting(format!(
            "the {} {} of profile {} {what}; run: {} --profile {2}",
            self.name,
            self.path.display(),
            self.profile,
            self.command,
        ))
    }

    /// # Errors
    /// When it cannot be read or `parse` says what is wrong with it.
    pub(super) fn read<T>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, SourceError> {
        let text =
            read_small(self.path).map_err(|why| self.wrong(&format!("cannot be read ({why})")))?;
        parse(&text).map_err(|why| self.wrong(&why))
    }

    /// To be called before the request for new tokens, because that request invalidates the old
    /// ones.
    ///
    /// # Errors
    /// When the file cannot be replaced.
    pub(super) fn begin_replacement(&self) -> Result<Replacement, SourceError> {
        Replacement::begin(self.path).map_err(|why| {
            self.wrong(&format!(
                "cannot be renewed, because {} cannot be replaced ({why}): make its folder \
                 writable for this daemon",
                self.replaced
            ))
        })
    }

    /// The error for a session that the token service has refused.
    pub(super) fn refusal(&self, error: TokenError) -> SourceError {
        match error {
            TokenError::SessionOver(code) => self.wrong(&format!("is over ({code})")),
            TokenError::Other(error) => error,
        }
    }

    /// Writes the renewed session. Where that fails it is logged, and the session is used all the same.
    pub(super) fn commit(&self, replacement: Replacement, text: &str) {
        if let Err(why) = replacement.commit(text) {
            log::error!(
                "{}",
                self.wrong(&format!("was renewed, but cannot be written back ({why})"))
            );
        }
    }
}
