//! What the tests and benchmarks share: a fake AWS, the real daemon as a process, and load.
//!
//! There is one HTTP parser ([`connection`]), one server ([`server`]) and one harness for processes
//! ([`process`]). Everything else is built on them:
//!
//! - [`xray::FakeXray`] behaves as X-Ray does, recomputes every signature, and can be told to fail.
//! - [`endpoint::Endpoint`] answers as a closure says. The fakes of the EC2 metadata service
//!   ([`ec2`]) and of the ECS credentials endpoint ([`ecs`]) are made of it; [`sts`] has the answers
//!   of STS.
//! - [`daemon::Launch`] starts the binary under test in a clean environment, and ends it with the
//!   test.
//! - [`load`] makes segments and sends them at a rate; [`totals`] reads what the daemon counted.
//!
//! Nothing here uses the daemon's library: a test that goes through sockets, flags and the log
//! depends on no name in `src`.
#![forbid(unsafe_code)]

pub mod connection;
pub mod daemon;
pub mod ec2;
pub mod ecs;
pub mod endpoint;
pub mod http;
pub mod http_client;
pub mod keys;
pub mod load;
mod ports;
pub mod process;
pub mod procfs;
pub mod protobuf;
pub mod scratch;
pub mod server;
pub mod sigv4;
pub mod sts;
pub mod tls;
pub mod totals;
pub mod watch;
pub mod xray;

pub use watch::DEADLINE;
