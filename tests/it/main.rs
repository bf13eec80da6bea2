//! Integration tests: the real binary, a fake X-Ray that recomputes every signature, real sockets.
//!
//! They know flags, variables, endpoints and log lines, and nothing of the library: what the daemon
//! is made of may change under them.
//!
//! Some are Linux's alone: they look at memory, descriptors and drops by /proc, or need namespaces.

mod answers;
mod check;
mod cli;
mod clock;
mod credentials;
mod delivery;
mod ec2_instance;
mod exec;
mod faults;
mod header_table;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
mod network;
mod platforms;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod resource_exhaustion;
mod sessions;
mod shutdown;
mod signature_check;
mod spool;
#[cfg(target_os = "linux")]
mod starved;
mod tcp;
mod unprocessed;
mod view;
