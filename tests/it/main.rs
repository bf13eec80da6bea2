//! Integration tests: the real binary, a fake X-Ray that recomputes every signature, real sockets.

#[path = "../support/mod.rs"]
mod support;

mod attack;
mod cli;
mod clock;
mod credentials;
mod delivery;
mod fakes;
mod faults;
mod header_table;
mod limits;
mod process;
mod sources;
mod stop;
mod unprocessed;
