//! Stub.
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};
/// stub
pub struct RateLimit {
    n: u32,
    window: Duration,
    state: Mutex<(Option<Instant>, u32, u64)>,
}
/// stub
pub struct HeldBack(u64);
impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > 0 {
            write!(f, " ({} like it held back)", self.0)?;
        }
        Ok(())
    }
}
impl RateLimit {
    /// stub
    pub const fn new(n: u32, window: Duration) -> Self {
        RateLimit {
            n,
            window,
            state: Mutex::new((None, 0, 0)),
        }
    }
    /// stub
    pub fn allow(&self, now: Instant) -> Option<HeldBack> {
        let mut s = self.state.lock().unwrap();
        if s.0.is_none_or(|t| now.duration_since(t) >= self.window) {
            s.0 = Some(now);
            s.1 = 0;
        }
        if s.1 < self.n {
            s.1 += 1;
            let h = s.2;
            s.2 = 0;
            Some(HeldBack(h))
        } else {
            s.2 += 1;
            None
        }
    }
}
/// stub
pub fn escape(text: &[u8], max: usize) -> String {
    String::from_utf8_lossy(&text[..text.len().min(max)])
        .escape_debug()
        .to_string()
}
/// stub
pub fn init(config: &crate::config::Config) -> Result<(), String> {
    env_logger::Builder::new()
        .filter_level(config.log_level)
        .target(env_logger::Target::Stdout)
        .init();
    Ok(())
}
