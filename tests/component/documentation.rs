//! What the pages quote is what the program says.

use std::fs;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// All source text, as the compiler sees the string literals: a line that ends in a backslash goes
/// on without the blanks of the next one.
fn source() -> String {
    let mut text = String::new();
    add(&Path::new(ROOT).join("src"), &mut text);
    let mut lines = text.lines();
    let mut joined = String::new();
    while let Some(line) = lines.next() {
        let mut line = line.to_owned();
        while let Some(begun) = line.strip_suffix('\\') {
            let next = lines.next().unwrap_or_default().trim_start();
            line = format!("{begun}{next}");
        }
        joined.push_str(&line);
        joined.push('\n');
    }
    joined
}

fn add(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// The quotations in the first column of every table whose head is "In the log", and those that the
/// second column introduces with "the line says".
fn quotations(page: &str) -> Vec<&str> {
    let mut is_table = false;
    let mut quoted = Vec::new();
    for line in page.lines() {
        is_table &= line.starts_with('|');
        let row = line.trim_start_matches(['|', ' ']);
        is_table |= row.starts_with("In the log ");
        let Some((first, second)) = row.split_once(" | ").filter(|_| is_table) else {
            continue;
        };
        let column = if second.starts_with("the line says") {
            row
        } else {
            first
        };
        quoted.extend(column.split('`').skip(1).step_by(2));
    }
    quoted
}

#[test]
fn troubleshooting_quotes_what_the_log_says() {
    let page = fs::read_to_string(Path::new(ROOT).join("docs/troubleshooting.md")).unwrap();
    let (quoted, source) = (quotations(&page), source());
    assert!(quoted.len() >= 10, "{quoted:?}");
    let wrong: Vec<_> = quoted
        .iter()
        .filter(|text| !source.contains(**text))
        .collect();
    assert!(wrong.is_empty(), "said nowhere: {wrong:?}");
}
