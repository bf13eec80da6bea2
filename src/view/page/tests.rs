use super::*;

use miniz_oxide::inflate::decompress_to_vec;

/// Bytes that the page may take in the binary.
const MAX_BYTES: usize = 60_000;

/// The content of a gzip file as `build.rs` makes it: a head of ten bytes, and eight at the end.
fn plain(asset: &Asset) -> String {
    let (head, rest) = asset.gzip.split_at(10);
    assert_eq!(head[..4], [0x1f, 0x8b, 8, 0], "{}", asset.path);
    let (deflated, end) = rest.split_at(rest.len() - 8);
    let bytes = decompress_to_vec(deflated).expect(asset.path);
    assert_eq!(end[4..], (bytes.len() as u32).to_le_bytes());
    String::from_utf8(bytes).expect(asset.path)
}

/// What stands between each `before` and the next `after`.
fn all_between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    text.split(before)
        .skip(1)
        .filter_map(|rest| rest.split_once(after).map(|(found, _)| found))
        .collect()
}

#[test]
fn everything_that_the_page_names_is_served() {
    let index = plain(asset("/").expect("the page"));
    let mut wanted: Vec<String> = all_between(&index, "href=\"/page/", "\"")
        .into_iter()
        .chain(all_between(&index, "src=\"/page/", "\""))
        .map(|name| ["/page/", name].concat())
        .collect();
    assert!(wanted.len() >= 3, "{wanted:?}");
    let mut seen = vec!["/".to_owned()];
    while let Some(path) = wanted.pop() {
        if seen.contains(&path) {
            continue;
        }
        let file = asset(&path).unwrap_or_else(|| panic!("{path} is named but not served"));
        if path.ends_with(".js") {
            let text = plain(file);
            let names = all_between(&text, "from \"./", "\"");
            wanted.extend(names.into_iter().map(|name| ["/page/", name].concat()));
        }
        seen.push(path);
    }
    seen.sort();
    let mut served: Vec<_> = ASSETS.iter().map(|asset| asset.path.to_owned()).collect();
    served.sort();
    assert_eq!(seen, served, "a file is served that nothing names");
    assert_eq!(asset("/page/mod.rs"), None);
    assert_eq!(asset("/page/../mod.rs"), None);
}

#[test]
fn the_page_is_small() {
    let bytes: usize = ASSETS.iter().map(|asset| asset.gzip.len()).sum();
    assert!(bytes <= MAX_BYTES, "{bytes} bytes");
}

#[test]
fn nothing_is_loaded_from_elsewhere_and_nothing_parses_markup() {
    // A namespace is a name and not an address.
    const NAMESPACE: &str = "http://www.w3.org/2000/svg";
    for asset in ASSETS {
        let text = plain(asset).replace(NAMESPACE, "");
        for scheme in ["http://", "https://", "url(\"//", "src=\"//"] {
            assert!(!text.contains(scheme), "{} has {scheme}", asset.path);
        }
        for sink in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "DOMParser",
            "createContextualFragment",
            "eval(",
            "new Function",
            "<script>",
            "<style",
            " style=\"",
            " onclick=",
        ] {
            assert!(!text.contains(sink), "{} has {sink}", asset.path);
        }
    }
}

#[test]
fn modules_are_short_enough_to_be_read() {
    for asset in ASSETS.iter().filter(|asset| asset.path.ends_with(".js")) {
        let lines = plain(asset).lines().count();
        assert!(lines <= 300, "{} has {lines} lines", asset.path);
    }
}

#[test]
fn tags_tell_contents_apart() {
    let mut tags: Vec<_> = ASSETS.iter().map(|asset| asset.etag).collect();
    tags.sort_unstable();
    let all = tags.len();
    tags.dedup();
    assert_eq!(tags.len(), all);
    assert!(
        tags.iter()
            .all(|tag| tag.starts_with('"') && tag.ends_with('"'))
    );
}
