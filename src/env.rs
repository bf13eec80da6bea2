//! Rules for all settings from outside: a blank value is unset, a switch is on when it is `true`,
//! and a file is read up to a limit only.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

/// Looks a variable up.
pub(crate) type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The environment, for all threads.
pub(crate) type Env = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The value of a variable, without blanks at its ends; `None` when blank or unset.
pub(crate) fn set(env: &Lookup<'_>, name: &str) -> Option<String> {
    let value = env(name)?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// Whether a variable is `true`; `None` when blank or unset, so that something else decides.
pub(crate) fn switch(env: &Lookup<'_>, name: &str) -> Option<bool> {
    set(env, name).map(|value| is_true(&value))
}

/// Whether this is the word that switches something on: `true`, in any case.
pub(crate) fn is_true(value: &str) -> bool {
    value.trim().eq_ignore_ascii_case("true")
}

/// Reads a file of at most `limit` bytes: a wrong path (a device, a log) must not fill the memory.
///
/// # Errors
/// As reading does; [`FileTooLarge`](io::ErrorKind::FileTooLarge) for a longer one.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if read as u64 > limit {
        let message = match limit % (1024 * 1024) {
            0 => format!("larger than {} MiB", limit >> 20),
            _ => format!("larger than {} KiB", limit >> 10),
        };
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_is_unset_and_true_is_the_only_yes() {
        for (value, expected, on) in [
            (None, None, None),
            (Some(""), None, None),
            (Some(" \t"), None, None),
            (Some(" a b\n"), Some("a b"), Some(false)),
            (Some("true"), Some("true"), Some(true)),
            (Some(" TRUE "), Some("TRUE"), Some(true)),
            (Some("1"), Some("1"), Some(false)),
            (Some("false"), Some("false"), Some(false)),
        ] {
            let env = |name: &str| (name == "A").then(|| value.map(str::to_owned)).flatten();
            assert_eq!(set(&env, "A").as_deref(), expected, "{value:?}");
            assert_eq!(switch(&env, "A"), on, "{value:?}");
            assert_eq!(set(&env, "B"), None);
        }
    }

    #[test]
    fn no_file_is_read_further_than_its_limit() {
        let path = std::env::temp_dir().join(format!("xray-bounded-{}", std::process::id()));
        std::fs::write(&path, [b'x'; 2048]).unwrap();
        assert_eq!(read_bounded(&path, 2048).unwrap().len(), 2048);
        let error = read_bounded(&path, 2047).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(error.to_string(), "larger than 1 KiB");
        std::fs::remove_file(&path).unwrap();
        let endless = read_bounded(Path::new("/dev/zero"), 1 << 20).unwrap_err();
        assert_eq!(endless.to_string(), "larger than 1 MiB");
        let missing = read_bounded(&path, 1).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
