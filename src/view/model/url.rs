//! URLs without what is long or secret.

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
            ("https://u:p@h/a/b?q=1#f", None, "/a/b"),
            ("https://u:p@h/a/b?q=1", Some("other"), "h/a/b"),
            ("http://h:80", Some("h"), "/"),
            ("http://h:80", Some("h:80"), "/"),
            ("http://h/a@b", None, "/a@b"),
            ("/only/path?x", Some("h"), "/only/path"),
            ("", None, ""),
        ];
        for (url, name, short) in cases {
            assert_eq!(short_url(url, name), short, "{url}");
        }
    }
}
