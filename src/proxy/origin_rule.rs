//! Which requests come from a web page, and which of those are served.
//!
//! A browser on this host, or on a host that reaches the port, lets any page send requests here.
//! They would be signed with the daemon's credentials. Programs send no `Origin`.

use crate::http::server::Request;

/// The origins whose pages may send requests. None by default.
#[derive(Clone, Debug, Default)]
pub struct AllowedOrigins(Vec<String>);

/// What the rule says of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// No browser sent it for a page.
    NoPage,
    /// A page of this origin sent it, and may.
    Allowed(&'a str),
    /// A page sent it, and may not: where it is from, if it says so.
    Refused(String),
}

impl AllowedOrigins {
    /// The origins of a list with commas, such as `https://app.example.com,http://localhost:3000`.
    #[must_use]
    pub fn new(list: &str) -> Self {
        let origins = list.split(',').map(str::trim).filter(|o| !o.is_empty());
        AllowedOrigins(origins.map(str::to_ascii_lowercase).collect())
    }

    pub(super) fn judge(&self, request: &Request) -> Verdict<'_> {
        let text = |name| {
            let value = request.header(name)?;
            Some(String::from_utf8_lossy(&value).into_owned())
        };
        if let Some(origin) = text("origin") {
            let allowed = self.0.iter().find(|o| o.eq_ignore_ascii_case(&origin));
            return match allowed {
                Some(origin) => Verdict::Allowed(origin),
                None => Verdict::Refused(origin),
            };
        }
        // `none` is a person who typed the address. The other Sec-Fetch headers are no sign of a
        // page: the `fetch` of Node sends Sec-Fetch-Mode.
        match text("sec-fetch-site") {
            Some(site) if site != "none" => Verdict::Refused(format!("{site} page")),
            _ => Verdict::NoPage,
        }
    }
}

/// Whether `request`, of a page that may, asks in advance what it may send (CORS preflight).
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

    fn request(headers: &[(&str, &str)]) -> Request {
        Request {
            method: "POST".to_owned(),
            target: "/PutEncryptionConfig".to_owned(),
            http10: false,
            keep_alive: true,
            headers: headers.iter().map(|(n, v)| header(n, v)).collect(),
            body: Vec::new(),
        }
    }

    #[test]
    fn who_is_a_page() {
        let refused = |origin: &str| Verdict::Refused(origin.to_owned());
        let nobody = AllowedOrigins::default();
        for (headers, expected) in [
            (&[] as &[(&str, &str)], Verdict::NoPage),
            (&[("sec-fetch-mode", "cors")], Verdict::NoPage),
            (&[("Sec-Fetch-Site", "none")], Verdict::NoPage),
            (&[("Referer", "http://x/")], Verdict::NoPage),
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
            assert_eq!(matches!(verdict, Verdict::Allowed(_)), allowed, "{origin}");
        }
    }
}
