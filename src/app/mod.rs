//! The daemon as a whole: start order, shutdown and what the command line asks for.

pub mod backend;
mod check;
mod exec;
pub mod command;
pub mod daemon;
mod exits;
mod shutdown;
pub mod healthcheck;
pub mod memory;
