//! Decides which requests come from a web page, and which of those are served.
//!
//! A browser on this host, or on a host that reaches the port, lets any web page send requests
//! here, and the daemon would sign them with its credentials. Other programs send no `Origin`.

use crate::http::server::Request;

/// The origins whose pages may send requests. None by default.
#[derive(Clone, Debug, Default)]
pub struct AllowedOrigins(Vec<String>);

/// What the rule says of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OriginVerdict<'a> {
    /// No browser sent it for a page.
    NoPage,
    /// A page of this origin sent it, and may.
    Allowed(&'a str),
    /// A page sent it that may not. With its origin, if it is known.
    Refused(String),
}

impl AllowedOrigins {
    /// The origins of a list with commas, such as `https://app.example.com,http://localhost:3000`.
    #[must_use]
    pub fn new(list: &str) -> Self {
        let origins = list.split(',').map(str::trim).filter(|o| !o.is_empty());
        AllowedOrigins(origins.map(str::to_ascii_lowercase).collect())
    }

    pub(super) fn judge(&self, request: &Request) -> OriginVerdict<'_> {
        let text = |name| {
            let value = request.header(name)?;
            Some(String::from_utf8_lossy(&value).into_owned())
        };
        if let Some(origin) = text("origin") {
            let allowed = self.0.iter().find(|o| o.eq_ignore_ascii_case(&origin));
            return match allowed {
                Some(origin) => OriginVerdict::Allowed(origin),
                None => OriginVerdict::Refused(origin),
            };
        }
        // `none` means that a person has typed the address. The other Sec-Fetch headers do not show
        // that there is a page: Node's `fetch` sends Sec-Fetch-Mode.
        match text("sec-fetch-site") {
            Some(site) if site != "none" => OriginVerdict::Refused(format!("{site} page")),
            _ => OriginVerdict::NoPage,
        }
    }
}

/// Whether `request`, from an allowed page, is a CORS preflight.
pub(super) fn is_preflight(request: &Request) -> bool {
    request.method == "OPTIONS" && request.header("access-control-request-method").is_some()
}

/// Headers that let a page of `origin` read an answer.
pub(super) fn allow_reading(origin: &str) -> Vec<(String, Vec<u8>)> {
    vec![
        header("Access-Control-Allow-Origin", origin),
        header("Vary", "Origin"),
    ]
}

/// Headers of the answer to a preflight: what the page may send.
pub(super) fn allow_sending(origin: &str, request: &Request) -> Vec<(String, Vec<u8>)> {
    let mut headers = allow_reading(origin);
    headers.push(header("Access-Control-Allow-Methods", "POST"));
    if let Some(asked) = request.header("access-control-request-headers") {
        headers.push(("Access-Control-Allow-Headers".to_owned(), asked));
    }
    headers.push(header("Access-Control-Max-Age", "7200"));
    headers
}

fn header(name: &str, value: &str) -> (String, Vec<u8>) {
    (name.to_owned(), value.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn request(headers: &[(&str, &str)]) -> Request {
        Request {
            method: "POST".to_owned(),
            target: "/PutEncryptionConfig".to_owned(),
            http10: false,
            keep_alive: true,
            headers: headers.iter().map(|(n, v)| header(n, v)).collect(),
            body: Arc::default(),
        }
    }

    #[test]
    fn who_is_a_page() {
        let refused = |origin: &str| OriginVerdict::Refused(origin.to_owned());
        let nobody = AllowedOrigins::default();
        for (headers, expected) in [
            (&[] as &[(&str, &str)], OriginVerdict::NoPage),
            (&[("sec-fetch-mode", "cors")], OriginVerdict::NoPage),
            (&[("Sec-Fetch-Site", "none")], OriginVerdict::NoPage),
            (&[("Referer", "http://x/")], OriginVerdict::NoPage),
            (
                &[("Origin", "https://evil.example")],
                refused("https://evil.example"),
            ),
            (&[("Origin", "null")], refused("null")),
            (&[("Origin", "")], refused("")),
            (
                &[("origin", "http://127.0.0.1:2000")],
                refused("http://127.0.0.1:2000"),
            ),
            (
                &[("Sec-Fetch-Site", "cross-site")],
                refused("cross-site page"),
            ),
            (
                &[("Sec-Fetch-Site", "same-origin")],
                refused("same-origin page"),
            ),
            (
                &[("Sec-Fetch-Site", "none, cross-site")],
                refused("none, cross-site page"),
            ),
        ] {
            assert_eq!(nobody.judge(&request(headers)), expected, "{headers:?}");
        }
    }

    #[test]
    fn only_the_very_origin_is_allowed() {
        let some = AllowedOrigins::new(" https://App.example.com, http://localhost:3000,,");
        for (origin, allowed) in [
            ("https://app.example.com", true),
            ("http://localhost:3000", true),
            ("http://app.example.com", false),
            ("https://app.example.com.evil.example", false),
            ("https://app.example.com, https://evil.example", false),
            ("http://localhost:30000", false),
            ("", false),
        ] {
            let asked = request(&[("Origin", origin), ("Sec-Fetch-Site", "cross-site")]);
            let verdict = some.judge(&asked);
            assert_eq!(
                matches!(verdict, OriginVerdict::Allowed(_)),
                allowed,
                "{origin}"
            );
        }
    }
}
