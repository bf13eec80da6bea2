//! What ureq sends a request over: a stream with its buffers.
//!
//! Output is sent when ureq starts to read the answer, or when the buffers are full: the head of a
//! request and a body that fits are one write.

use std::io::{self, Read, Write};
use std::sync::Weak;

use ureq::unversioned::transport::{Buffers, NextTimeout, ShutdownHandle, Transport};

use super::stream::{Stream, TimeLimits};
use crate::http::call;
use crate::http::error::{TransportError, TransportErrorKind};

/// Size of the input buffer. Answers are short; it grows for longer headers, which ureq wants to
/// see whole, up to ureq's limit on them.
const INPUT: usize = 4 * 1024;

#[derive(Debug)]
pub(super) struct HttpTransport {
    stream: Stream,
    handle: Weak<dyn ShutdownHandle>,
    is_tls: bool,
    buffers: HttpBuffers,
    host: String,
    /// Whether an answer came before this one.
    was_used: bool,
    /// Whether anything came since something was sent.
    is_answered: bool,
    /// The error of sending. A server that refuses a request before it has read all of it may have
    /// answered already.
    send_error: Option<io::Error>,
}

impl HttpTransport {
    /// `output` is the size of the buffer for what is to be sent.
    pub(super) fn new(
        stream: Stream,
        handle: Weak<dyn ShutdownHandle>,
        is_tls: bool,
        host: &str,
        output: usize,
    ) -> Self {
        HttpTransport {
            stream,
            handle,
            is_tls,
            buffers: HttpBuffers::new(output),
            host: host.to_owned(),
            was_used: false,
            is_answered: false,
            send_error: None,
        }
    }

    /// Sends the buffer. If that fails, an answer may have arrived all the same, so the input is
    /// read first.
    fn send(&mut self, limits: TimeLimits, is_all: bool) -> Result<(), ureq::Error> {
        self.stream.set_limits(limits);
        let filled = std::mem::take(&mut self.buffers.filled);
        let mut sent = self.stream.write_all(&self.buffers.output[..filled]);
        if is_all && sent.is_ok() {
            sent = self.stream.flush();
        }
        match sent {
            Err(error) if is_disconnect(&error) => self.send_error = Some(error),
            sent => sent?,
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<usize, ureq::Error> {
        let space = self.buffers.input_append_buf();
        match self.stream.read(space) {
            Ok(0) if let Some(error) = self.send_error.take() => Err(error.into()),
            Err(error)
                if is_disconnect(&error)
                    && let Some(error) = self.send_error.take() =>
            {
                Err(error.into())
            }
            result => Ok(result?),
        }
    }

    /// Whether this is how an idle connection ends that the other side has closed.
    fn was_closed_idle(&self, result: &Result<usize, ureq::Error>) -> bool {
        let ended = match result {
            Ok(amount) => *amount == 0,
            Err(ureq::Error::Io(error)) => is_disconnect(error),
            Err(_) => false,
        };
        ended && self.was_used && !self.is_answered
    }
}

/// Whether these bytes begin an answer other than success. A request that was not sent completely
/// cannot have succeeded, whatever the answer says.
fn is_refusal(answer: &[u8]) -> bool {
    let status = answer.strip_prefix(b"HTTP/1.1 ").and_then(<[u8]>::first);
    matches!(status, Some(b'3'..=b'5'))
}

fn is_disconnect(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::UnexpectedEof
    )
}

impl Transport for HttpTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        call::goes_by(&self.handle)?;
        self.was_used |= self.is_answered;
        self.is_answered = false;
        self.buffers.filled += amount;
        // TLS has a buffer of its own.
        if self.is_tls || self.buffers.is_half_full() {
            self.send(timeout.into(), false)?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.send(timeout.into(), true)?;
        let result = self.receive();
        if self.was_closed_idle(&result) {
            let text = format!("{} closed an idle connection at that moment", self.host);
            return Err(TransportError::new(TransportErrorKind::ClosedIdle, text).into());
        }
        let amount = result?;
        self.is_answered |= amount > 0;
        self.buffers.input_appended(amount);
        match self
            .send_error
            .take_if(|_| !is_refusal(self.buffers.input()))
        {
            Some(error) => Err(error.into()),
            None => Ok(amount > 0),
        }
    }

    fn is_open(&mut self) -> bool {
        self.send_error.is_none() && self.stream.is_quiet()
    }

    fn is_tls(&self) -> bool {
        self.is_tls
    }
}

/// The bytes that are to be sent, and those that have come.
#[derive(Debug)]
struct HttpBuffers {
    output: Vec<u8>,
    /// How much of the output waits to be sent.
    filled: usize,
    input: Vec<u8>,
    /// The input that was not used yet.
    came: std::ops::Range<usize>,
    /// Whether the last use of the input used any of it.
    was_useful: bool,
}

impl HttpBuffers {
    fn new(output: usize) -> Self {
        HttpBuffers {
            output: vec![0; output],
            filled: 0,
            input: vec![0; INPUT],
            came: 0..0,
            was_useful: false,
        }
    }

    /// There is always room for the longest header that may be sent, which is half of the buffer.
    fn is_half_full(&self) -> bool {
        self.filled > self.output.len() / 2
    }
}

impl Buffers for HttpBuffers {
    fn output(&mut self) -> &mut [u8] {
        &mut self.output[self.filled..]
    }

    fn input(&self) -> &[u8] {
        &self.input[self.came.clone()]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        if self.came.start > 0 {
            self.input.copy_within(self.came.clone(), 0);
            self.came = 0..self.came.len();
        }
        if self.came.end == self.input.len() {
            self.input.resize(self.came.end + INPUT, 0);
        }
        &mut self.input[self.came.end..]
    }

    fn input_appended(&mut self, amount: usize) {
        self.came.end += amount;
    }

    fn input_consume(&mut self, amount: usize) {
        self.was_useful = amount > 0;
        self.came.start += amount;
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.input_append_buf();
        let (input, output) = (&mut self.input, &mut self.output);
        (&mut input[self.came.end..], &mut output[self.filled..])
    }

    fn can_use_input(&self) -> bool {
        self.was_useful && !self.came.is_empty()
    }
}
