//! Compressed files, told by their first bytes.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

const GZIP: &[u8] = &[0x1f, 0x8b];
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
/// Most memory in KiB that an xz file may ask for: `xz -9` asks for 65 MiB.
const XZ_MEMORY: u32 = 128 << 10;
/// Bytes read at a time.
const BUFFER: usize = 1 << 16;

/// What a file of gzip, xz or anything else holds.
pub fn decompressed<'a>(mut bytes: impl BufRead + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    let first = bytes.fill_buf()?;
    if first.starts_with(GZIP) {
        return Ok(Box::new(buffered(MultiGzDecoder::new(bytes))));
    }
    if first.starts_with(XZ) {
        return Ok(Box::new(buffered(XzReader::new_mem_limit(bytes, true, XZ_MEMORY))));
    }
    Ok(Box::new(bytes))
}

/// What an error in compressed data means, where its own words do not say.
pub fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            "the compressed data end early; fetch the file again".into()
        }
        io::ErrorKind::OutOfMemory => {
            format!(
                "unpacking asks for more than {} MiB; pack it by `xz -9` or less",
                XZ_MEMORY >> 10
            )
        }
        _ => error.to_string(),
    }
}

/// A reader with a buffer.
pub fn buffered<R: Read>(reader: R) -> BufReader<R> {
    BufReader::with_capacity(BUFFER, reader)
}
