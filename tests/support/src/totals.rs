//! The totals that the daemon logs, checked against what client and service counted themselves.

/// The line `received R = sent S + shown W + rejected J + spilled P + held H; kernel drops K`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub received: u64,
    pub sent: u64,
    /// Left out of the line where nothing was shown.
    pub shown: u64,
    pub rejected: u64,
    pub spilled: u64,
    pub held: u64,
    /// Of earlier runs, in the spool. The line has this and `spooled` where a spool holds something.
    pub restored: u64,
    pub spooled: u64,
    pub kernel_drops: u64,
}

impl Totals {
    /// Reads the last line of a log, which must be the totals, and must add up.
    #[track_caller]
    pub fn at_the_end_of(log: &[String]) -> Self {
        let last = log.last().expect("an empty log");
        let totals = Self::parse(last).unwrap_or_else(|| panic!("not the totals: {last:?}"));
        let delivered = totals.sent + totals.shown;
        let lost = totals.rejected + totals.spilled;
        let fates = delivered + lost + totals.held + totals.spooled;
        let came = totals.received + totals.restored;
        assert_eq!(came, fates, "{totals:?} does not add up");
        totals
    }

    fn parse(line: &str) -> Option<Self> {
        let number = |name: &str| -> Option<u64> {
            let (_, after) = line.split_once(&format!("{name} "))?;
            let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        };
        Some(Self {
            received: number("received")?,
            sent: number("sent")?,
            shown: number("shown").unwrap_or(0),
            rejected: number("rejected")?,
            spilled: number("spilled")?,
            held: number("held")?,
            restored: number("restored").unwrap_or_default(),
            spooled: number("spooled").unwrap_or_default(),
            kernel_drops: number("kernel drops")?,
        })
    }
}
