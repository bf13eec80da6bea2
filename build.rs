//! Compresses the files of the trace page, so that the binary holds them as they are sent: small,
//! and with nothing to be done when they are asked for.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

const PAGE: &str = "src/view/page";
/// The best of `miniz_oxide`; it takes a moment, once.
const LEVEL: u8 = 10;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PAGE}");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join(PAGE))? {
        let name = entry?.file_name().into_string();
        names.push(name.map_err(|name| format!("{PAGE}/{} is not UTF-8", name.display()))?);
    }
    // The order of a directory is another one on each machine; the binary shall be the same.
    names.sort();
    let mut assets = "[\n".to_owned();
    for name in names {
        let content_type = match name.rsplit_once('.') {
            Some((_, "html")) => "text/html; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => continue,
        };
        let plain = lean(&fs::read_to_string(root.join(PAGE).join(&name))?, &name)?.into_bytes();
        let file = out.join([&name, ".gz"].concat());
        fs::write(&file, gzip(&plain))?;
        let path = match name.as_str() {
            "index.html" => "/".to_owned(),
            name => ["/page/", name].concat(),
        };
        let etag = format!("\"{:08x}-{}\"", crc32(&plain), plain.len());
        writeln!(
            assets,
            "Asset {{ path: {path:?}, content_type: {content_type:?}, etag: {etag:?}, \
             gzip: include_bytes!({file:?}) }},"
        )?;
    }
    assets.push(']');
    fs::write(out.join("page.rs"), assets)?;
    Ok(())
}

/// The lines of a file without their indentation and, in modules, without those that are comments:
/// a browser needs neither.
fn lean(text: &str, name: &str) -> Result<String, String> {
    let is_module = name.ends_with(".js");
    let mut lean = String::with_capacity(text.len());
    for line in text.lines().map(str::trim) {
        // A text over several lines would change.
        if is_module && line.matches('`').count() % 2 == 1 {
            return Err(format!(
                "{PAGE}/{name}: a backtick without its other one: {line}"
            ));
        }
        if !(is_module && line.starts_with("//")) {
            lean.push_str(line);
            lean.push('\n');
        }
    }
    Ok(lean)
}

/// RFC 1952, without a name or a time.
fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];
    file.extend(miniz_oxide::deflate::compress_to_vec(plain, LEVEL));
    file.extend(crc32(plain).to_le_bytes());
    // The length counts modulo 2^32.
    file.extend((plain.len() as u32).to_le_bytes());
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}
