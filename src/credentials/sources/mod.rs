//! The places that credentials come from, one file each.

pub mod container;
pub(crate) mod environment;
pub mod imds;
pub mod instance;
pub mod login;
pub mod process;
pub mod roles;
mod session_file;
pub mod sso;
pub mod sts;
pub mod token_service;
