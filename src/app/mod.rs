//! The daemon as a whole: start order, shutdown and what the command line asks for.

mod allocator;
pub(crate) mod backend;
mod check;
mod exec;
pub(crate) mod command;
pub(crate) mod daemon;
mod exits;
mod shutdown;
mod signals;
pub(crate) mod healthcheck;
pub mod memory;
mod trace_page;
