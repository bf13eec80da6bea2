//! The shared AWS files: never panics, quotes nothing in its warnings, and what was read from any
//! file is read again from the same sections and properties written plainly.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use xray::aws::profile::{Profile, ProfileFile, Sections, parse};

/// Writes sections in the spelling that leaves nothing to interpretation: values in quotes that they do
/// not hold themselves, if there are such, and line ends of Windows, so that a carriage return at the end
/// of a value stays in it.
fn write(sections: &BTreeMap<String, Profile>, prefix: &str, out: &mut String) {
    for (name, profile) in sections {
        *out += &format!("[{prefix}{name}]\r\n");
        for (key, value) in profile.properties() {
            let mut lines = value.split('\n');
            match lines.next().unwrap_or_default() {
                "" => *out += &format!("{key} =\r\n"),
                first => {
                    let quote = ["\"", "'"].into_iter().find(|quote| !first.contains(quote));
                    let quote = quote.unwrap_or_default();
                    *out += &format!("{key} = {quote}{first}{quote}\r\n");
                }
            }
            lines.for_each(|line| *out += &format!(" {line}\r\n"));
        }
    }
}

fn check(text: &str, kind: ProfileFile) -> Sections {
    let sections = parse(text, kind);
    assert!(sections.warnings.len() <= 20);
    for warning in &sections.warnings {
        let (line, what) = warning.split_once(": ").expect("a place");
        let line: usize = line.strip_prefix("line ").unwrap().parse().unwrap();
        assert!((1..=text.split('\n').count()).contains(&line), "{warning}");
        assert!(what.is_ascii() && what.len() < 100, "{warning}");
    }
    let all = [
        &sections.profiles,
        &sections.sso_sessions,
        &sections.services,
    ];
    for (name, profile) in all.into_iter().flatten() {
        assert!(name.bytes().all(|b| b.is_ascii_graphic() && b != b']'));
        for (key, _) in profile.properties() {
            assert!(
                key.bytes()
                    .all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase())
            );
        }
    }
    sections
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for kind in [ProfileFile::Config, ProfileFile::Credentials] {
        let sections = check(&text, kind);
        let mut plain = String::new();
        if kind == ProfileFile::Config {
            write(&sections.profiles, "profile ", &mut plain);
            write(&sections.sso_sessions, "sso-session ", &mut plain);
            write(&sections.services, "services ", &mut plain);
        } else {
            write(&sections.profiles, "", &mut plain);
            assert!(sections.sso_sessions.is_empty() && sections.services.is_empty());
        }
        let again = check(&plain, kind);
        assert_eq!(again.warnings, [""; 0], "{plain}");
        let texts = |sections: &Sections| {
            let all = [
                &sections.profiles,
                &sections.sso_sessions,
                &sections.services,
            ];
            all.map(|sections| -> Vec<(String, Vec<(String, String)>)> {
                let own = |(k, v): (&str, &str)| (k.to_owned(), v.to_owned());
                let properties = |profile: &Profile| profile.properties().map(own).collect();
                sections
                    .iter()
                    .map(|(name, p)| (name.clone(), properties(p)))
                    .collect()
            })
        };
        assert_eq!(texts(&again), texts(&sections), "{plain}");
    }
});
