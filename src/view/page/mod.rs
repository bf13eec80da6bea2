//! The files of the page that shows traces in a browser: plain HTML, CSS and modules, which stand
//! beside this file and are compressed by `build.rs`. What they ask for is described in
//! `docs/trace-api.md`.

/// A file of the page.
#[derive(Debug, PartialEq, Eq)]
pub struct Asset {
    /// The path under which it is served.
    pub path: &'static str,
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Its `ETag`, with the quotes. A client that has this one already is answered with 304.
    pub etag: &'static str,
    /// Its content, to be sent with `Content-Encoding: gzip`.
    pub gzip: &'static [u8],
}

static ASSETS: &[Asset] = &include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// The file that is served under `path`, which has no query any more.
pub(crate) fn asset(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

/// Headers of every file and of every answer with traces, beside their own.
///
/// Traces may come from an attacker. The policy allows the page to load only its own files, and
/// forbids inline scripts, inline styles and converting text to markup, so that text of a trace
/// could not be executed even if the page had a mistake.
pub(crate) const HEADERS: [(&str, &str); 5] = [
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
];

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

#[cfg(test)]
mod tests;
