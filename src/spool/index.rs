//! Finds the records of earlier processes in the directory.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek};

use super::directory::SpoolDirectory;
use super::file::SpoolFile;
use super::format::{FileHeader, HeaderError, MAX_FILE_HEADER, VERSION};
use super::reader::{HeaderStep, RecordReader};
use super::{RecordAmount, SpoolIdentity, XRayApi};

/// No daemon creates so many files. A file with a higher number is not the daemon's, and must not
/// decide the number of the next file.
const MAX_NUMBER: u64 = 1 << 48;

/// The result of reading the whole directory.
#[derive(Debug, Default)]
pub(super) struct EarlierFiles {
    /// Higher than the number of any file, except those with numbers that no daemon reaches.
    pub(crate) next_number: u64,
    /// What is in files that were not known before.
    pub amounts: BTreeMap<XRayApi, RecordAmount>,
    /// Damaged places.
    pub damaged: u64,
    /// Files whose last record is incomplete.
    pub(crate) torn: u64,
    /// One of the files that are not used, and why.
    pub foreign: Option<(u64, String)>,
    pub(crate) foreign_count: usize,
    /// What was in files that have been removed.
    pub(crate) vanished: Vec<(XRayApi, RecordAmount)>,
}

/// Adds the files of this daemon that are in the directory to `files`, and removes those that are
/// not there any more.
pub(super) fn index_all(
    directory: &SpoolDirectory,
    identity: &SpoolIdentity,
    files: &mut BTreeMap<u64, SpoolFile>,
) -> io::Result<EarlierFiles> {
    let numbers = directory.list()?;
    let mut found = EarlierFiles {
        next_number: numbers
            .range(..MAX_NUMBER)
            .last()
            .map_or(0, |last| last + 1),
        ..EarlierFiles::default()
    };
    for &number in &numbers {
        let indexed = index(directory, number, identity)
            .unwrap_or_else(|error| Indexed::Foreign(format!("it cannot be read: {error}")));
        match indexed {
            Indexed::Ours {
                file,
                damaged,
                is_torn,
            } => {
                let known = files.get(&number);
                if known.is_some_and(|known| known.marker == file.marker) {
                    continue;
                }
                *found.amounts.entry(file.destination).or_default() += file.unread;
                found.damaged += damaged;
                found.torn += u64::from(is_torn);
                let replaced = files.insert(number, *file);
                found
                    .vanished
                    .extend(replaced.map(|old| (old.destination, old.unread)));
            }
            Indexed::Empty => directory.remove_file(number)?,
            Indexed::Foreign(why) => {
                found.foreign_count += 1;
                found.foreign.get_or_insert((number, why));
            }
        }
    }
    let gone = files.extract_if(.., |number, file| {
        !numbers.contains(number) && !file.is_open()
    });
    found
        .vanished
        .extend(gone.map(|(_, file)| (file.destination, file.unread)));
    Ok(found)
}

/// The result of reading one file.
#[derive(Debug)]
enum Indexed {
    /// Records for this daemon.
    Ours {
        file: Box<SpoolFile>,
        /// Damaged places.
        damaged: u64,
        /// Whether the last record is incomplete.
        is_torn: bool,
    },
    /// The process ended between creating the file and writing its header.
    Empty,
    /// It cannot be used, for this reason.
    Foreign(String),
}

/// Looks at the headers of all records of a file. Their bodies are not read.
fn index(directory: &SpoolDirectory, number: u64, identity: &SpoolIdentity) -> io::Result<Indexed> {
    let file = match directory.open_file(number) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Ok(Indexed::Foreign(error.to_string()));
        }
        opened => opened?,
    };
    let mut bytes = Vec::new();
    (&file)
        .take(MAX_FILE_HEADER as u64)
        .read_to_end(&mut bytes)?;
    let why = match FileHeader::decode(&bytes) {
        Ok((header, start)) if header.identity == *identity => {
            let mut indexed = Box::new(SpoolFile::existing(&header, start as u64));
            let (damaged, is_torn) = count(&mut indexed, &file, file.metadata()?.len())?;
            indexed.finish_if_settled();
            return Ok(Indexed::Ours {
                file: indexed,
                damaged,
                is_torn,
            });
        }
        Ok((header, _)) => format!("it was written for {}", header.identity),
        Err(HeaderError::Version(version)) => {
            format!("it has version {version} of the format, this daemon knows version {VERSION}")
        }
        Err(HeaderError::Damaged) if bytes.is_empty() => return Ok(Indexed::Empty),
        Err(HeaderError::Damaged) => "its header is damaged".to_owned(),
    };
    Ok(Indexed::Foreign(why))
}

/// Counts all records up to `end`. Returns how many damaged places there are, and whether the last
/// record is incomplete.
fn count(file: &mut SpoolFile, source: impl Read + Seek, end: u64) -> io::Result<(u64, bool)> {
    let (mut damaged, mut is_torn) = (0, false);
    let mut reader = RecordReader::new(source, file.marker, file.size, end);
    loop {
        match reader.next_header()? {
            HeaderStep::Header(_, header) => {
                file.size = reader.offset();
                if !header.settled {
                    let amount = RecordAmount::of(header.count, header.opened);
                    file.add(amount, header.received_at);
                }
            }
            HeaderStep::Gap => damaged += 1,
            HeaderStep::TornTail => is_torn = true,
            HeaderStep::End => {
                file.torn = end - file.size;
                return Ok((damaged, is_torn));
            }
        }
    }
}
