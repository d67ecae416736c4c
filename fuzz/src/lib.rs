//! What the fuzz targets share: the decoders of one kind, and what is asked of them.
//!
//! Whatever the bytes, a decoder returns: a sum or a `DecodeError`. It does not panic (arithmetic that
//! overflows panics, too, in these builds), does not leave its vectors (the address sanitizer looks on),
//! and in all its life allocates no more than the vector that it adds to takes.

mod examples;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sobaya::compressors::{self, Compressor, Site};
use sobaya::key::{Key, Stream};
use sobaya::packet::{DecodeError, HEADER, Header, Packet};
use sobaya::scalar::Scalar;

/// Where the first inputs are to be written, before libFuzzer looks for them: the variable `SEEDS`.
pub fn seeds_folder() -> Option<PathBuf> {
    std::env::var_os("SEEDS").map(PathBuf::from)
}

/// Writes first inputs.
pub fn write_all(folder: &Path, seeds: &[&[u8]]) {
    std::fs::create_dir_all(folder).expect("the folder can be made");
    for (number, seed) in seeds.iter().enumerate() {
        std::fs::write(folder.join(number.to_string()), seed).expect("a seed can be written");
    }
}

/// Defines the fuzz target of the decoders of a kind.
#[macro_export]
macro_rules! decoder {
    ($kind:literal) => {
        std::thread_local! {
            static DECODERS: std::cell::RefCell<$crate::Decoders> =
                std::cell::RefCell::new($crate::Decoders::of($kind));
        }

        ::libfuzzer_sys::fuzz_target!(
            init: {
                if let Some(folder) = $crate::seeds_folder() {
                    DECODERS.with_borrow(|decoders| decoders.write_seeds(&folder));
                }
            },
            |bytes: &[u8]| DECODERS.with_borrow_mut(|decoders| decoders.try_all(bytes))
        );
    };
}

/// The system's allocator, counting what each thread asks for.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: hands everything to the system's allocator; the counter is a thread's own number.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size());
        // SAFETY: the caller's promises are the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the system's.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The longest seed: mutations of longer inputs take their time.
const LONGEST_SEED: usize = 2048;

/// Bytes that this thread has asked for so far.
pub fn allocated() -> usize {
    ALLOCATED.get()
}

/// Decoders of one kind: each of its parameter sets, in several dimensions and both precisions.
pub struct Decoders(Vec<Box<dyn Target>>);

impl Decoders {
    /// All decoders of a kind.
    pub fn of(kind: &str) -> Self {
        let mut all: Vec<Box<dyn Target>> = vec![];
        for (config, dim) in examples::of(kind) {
            let before = all.len();
            all.extend(Decoder::<f32>::target(&config, dim));
            all.extend(Decoder::<f64>::target(&config, dim));
            assert!(all.len() > before, "{config} is for neither precision");
        }
        assert!((1..=256).contains(&all.len()), "a byte picks one of {}", all.len());
        Self(all)
    }

    /// The first byte picks a decoder, which is tried with the others.
    pub fn try_all(&mut self, bytes: &[u8]) {
        if let Some((&first, bytes)) = bytes.split_first() {
            let picked = usize::from(first) % self.0.len();
            self.0[picked].try_all(bytes);
        }
    }

    /// True packets and payloads as inputs: whole, or the first bytes of those that are long.
    pub fn write_seeds(&self, folder: &Path) {
        std::fs::create_dir_all(folder).expect("the folder can be made");
        for (number, decoder) in self.0.iter().enumerate() {
            let (packet, place) = (decoder.packet(), [0; PLACE]);
            let payload = &packet[HEADER..];
            let short = &payload[..payload.len().min(64)];
            for (name, seed) in [("packet", packet), ("payload", payload), ("place", short)] {
                if seed.len() <= LONGEST_SEED {
                    let place = if name == "place" { &place[..] } else { &[] };
                    let seed = [&[number as u8], place, seed].concat();
                    let path = folder.join(format!("{name}-{number}"));
                    std::fs::write(path, seed).expect("a seed can be written");
                }
            }
        }
    }
}

