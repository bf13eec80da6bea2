//! Compresses what has to wait, and keeps the memory that this makes free.

use crate::batch::Batch;
use crate::batch::compressed::Compressor;

/// Working memory, while something has to wait.
#[derive(Default)]
pub(super) struct Packer {
    pub compressor: Compressor,
    /// Batches that were compressed. Without their memory, in an outage the readers would ask the system
    /// for that of each batch, which takes as long as compressing it.
    pub freed: Vec<Batch>,
}
