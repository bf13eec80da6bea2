//! The reader of X-Ray's answers: never panics, reads the same however the bytes are cut, keeps to
//! its limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xray::http::wire::answer::{BadAnswer, Reader, Step};
use xray::upload::response::Answer;

/// The first answer in `pieces`, after which no more come.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Answer, BadAnswer> {
    let mut reader = Reader::default();
    for piece in pieces {
        reader.feed(piece);
        if let Step::Answer(answer, _) = reader.step(false)? {
            return Ok(answer);
        }
    }
    match reader.step(true)? {
        Step::Answer(answer, _) => Ok(answer),
        Step::NeedMore => panic!("nothing more can come"),
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&size, stream)) = data.split_first() else {
        return;
    };
    let whole = read([stream].into_iter());
    let cut = read(stream.chunks(usize::from(size).max(1)));
    assert_eq!(whole.is_ok(), cut.is_ok());
    if let (Ok(whole), Ok(cut)) = (whole, cut) {
        assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
        assert!(whole.body.len() <= 256 * 1024);
    }
});
