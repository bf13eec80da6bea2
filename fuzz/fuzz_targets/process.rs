//! `credential_process`: a command line is split as a shell splits it, an error quotes none of it,
//! and only credentials that can be sent come out of what a program prints.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xray::credentials::sources::process::read;
use xray::credentials::sources::process::words::split;

/// What only a shell, or a rule of quoting, gives a meaning to.
fn is_special(c: char) -> bool {
    "'\"\\$`|&;<>()~".contains(c)
}

fuzz_target!(|data: &[u8]| {
    if let Ok(line) = str::from_utf8(data) {
        match split(line) {
            Ok(words) => {
                // Each word in quotes is the word again.
                let quoted: Vec<_> = words
                    .iter()
                    .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
                    .collect();
                assert_eq!(split(&quoted.join(" ")).as_ref(), Ok(&words));
                if !line.contains(is_special) {
                    let plain: Vec<_> = line.split_whitespace().collect();
                    assert_eq!(words, plain);
                }
            }
            Err(why) => {
                // One character of it at most.
                assert!(line.contains(is_special));
                assert!(why.is_ascii() && why.len() < 160, "{why}");
            }
        }
    }
    match read(data) {
        Ok(found) => {
            let graphic =
                |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
            assert!(graphic(found.access_key_id()));
            assert!(found.session_token().is_none_or(graphic));
            assert!(!found.secret_access_key().is_empty());
        }
        Err(why) => assert!(!why.contains(char::is_control) && why.chars().count() < 420),
    }
});