/// A decoder of either precision.
trait Target {
    /// A true packet.
    fn packet(&self) -> &[u8];

    /// Tries bytes as a packet, as a payload, and as a part of one.
    fn try_all(&mut self, bytes: &[u8]);
}

struct Decoder<F> {
    config: Value,
    compressor: Box<dyn Compressor<F>>,
    /// A true packet and its header.
    packet: Vec<u8>,
    header: Header,
    /// Damaged copy of the true packet; whole between calls.
    damaged: Vec<u8>,
    /// True header and the input.
    dressed: Vec<u8>,
    out: Vec<F>,
    /// What decoding has allocated so far.
    allocated: usize,
}

/// Bytes of an input that say which part of a true payload the others replace.
const PLACE: usize = 4;

impl<F: Scalar + 'static> Decoder<F> {
    /// The decoder that a config names, unless it is not for this precision.
    fn target(config: &Value, dim: usize) -> Option<Box<dyn Target>> {
        let layout = examples::layout(dim);
        let build = || compressors::registry().build::<F>(config, Site::new(&layout));
        // One that has encoded has its buffers: another decodes.
        let (mut encoder, compressor) = (build().ok()?, build().ok()?);
        let mut packet = vec![];
        encoder.encode(&examples::vector(dim), key(), &mut packet).expect("a finite vector");
        let header = Packet::split(&packet).expect("a packet just written").0.header;
        let mut decoder = Self {
            config: config.clone(),
            compressor,
            header,
            damaged: packet.clone(),
            dressed: vec![],
            packet,
            out: vec![F::zero(); dim],
            allocated: 0,
        };
        let packet = decoder.packet.clone();
        assert_eq!(decoder.decode(&packet), Ok(()), "{config} [{dim}]: its own packet");
        Some(Box::new(decoder))
    }

    /// Decodes as a receiver does, and checks what can be.
    fn decode(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let (packet, rest) = Packet::split(bytes)?;
        let coded = examples::is_coded(&self.config, F::BYTES);
        if coded {
            self.out.fill(F::zero());
        }
        let before = allocated();
        let result = self.compressor.decode_add(packet, key(), F::one(), &mut self.out);
        self.allocated += allocated() - before;
        let (config, dim) = (&self.config, self.out.len());
        let most = size_of_val(&self.out[..]) + 64;
        assert!(self.allocated <= most, "{config} [{dim}]: {} bytes", self.allocated);
        result?;
        assert_eq!(packet.header, self.header, "{config} [{dim}]");
        assert!(
            !coded || self.out.iter().all(|v| v.is_finite()),
            "{config} [{dim}]: codes of finite numbers are not finite"
        );
        DecodeError::expect("bytes behind the packet", rest.len(), 0)
    }
}

impl<F: Scalar + 'static> Target for Decoder<F> {
    fn packet(&self) -> &[u8] {
        &self.packet
    }

    fn try_all(&mut self, bytes: &[u8]) {
        // Errors are what is expected of nearly all of them.
        let _ = self.decode(bytes);

        let mut dressed = std::mem::take(&mut self.dressed);
        dressed.clear();
        dressed.extend_from_slice(&self.packet[..HEADER - 4]);
        dressed.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        dressed.extend_from_slice(bytes);
        let _ = self.decode(&dressed);
        self.dressed = dressed;

        let Some((place, bytes)) = bytes.split_first_chunk::<PLACE>() else { return };
        // Nothing is drawn, perhaps, and no payload sent.
        let places = (self.packet.len() - HEADER).max(1);
        let start = HEADER + u32::from_le_bytes(*place) as usize % places;
        let end = self.packet.len().min(start + bytes.len());
        let mut damaged = std::mem::take(&mut self.damaged);
        damaged[start..end].copy_from_slice(&bytes[..end - start]);
        let _ = self.decode(&damaged);
        damaged[start..end].copy_from_slice(&self.packet[start..end]);
        self.damaged = damaged;
    }
}

/// The key of every packet.
fn key() -> Key {
    Key::shared(7, Stream::CompressX).worker(3)
}
