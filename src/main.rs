//! The `xray` daemon; everything is in the library.
fn main() {}
