//! Whom to trust: which certificates the daemon takes as roots, and where it finds them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::AgentError;
use crate::env::{self, Lookup};

/// A bundle with every public root is 220 KB; a wrong file must not fill the memory.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// A directory of certificates has a few hundred entries, and at most a megabyte.
const MAX_ENTRIES: usize = 4096;
const MAX_READ: u64 = 32 * 1024 * 1024;
/// Longer lists of what is wrong with the host's certificates are cut.
const MAX_TOLD: usize = 3;

/// Where a host keeps its CA certificates: in the first of these files that there is, and in every
/// file of these directories.
pub(super) struct HostPaths<'a> {
    pub(super) files: &'a [&'a str],
    pub(super) directories: &'a [&'a str],
}

/// Where Go looks, and so the official daemon.
pub(super) const HOST_PATHS: HostPaths<'static> = HostPaths {
    files: &[
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/pki/tls/cacert.pem",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ],
    directories: &["/etc/ssl/certs", "/etc/pki/tls/certs"],
};

/// The roots: those that `AWS_CA_BUNDLE` or `ca_bundle` of the profile names and no others; else
/// those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, each of which replaces its part of the host's; else
/// Mozilla's, which are built in, and the host's.
///
/// # Errors
/// When a file that is named cannot be used, or nobody would be trusted.
pub(super) fn roots(
    env: &Lookup<'_>,
    profile_ca_bundle: Option<&str>,
    host: &HostPaths<'_>,
) -> Result<RootCertStore, AgentError> {
    let set = |name: &'static str| Some((name, env::set(env, name)?));
    let in_profile = profile_ca_bundle.map(|path| ("ca_bundle", path.to_owned()));
    let mut store = Store::new();
    if let Some((source, path)) = set("AWS_CA_BUNDLE").or(in_profile) {
        store.add_named(source, &path)?;
        return Ok(store.finish());
    }
    let (file, directories) = (set("SSL_CERT_FILE"), set("SSL_CERT_DIR"));
    if file.is_none() && directories.is_none() {
        let built_in = webpki_roots::TLS_SERVER_ROOTS;
        store.roots.extend(built_in.iter().cloned());
    }
    match &file {
        Some((source, path)) => store.add_named(source, path)?,
        None => store.add_first(host.files),
    }
    match &directories {
        Some((_, list)) => list.split(':').for_each(|path| store.add_directory(path)),
        None => host
            .directories
            .iter()
            .for_each(|path| store.add_directory(path)),
    }
    if store.roots.is_empty() {
        // Only a variable brings it this far.
        let (source, path) = directories.or(file).unwrap_or_default();
        let reason = "holds no certificate".to_owned();
        return Err(AgentError::Bundle {
            source,
            path,
            reason,
        });
    }
    Ok(store.finish())
}

struct Store {
    roots: RootCertStore,
    /// The host's bundle usually lies in a directory that is read, too.
    files: BTreeSet<PathBuf>,
    bytes: u64,
    /// What was passed over.
    wrong: Vec<String>,
}

impl Store {
    fn new() -> Self {
        Store {
            roots: RootCertStore::empty(),
            files: BTreeSet::new(),
            bytes: 0,
            wrong: Vec::new(),
        }
    }

    /// Adds a file that somebody named: it must be there, and hold a certificate.
    fn add_named(&mut self, source: &'static str, path: &str) -> Result<(), AgentError> {
        let before = self.roots.len();
        let reason = match self.add_file(Path::new(path)) {
            Err(error) => format!("cannot be read ({error})"),
            Ok(()) if self.roots.len() > before => return Ok(()),
            Ok(()) if self.wrong.is_empty() => "holds no certificate".to_owned(),
            Ok(()) => "holds no certificate that is not damaged".to_owned(),
        };
        let path = path.to_owned();
        Err(AgentError::Bundle {
            source,
            path,
            reason,
        })
    }

    fn add_first(&mut self, files: &[&str]) {
        for path in files.iter().map(Path::new) {
            match self.add_file(path) {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.wrong.push(format!("{}: {error}", path.display())),
            }
        }
    }

    fn add_directory(&mut self, path: &str) {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.wrong.push(format!("{path}: {error}")),
        };
        for entry in entries.take(MAX_ENTRIES).flatten() {
            let path = entry.path();
            // OpenSSL's names for files beside them, or what is no certificate anyway.
            if is_link_within_directory(&path) || path.is_dir() || self.files.contains(&path) {
                continue;
            }
            if let Err(error) = self.add_file(&path) {
                self.wrong.push(format!("{}: {error}", path.display()));
            }
        }
    }

    /// Adds the certificates of a file that are not there yet.
    fn add_file(&mut self, path: &Path) -> io::Result<()> {
        let pem = self.read(path)?;
        self.files.insert(path.to_owned());
        let damaged = add_certificates(&mut self.roots, &pem);
        if damaged > 0 {
            let text = format!("{}: {damaged} damaged certificates", path.display());
            self.wrong.push(text);
        }
        Ok(())
    }

    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        // Opening a named pipe would wait for somebody to write to it.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("not a file"));
        }
        let mut pem = Vec::new();
        let limit = MAX_FILE.min(MAX_READ - self.bytes);
        let read = File::open(path)?.take(limit + 1).read_to_end(&mut pem)?;
        if read as u64 > limit {
            return Err(io::Error::other("too large for certificates"));
        }
        self.bytes += read as u64;
        Ok(pem)
    }

    fn finish(mut self) -> RootCertStore {
        if let Some(told) = self.told() {
            log::warn!("{told}");
        }
        self.roots.roots.shrink_to_fit();
        self.roots
    }

    /// What was passed over, for the log.
    fn told(&self) -> Option<String> {
        let shown = &self.wrong[..self.wrong.len().min(MAX_TOLD)];
        if shown.is_empty() {
            return None;
        }
        let more = match self.wrong.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let shown = shown.join("; ");
        Some(format!("CA certificates are passed over: {shown}{more}"))
    }
}

/// Adds the certificates in the text of a PEM file that are not there yet, and answers how many are
/// damaged.
pub fn add_certificates(store: &mut RootCertStore, pem: &[u8]) -> usize {
    let mut damaged = 0;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        match certificate.map(|der| store.add(der)) {
            Ok(Ok(())) => drop_last_if_known(store),
            Ok(Err(_)) | Err(_) => damaged += 1,
        }
    }
    damaged
}

/// The host's list is Mozilla's, but for a few, and stands in several files.
fn drop_last_if_known(store: &mut RootCertStore) {
    if let Some((last, others)) = store.roots.split_last()
        && others.contains(last)
    {
        store.roots.pop();
    }
}

fn is_link_within_directory(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target.components().count() == 1)
}

#[cfg(test)]
mod tests;
