//! The `xray` daemon; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    xray::main(std::env::args_os().skip(1))
}
