//! Name look-ups for all HTTP agents: on one thread, with a short memory.
//!
//! A look-up by the C library cannot have a time limit, so it runs on a thread of its own, and
//! callers wait for the result with a limit. The thread exists from the start, and the last
//! addresses are used while no name server answers: neither a limit on threads nor an outage of the
//! name servers stops connections to known addresses.

mod addresses;

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::http::url;
use addresses::Addresses;

/// A name is looked up again after this long. AWS changes the addresses of its endpoints by
/// records that live for a minute.
const FRESH: Duration = Duration::from_secs(30);
/// A look-up may take this long before the addresses of the last one are used instead. Later
/// callers do not wait for it at all while it still runs.
const PATIENCE: Duration = Duration::from_millis(300);
/// The daemon talks to X-Ray, STS, a proxy and a few credential services.
const MAX_NAMES: usize = 16;
/// Without a time-out on the request, a look-up is waited for as long as the system's own takes.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// getaddrinfo keeps its packets on the stack.
const STACK: usize = 256 * 1024;

/// The resolver. Clones share the thread, which ends with the last of them.
#[derive(Clone)]
pub struct Resolver {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<ResolverShared>,
}

#[derive(Default)]
struct ResolverShared {
    state: Mutex<LookUps>,
    /// Signalled when a name is to be looked up, and when the last clone is dropped.
    wanted: Condvar,
    /// A look-up has ended.
    ended: Condvar,
}

#[derive(Default)]
struct LookUps {
    names: Vec<Name>,
    closed: bool,
}

struct Name {
    host: String,
    port: u16,
    addresses: Addresses,
    /// When the addresses were found.
    told: Option<Instant>,
    /// When the current look-up was requested.
    asked: Option<Instant>,
    /// How many look-ups have ended.
    ended: u64,
    /// Why the last one found nothing.
    error: Option<String>,
}

impl Name {
    fn is(&self, host: &str, port: u16) -> bool {
        self.port == port && self.host.eq_ignore_ascii_case(host)
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.told.is_some_and(|told| now - told < FRESH)
    }
}

impl Resolver {
    /// Starts the thread that looks names up.
    ///
    /// # Errors
    /// When the system refuses the thread.
    pub fn start() -> io::Result<Self> {
        Self::start_with(|host| Ok((host, 0).to_socket_addrs()?.collect()))
    }

    pub(crate) fn start_with(
        look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::<ResolverShared>::default();
        thread::Builder::new()
            .name("resolver".to_owned())
            .stack_size(STACK)
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.run(look_up)
            })?;
        let handle = Arc::new(Handle { shared });
        Ok(Resolver { handle })
    }

    /// The addresses of `host` with `port`, in the order in which they are to be tried. Waits for
    /// at most `limit`; hardly at all where the last addresses are known.
    ///
    /// # Errors
    /// The reason, for a message, when there is no address.
    pub(crate) fn addresses(
        &self,
        host: &str,
        port: u16,
        limit: Duration,
    ) -> Result<Vec<SocketAddr>, String> {
        if let Some(ip) = url::address(host) {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        self.handle.shared.addresses(host, port, limit)
    }

    /// Records whether a connection to `address` of `host` could be opened.
    pub(crate) fn record(&self, host: &str, address: SocketAddr, connected: bool) {
        let mut state = self.handle.shared.lock();
        let name = state.names.iter_mut().find(|n| n.is(host, address.port()));
        if let Some(name) = name {
            name.addresses.record(address, connected, Instant::now());
        }
    }
}

impl ResolverShared {
    fn lock(&self) -> MutexGuard<'_, LookUps> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn addresses(&self, host: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, String> {
        let start = Instant::now();
        let deadline = start + limit.min(LONGEST_WAIT);
        let mut state = self.lock();
        let mut seen = None;
        loop {
            let now = Instant::now();
            let name = state.name(host, port)?;
            let seen = *seen.get_or_insert(name.ended);
            let has_ended = name.ended != seen;
            if name.is_fresh(now) || has_ended && !name.addresses.is_empty() {
                return Ok(name.addresses.in_order(now));
            }
            if has_ended {
                return Err(name.error.clone().unwrap_or_default());
            }
            let asked = *name.asked.get_or_insert_with(|| {
                self.wanted.notify_one();
                now
            });
            let until = match name.addresses.is_empty() {
                true => deadline,
                false => deadline.min(asked + PATIENCE),
            };
            if now >= until {
                return match name.addresses.is_empty() {
                    true => Err("no name server has answered in time".to_owned()),
                    false => Ok(name.addresses.in_order(now)),
                };
            }
            state = self
                .ended
                .wait_timeout(state, until - now)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn run(&self, look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>>) {
        let mut state = self.lock();
        while !state.closed {
            let Some((host, port)) = state.next() else {
                state = self
                    .wanted
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let found = look_up(&host);
            state = self.lock();
            state.answer(&host, port, found);
            self.ended.notify_all();
        }
    }
}

impl LookUps {
    /// The entry of a name, which may be a new one.
    fn name(&mut self, host: &str, port: u16) -> Result<&mut Name, String> {
        if let Some(at) = self.names.iter().position(|name| name.is(host, port)) {
            return Ok(&mut self.names[at]);
        }
        if self.names.len() == MAX_NAMES {
            let idle = self.names.iter().position(|name| name.asked.is_none());
            let idle = idle.ok_or("too many other names are being looked up")?;
            self.names.remove(idle);
        }
        self.names.push(Name {
            host: host.to_owned(),
            port,
            addresses: Addresses::default(),
            told: None,
            asked: None,
            ended: 0,
            error: None,
        });
        Ok(self.names.last_mut().expect("one was pushed just now"))
    }

    /// The name whose look-up was requested first.
    fn next(&self) -> Option<(String, u16)> {
        let waiting = self.names.iter().filter(|name| name.asked.is_some());
        let next = waiting.min_by_key(|name| name.asked)?;
        Some((next.host.clone(), next.port))
    }

    fn answer(&mut self, host: &str, port: u16, found: io::Result<Vec<SocketAddr>>) {
        // The entry exists: it is not removed during its look-up.
        let Some(name) = self.names.iter_mut().find(|name| name.is(host, port)) else {
            return;
        };
        name.asked = None;
        name.ended += 1;
        match found {
            Ok(mut found) if !found.is_empty() => {
                for address in &mut found {
                    address.set_port(port);
                }
                name.addresses.replace(&found);
                name.told = Some(Instant::now());
                name.error = None;
            }
            // The addresses of the last answer are the best guess, and connections to them may
            // still stand.
            Ok(_) => name.error = Some("it has no address".to_owned()),
            Err(error) => name.error = Some(reason(&error)),
        }
    }
}

/// The C library's words without those that the standard library puts before them.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.strip_prefix("failed to lookup address information: ");
    words.unwrap_or(&text).to_owned()
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wanted.notify_one();
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

#[cfg(test)]
mod tests;
