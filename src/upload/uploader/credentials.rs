//! The credentials that the uploader has, and what it does while there are none.

use std::time::Instant;

use aws_credential_types::Credentials;

use super::{Action, Uploader};
use crate::credentials::CredentialSnapshot;
use crate::spool::XRayApi;

impl Uploader {
    /// Asks for credentials, because something has arrived that cannot be sent without them.
    pub(super) fn report_waiting(&mut self, now: Instant) {
        if self.usable_credentials().is_none() {
            self.actions.push(Action::WantCredentials);
            self.report_missing_credentials(now);
        }
    }

    pub(super) fn credentials_changed(&mut self, snapshot: CredentialSnapshot, now: Instant) {
        let are_new = self
            .credentials
            .as_ref()
            .is_none_or(|before| before.generation < snapshot.generation);
        self.credentials = Some(snapshot);
        self.renewal_wait = None;
        if self.usable_credentials().is_none() {
            self.report_missing_credentials(now);
        } else if are_new {
            for destination in self.destinations.iter_mut() {
                destination.back_off.retry_now();
            }
        }
    }

    pub(super) fn report_missing_credentials(&mut self, now: Instant) {
        let error = self
            .credentials
            .as_ref()
            .and_then(|s| s.status.error.as_deref());
        // While the first attempt is under way there is nothing to report.
        let Some(error) = error else { return };
        // The thread that looks for credentials logs the list of all places once. It is not
        // repeated here.
        let reason = match error.split_once(": ") {
            Some((reason @ "no AWS credentials found", _)) => reason.to_owned(),
            _ => format!("no AWS credentials ({error})"),
        };
        for api in XRayApi::ALL {
            let held = self.held_of(api);
            if held > 0 {
                let destination = self.destinations.of_mut(api);
                destination.outage.cannot_upload(reason.clone(), held, now);
            }
        }
    }

    pub(super) fn usable_credentials(&self) -> Option<(&Credentials, u64)> {
        let snapshot = self.credentials.as_ref()?;
        Some((snapshot.credentials.as_ref()?, snapshot.generation))
    }

    /// Whether it is known where requests go and with what they are signed.
    pub(super) fn can_sign(&self) -> bool {
        self.target.is_some() && self.usable_credentials().is_some()
    }
}
