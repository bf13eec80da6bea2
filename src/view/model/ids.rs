//! Ids as keys.

/// Characters kept of an id. Real ones have 16, trace ids 35.
const ID_CHARS: usize = 64;

/// An id as a key: lower case, of bounded length. `None` when empty.
pub(crate) fn id_key(id: &str) -> Option<String> {
    let key: String = id.trim().chars().take(ID_CHARS).collect();
    (!key.is_empty()).then(|| key.to_ascii_lowercase())
}

/// A trace id as a key and for show. The W3C form (32 hexadecimal digits) becomes X-Ray's
/// (`1-`, 8 digits of time, `-`, 24 digits), so that both name one trace.
pub(crate) fn trace_key(id: &str) -> Option<String> {
    let key = id_key(id)?;
    if key.len() == 32 && key.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some(["1-", &key[..8], "-", &key[8..]].concat());
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_trace_id_are_one_key() {
        let key = trace_key("1-581CF771-a006649127e371903a2de979");
        assert_eq!(key, trace_key("581cf771a006649127e371903a2de979"));
        assert_eq!(key.unwrap(), "1-581cf771-a006649127e371903a2de979");
        assert_eq!(trace_key(" odd "), Some("odd".to_owned()));
        assert_eq!(trace_key("  "), None);
    }
}
