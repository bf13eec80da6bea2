//! Writes what packages hold beside the binary, made from the table of flags: the manual page and
//! the completions of three shells.
//!
//! `cargo run --example packaging FOLDER`

use std::env;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use xray::config::cli::{completions, manual};

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1) else {
        eprintln!("which folder? usage: packaging FOLDER");
        return ExitCode::from(2);
    };
    let folder = Path::new(&folder);
    for (name, text) in [
        ("xray.1", manual()),
        ("xray.bash", completions::bash()),
        ("_xray", completions::zsh()),
        ("xray.fish", completions::fish()),
    ] {
        let path = folder.join(name);
        if let Err(error) = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text)) {
            eprintln!("cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
