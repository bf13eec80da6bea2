//! Integration tests: the real binary, a fake X-Ray that recomputes every signature, real sockets.
//!
//! They know flags, variables, endpoints and log lines, and nothing of the library: what the daemon
//! is made of may change under them.

mod answers;
mod cli;
mod clock;
mod credentials;
mod delivery;
mod ec2_instance;
mod faults;
mod header_table;
mod limits;
mod network;
mod platforms;
mod process;
mod resource_exhaustion;
mod sessions;
mod shutdown;
mod signature_check;
mod spool;
mod starved;
mod tcp;
mod unprocessed;
