//! Spares system calls on the way of a request: its head goes out in one write with the beginning
//! of its body, and a connection is looked at once a request, not twice.

use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, NextTimeout, Transport,
};

/// Comes last in a chain of connectors, behind TLS.
#[derive(Debug)]
pub struct WholeRequests;

impl<In: Transport> Connector<In> for WholeRequests {
    type Out = Either<In, Whole<In>>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|inner| match details.config.proxy() {
            // The way to the proxy is one of these already. Of two, the inner one would take the
            // only look that the outer one passes on for the one to be spared.
            Some(_) => Either::A(inner),
            None => Either::B(Whole::new(inner, details.config.input_buffer_size())),
        }))
    }
}

/// Holds back a small write until more comes, or until an answer is waited for.
#[derive(Debug)]
pub struct Whole<T> {
    inner: T,
    /// What has come and is not consumed yet, from `consumed` on. `Buffers` wants to lend it without
    /// a `&mut`, which those of `inner` cannot be had without.
    input: Vec<u8>,
    /// Bytes of it that may wait for more to come: as many as the agent would buffer.
    limit: usize,
    consumed: usize,
    progress: bool,
    /// Bytes at the beginning of the output buffer that are still to be sent.
    held: usize,
    /// Whether a request went out since the last look at the connection.
    used: bool,
}

/// More than this part of the output buffer is not held back: there must be room for what follows.
const SMALL: usize = 4;

impl<T: Transport> Whole<T> {
    fn new(inner: T, limit: usize) -> Self {
        Whole {
            inner,
            input: Vec::new(),
            limit,
            consumed: 0,
            progress: false,
            held: 0,
            used: false,
        }
    }

    fn flush(&mut self, timeout: NextTimeout) -> Result<(), Error> {
        match std::mem::take(&mut self.held) {
            0 => Ok(()),
            amount => self.inner.transmit_output(amount, timeout),
        }
    }
}

impl<T: Transport> Transport for Whole<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.used = true;
        self.held += amount;
        if self.held > self.inner.buffers().output().len() / SMALL {
            self.flush(timeout)?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.flush(timeout)?;
        self.input.drain(..std::mem::take(&mut self.consumed));
        if self.input.len() >= self.limit {
            return Ok(false);
        }
        let came = self.inner.maybe_await_input(timeout)?;
        let buffers = self.inner.buffers();
        let input = buffers.input();
        let length = input.len();
        self.input.extend_from_slice(input);
        buffers.input_consume(length);
        Ok(came)
    }

    /// The agent asks when a connection goes back to the pool, and again when it is taken out.
    /// The second look sees all that the first would have seen.
    fn is_open(&mut self) -> bool {
        // An answer that came before the request was out leaves the rest of the request here.
        self.held == 0 && (std::mem::take(&mut self.used) || self.inner.is_open())
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

impl<T: Transport> Buffers for Whole<T> {
    fn output(&mut self) -> &mut [u8] {
        &mut self.inner.buffers().output()[self.held..]
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        let (tmp, output) = self.inner.buffers().tmp_and_output();
        (tmp, &mut output[self.held..])
    }

    fn input(&self) -> &[u8] {
        &self.input[self.consumed..]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.inner.buffers().input_append_buf()
    }

    fn input_appended(&mut self, amount: usize) {
        self.inner.buffers().input_appended(amount);
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.consumed += amount;
    }

    fn can_use_input(&self) -> bool {
        self.progress && !self.input().is_empty()
    }
}

#[cfg(test)]
mod tests;
