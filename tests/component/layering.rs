//! The code keeps to the order of rooms that ARCHITECTURE.md describes, and the page names only paths
//! that exist.

use std::fs;
use std::path::{Path, PathBuf};

/// A module may use modules of its own room and of rooms behind it in this list.
const ROOMS: [&str; 17] = [
    "app",
    "proxy",
    "otlp",
    "admin",
    "view",
    "ingest",
    "upload",
    "spool",
    "batch",
    "credentials",
    "aws",
    "http",
    "config",
    "logging",
    "cgroup",
    "protobuf",
    "env",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below `directory` that is not only tests.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            files.extend(sources(&path));
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files
}

/// The first modules of the paths that begin with `crate::`, outside of tests.
fn used_rooms(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    code.split("crate::")
        .skip(1)
        .map(|rest| {
            let end = |c: char| !c.is_ascii_alphanumeric() && c != '_';
            rest.split(end).next().unwrap_or_default().to_owned()
        })
        .collect()
}

#[test]
fn rooms_use_only_rooms_behind_them() {
    let source = root().join("src");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (index, room) in ROOMS.iter().enumerate() {
        let directory = source.join(room);
        let files = match directory.is_dir() {
            true => sources(&directory),
            false => vec![source.join(format!("{room}.rs"))],
        };
        for file in files {
            seen += 1;
            for used in used_rooms(&fs::read_to_string(&file).unwrap()) {
                if ROOMS[..index].contains(&used.as_str()) {
                    wrong.push(format!("{} uses {used}", file.display()));
                }
            }
        }
    }
    assert!(seen > 100, "only {seen} files were read");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_path_on_the_architecture_page_exists() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut seen = 0;
    for name in page.split('`').skip(1).step_by(2) {
        let is_path = ["src/", "tests/", "docs/", ".cargo/"]
            .iter()
            .any(|start| name.starts_with(start));
        if is_path {
            seen += 1;
            assert!(root().join(name).exists(), "{name} does not exist");
        }
    }
    assert!(seen > 30, "only {seen} paths were found");
}
