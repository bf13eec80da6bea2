//! The cache file of a person's session: how it is read and replaced, and what is said when it is of no use.

use std::path::Path;

use crate::credentials::sources::token_service::TokenError;
use crate::credentials::token_file::Replacement;
use crate::credentials::{SourceError, read_small};

pub(super) struct SessionFile<'a> {
    pub path: &'a Path,
    pub profile: &'a str,
    /// What it is called in messages.
    pub name: &'static str,
    /// What cannot be replaced where it is read-only, after the name has been said.
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

    /// To be called before the service is asked: its answer makes what the file holds worthless.
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

    /// What the token service has refused, in terms of this file.
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
