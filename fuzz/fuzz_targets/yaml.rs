//! cfg.yaml: never panics or hangs, and whatever it complains of, it says where.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use xray::config::file::{Origin, read};

/// `cfg.yaml:<line>:<column>: <what>`, with a place that is in the file, or just behind it.
fn check(message: &str, text: &str) {
    let place = message.strip_prefix("cfg.yaml:").expect("the file");
    let mut parts = place.splitn(3, ':');
    let mut number = || -> usize { parts.next().unwrap().parse().expect("a number") };
    let (line, column) = (number(), number());
    let what = parts.next().expect("what is wrong");
    assert!(what.starts_with(' ') && what.len() > 10, "{message}");
    // A carriage return ends a line of YAML, but not of a file that is not even text.
    let lines = text.split(['\n', '\r']).count();
    assert!((1..=lines + 1).contains(&line), "{message}");
    // In bytes: in lines that begin with % the parser counts some characters so.
    let longest = text.split('\n').map(str::len).max().unwrap_or(0);
    assert!((1..=longest + 2).contains(&column), "{message}");
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let path = Path::new("cfg.yaml");
    let named = read(path, data, Origin::Named);
    let found = read(path, data, Origin::Found);
    for result in [&named, &found] {
        match result {
            Ok((settings, warnings)) => {
                warnings.iter().for_each(|warning| check(warning, &text));
                let concurrency = settings.concurrency.as_ref().map_or(0, |c| c.value);
                assert!((0..=256).contains(&concurrency));
            }
            Err(errors) => {
                assert!(!errors.is_empty());
                errors.iter().for_each(|error| check(error, &text));
            }
        }
    }
    // A file that was asked for by name is read more strictly, never otherwise.
    if let Ok((named, _)) = &named {
        assert_eq!(named, &found.expect("less strict").0);
    }
});
