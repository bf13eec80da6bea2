//! Integration tests: the real binary, a fake X-Ray that recomputes every signature, real sockets.

#[path = "../support/mod.rs"]
mod support;

mod attack;
mod cli;
mod credentials;
mod delivery;
mod fakes;
mod faults;
mod header_table;
mod limits;
mod sources;
mod starved;
mod stop;
mod tcp;
mod unprocessed;
