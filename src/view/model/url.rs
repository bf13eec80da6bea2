//! URLs without their long or secret parts.

/// A URL without query, fragment and user info, which may hold secrets.
pub(crate) fn public_url(url: &str) -> String {
    let url = without_query(url);
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    [scheme, "://", &rest[host_start(rest)..]].concat()
}

/// The path of a URL, with the host in front when the name of a call does not say it already.
pub(crate) fn short_url<'a>(url: &'a str, call_name: Option<&str>) -> &'a str {
    let url = without_query(url);
    let Some((_, rest)) = url.split_once("://") else {
        return url;
    };
    let rest = &rest[host_start(rest)..];
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match call_name {
        Some(name) if host != name && host.split(':').next() != Some(name) => rest,
        _ if path.is_empty() => "/",
        _ => path,
    }
}

/// The host of a URL, without the port.
pub(crate) fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = without_query(url).split_once("://")?;
    let rest = &rest[host_start(rest)..];
    let host = &rest[..rest.find('/').unwrap_or(rest.len())];
    let end = host.rfind(':').filter(|at| !host[*at..].contains(']'));
    Some(&host[..end.unwrap_or(host.len())]).filter(|host| !host.is_empty())
}

fn without_query(url: &str) -> &str {
    &url[..url.find(['?', '#']).unwrap_or(url.len())]
}

/// Where the host begins in a URL without its scheme: after the user info.
fn host_start(rest: &str) -> usize {
    let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
    authority.rfind('@').map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_short_and_without_secrets() {
        let cases = [
            ("https://u:p@h/a/b?q=1#f", None, "/a/b", "https://h/a/b"),
            (
                "https://u:p@h/a/b?q=1",
                Some("other"),
                "h/a/b",
                "https://h/a/b",
            ),
            ("http://h:80", Some("h"), "/", "http://h:80"),
            ("http://h:80", Some("h:80"), "/", "http://h:80"),
            ("http://h/a@b", None, "/a@b", "http://h/a@b"),
            ("/only/path?x", Some("h"), "/only/path", "/only/path"),
            ("", None, "", ""),
        ];
        for (url, name, short, public) in cases {
            assert_eq!(short_url(url, name), short, "{url}");
            assert_eq!(public_url(url), public, "{url}");
        }
    }

    #[test]
    fn the_host_of_a_url() {
        let cases = [
            ("https://u:p@h.example:8443/a?b", Some("h.example")),
            ("http://[::1]:80", Some("[::1]")),
            ("http://[::1]", Some("[::1]")),
            ("http:///a", None),
            ("/a", None),
        ];
        for (url, host) in cases {
            assert_eq!(host_of(url), host, "{url}");
        }
    }
}
