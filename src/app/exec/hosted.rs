//! The daemon beside a program: it listens on a port of its own, and ends with the program.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender};
use std::thread;

use super::address;
use crate::app::daemon::{Daemon, Sockets, StartError};
use crate::app::exits::{Exit, SignalAction};
use crate::config::Config;
use crate::ingest::socket::{self, BindError};

/// A port that is free for TCP is nearly always free for UDP.
const ATTEMPTS: usize = 20;

/// A small stack is enough, because the thread only waits for the program's end.
const STACK: usize = 32 * 1024;

/// Runs until the program has ended, then delivers what is held.
///
/// # Errors
/// [`StartError`] when it cannot begin its work, or go on.
pub(in crate::app) fn run(
    config: Config,
    (exit, exits): (Sender<Exit>, Receiver<Exit>),
) -> Result<(), StartError> {
    let logs_to_file = config.log_file.is_some();
    let sockets = bind(&config).map_err(StartError::Bind)?;
    let address = sockets
        .addresses()
        .map(|(udp, tcp)| address::for_sdks(udp, tcp));
    let address = address.map_err(|error| StartError::System("the address of a socket", error))?;
    let daemon = Daemon::start(config, sockets, exit.clone())?;
    let otlp = daemon.otlp.map(address::for_exporters).unwrap_or_default();
    link(&format!("{address}\n{otlp}\n"), exit)
        .map_err(|error| StartError::System("the link to the program", error))?;
    loop {
        match exits.recv() {
            Ok(Exit::ProgramEnded) | Err(_) => break,
            Ok(Exit::Signal(SignalAction::HangUp)) if logs_to_file => crate::logging::reopen(),
            Ok(Exit::Signal(_)) => {
                // The program may still send segments until it ends, and that moment is not known.
                log::info!("Got a signal to end: segments go out at once until the program ends");
                daemon.readers.begin_shutdown();
            }
            Ok(Exit::Fatal(error)) => return Err(StartError::Target(error)),
            Ok(_) => {}
        }
    }
    log::info!("No program is running any more");
    // A signal at this moment may be the first one and may have been meant for the program.
    daemon.shut_down(exits, logs_to_file, None)
}

/// Where flags and cfg.yaml say; by themselves on one free port of the loopback.
fn bind(config: &Config) -> Result<Sockets, BindError> {
    match (&config.bind_udp, &config.bind_tcp) {
        (None, None) => free_port(),
        (Some(address), None) | (None, Some(address)) => Sockets::bind(address, address),
        (Some(udp), Some(tcp)) => Sockets::bind(udp, tcp),
    }
}

fn free_port() -> Result<Sockets, BindError> {
    let mut attempts = ATTEMPTS;
    loop {
        let tcp = socket::tcp("127.0.0.1:0")?;
        let port = tcp.local_addr().map_or(0, |address| address.port());
        attempts -= 1;
        match socket::udp(&format!("127.0.0.1:{port}")) {
            Ok(udp) => return Ok(Sockets { udp, tcp }),
            Err(error) if attempts == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

/// Tells the addresses on the socket that is the standard input, and waits there for the end of the
/// program.
fn link(addresses: &str, exit: Sender<Exit>) -> io::Result<()> {
    let mut link = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    link.write_all(addresses.as_bytes())?;
    thread::Builder::new()
        .name("program".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            let mut nothing = [0; 16];
            loop {
                match link.read(&mut nothing) {
                    Ok(1..) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(0) | Err(_) => break,
                }
            }
            let _ = exit.send(Exit::ProgramEnded);
        })?;
    Ok(())
}
