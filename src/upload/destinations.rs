//! The destinations, one for each API of X-Ray.

use super::destination::Destination;
use crate::spool::XRayApi;

#[derive(Debug)]
pub(super) struct Destinations {
    pub segments: Destination,
    pub otlp: Destination,
}

impl Default for Destinations {
    fn default() -> Self {
        Destinations {
            segments: Destination::new(XRayApi::Segments),
            otlp: Destination::new(XRayApi::Otlp),
        }
    }
}

impl Destinations {
    pub(super) fn of(&self, api: XRayApi) -> &Destination {
        match api {
            XRayApi::Segments => &self.segments,
            XRayApi::Otlp => &self.otlp,
        }
    }

    pub(super) fn of_mut(&mut self, api: XRayApi) -> &mut Destination {
        match api {
            XRayApi::Segments => &mut self.segments,
            XRayApi::Otlp => &mut self.otlp,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Destination> {
        [&self.segments, &self.otlp].into_iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Destination> {
        [&mut self.segments, &mut self.otlp].into_iter()
    }
}
