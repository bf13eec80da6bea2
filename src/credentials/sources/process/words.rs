//! Splits a command line as a shell does, without a shell. Pure.

/// Splits a line into words as a shell does: blanks, both kinds of quotes, backslashes.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("has a quote without its end".to_owned()),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                            Some(c) => word.extend(['\\', c]),
                            None => return Err("has a quote without its end".to_owned()),
                        },
                        Some(c @ ('$' | '`')) => return Err(needs_shell(c)),
                        Some(c) => word.push(c),
                        None => return Err("has a quote without its end".to_owned()),
                    }
                }
            }
            '\\' => word
                .get_or_insert_default()
                .push(chars.next().ok_or("ends with a backslash")?),
            '$' | '`' | '|' | '&' | ';' | '<' | '>' | '(' | ')' => return Err(needs_shell(c)),
            '~' if word.is_none() => return Err(needs_shell(c)),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn needs_shell(c: char) -> String {
    format!(
        "is given with {c}, which only a shell understands; write the path out, quote the \
         character, or put the line into a script"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_as_a_shell_splits_them() {
        for (line, expected) in [
            ("/bin/a --b c", Ok(vec!["/bin/a", "--b", "c"])),
            ("  a\t b  ", Ok(vec!["a", "b"])),
            (
                r#""/my dir/a" 'b "c' d"#,
                Ok(vec!["/my dir/a", "b \"c", "d"]),
            ),
            (
                r#"a\ b "c\"d\\e\f" '\g'"#,
                Ok(vec!["a b", "c\"d\\e\\f", "\\g"]),
            ),
            (r#"a"b"'c' "" ''"#, Ok(vec!["abc", "", ""])),
            (
                r#"a '$HOME' "\$x" b~c k=v"#,
                Ok(vec!["a", "$HOME", "$x", "b~c", "k=v"]),
            ),
            ("", Ok(vec![])),
            ("a 'b", Err("has a quote without its end")),
            ("a \"b", Err("has a quote without its end")),
            ("a \"b\\", Err("has a quote without its end")),
            ("a\\", Err("ends with a backslash")),
            ("a $HOME", Err("is given with $")),
            ("a \"$HOME\"", Err("is given with $")),
            ("a `b`", Err("is given with `")),
            ("a | b", Err("is given with |")),
            ("a; b", Err("is given with ;")),
            ("~/a", Err("is given with ~")),
        ] {
            match (split(line), expected) {
                (Ok(words), Ok(expected)) => assert_eq!(words, expected, "{line}"),
                (Err(why), Err(expected)) => assert!(why.starts_with(expected), "{line}: {why}"),
                (found, _) => panic!("{line}: {found:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "\\PC{0,40}", tricky in "[ab '\"\\\\$~\t]{0,20}") {
            let _ = (split(&line), split(&tricky));
        }
    }
}
