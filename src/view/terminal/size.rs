//! How wide the terminal is.

use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;

/// Columns of the terminal that `output` is, as wide as it is at this moment; `None` when it is
/// none, or does not say. It is read before each drawing, so that no signal has to be handled when
/// the width changes.
pub(crate) fn terminal_columns(output: impl AsFd) -> Option<usize> {
    let columns = tcgetwinsize(output).ok()?.ws_col;
    (columns > 0).then_some(columns.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    use rustix::pty::{OpenptFlags, openpt, unlockpt};
    use rustix::termios::{Winsize, tcsetwinsize};

    #[test]
    fn the_width_of_a_terminal_is_followed() {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        unlockpt(&terminal).unwrap();
        assert_eq!(terminal_columns(&terminal), None, "a new one does not say");
        for columns in [132, 80] {
            let size = Winsize {
                ws_row: 24,
                ws_col: columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            tcsetwinsize(&terminal, size).unwrap();
            assert_eq!(terminal_columns(&terminal), Some(columns.into()));
        }
        assert_eq!(terminal_columns(File::open("/dev/null").unwrap()), None);
    }
}
