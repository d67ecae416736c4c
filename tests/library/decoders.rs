//! Hostile bytes at every registered compressor's decoder: it returns an error or a sum, never
//! panics, and allocates no more than the receiver's own vector takes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use rand::Rng;
use serde_json::{Value, json};

use crate::common::{compressor, compressor_examples, key, normal, packed};
use sobaya::packet::{DecodeError, HEADER, Packet};
use sobaya::scalar::Scalar;

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

const DIM: usize = 100;

/// Decodes bytes as a receiver of vectors of length `dim` does.
fn decode<F: Scalar>(config: &Value, bytes: &[u8], dim: usize) -> Result<(), DecodeError> {
    let mut compressor = compressor::<F>(config, dim.max(1));
    let mut out = vec![F::zero(); dim];
    let before = ALLOCATED.get();
    let result = Packet::split(bytes).and_then(|(packet, rest)| {
        compressor.decode_add(packet, key(0), F::one(), &mut out)?;
        DecodeError::expect("bytes behind the packet", rest.len(), 0)
    });
    let allocated = ALLOCATED.get() - before;
    assert!(allocated <= size_of_val(&out[..]) + 64, "{config}: {allocated} bytes for {dim}");
    result
}

fn valid<F: Scalar>(config: &Value) -> Vec<u8> {
    packed(&mut *compressor::<F>(config, DIM), &normal::<F>(DIM, 1), key(0))
}

/// The packet with another payload, its header made to fit the length.
fn with_payload(packet: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_le_bytes();
    [&packet[..HEADER - 4], &length, payload].concat()
}

/// Whether the length of the payload depends on the vector.
fn has_rice_codes(packet: &[u8]) -> bool {
    (packet[2], packet[3] >> 4) == (2, 4)
}

/// Runs `body` for every example in both precisions.
macro_rules! for_each_decoder {
    ($config:ident, $valid:ident, $decode:ident => $body:block) => {
        for $config in &compressor_examples() {
            {
                let ($valid, $decode) = (valid::<f32>($config), decode::<f32>);
                $body
            }
            let ($valid, $decode) = (valid::<f64>($config), decode::<f64>);
            $body
        }
    };
}

#[test]
fn every_truncation_is_an_error() {
    for_each_decoder!(config, packet, decode => {
        assert_eq!(decode(config, &packet, DIM), Ok(()), "{config}");
        for end in 0..packet.len() {
            assert!(decode(config, &packet[..end], DIM).is_err(), "{config}: {end} bytes");
        }
        let payload = &packet[HEADER..];
        for end in 0..payload.len() {
            let short = with_payload(&packet, &payload[..end]);
            assert!(decode(config, &short, DIM).is_err(), "{config}: {end} bytes of payload");
        }
        let long = with_payload(&packet, &[payload, &[0]].concat());
        assert!(decode(config, &long, DIM).is_err(), "{config}: a byte too many");
    });
}

#[test]
fn every_flipped_bit_of_a_header_is_an_error() {
    let mut accepted = vec![];
    for_each_decoder!(config, packet, decode => {
        for bit in 0..8 * HEADER {
            let mut flipped = packet.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if decode(config, &flipped, DIM).is_ok() {
                accepted.push(format!("{config}: bit {} of byte {}", bit % 8, bit / 8));
            }
        }
    });
    assert!(accepted.is_empty(), "accepted: {accepted:#?}");
}

#[test]
fn another_dimension_precision_or_compressor_is_an_error() {
    for_each_decoder!(config, packet, decode => {
        for dim in [0, 1, DIM - 1, DIM + 1, 10 * DIM] {
            assert!(decode(config, &packet, dim).is_err(), "{config}: into [{dim}]");
        }
        for other in compressor_examples().iter().filter(|other| *other != config) {
            assert!(decode(other, &packet, DIM).is_err(), "{config} read as {other}");
        }
    });
    for config in compressor_examples() {
        assert!(decode::<f32>(&config, &valid::<f64>(&config), DIM).is_err(), "{config}");
        assert!(decode::<f64>(&config, &valid::<f32>(&config), DIM).is_err(), "{config}");
    }
}

#[test]
fn claims_of_a_huge_vector_are_refused_before_anything_is_allocated() {
    for_each_decoder!(config, packet, decode => {
        for words in [&[4][..], &[8], &[4, 8], &[12], &[4, 8, 12]] {
            let mut huge = packet.clone();
            words.iter().for_each(|&at| huge[at..at + 4].fill(0xff));
            assert!(decode(config, &huge, DIM).is_err(), "{config}: words at {words:?}");
        }
    });
}

/// Long enough for a second block of every code, the last one not full.
const LONG: usize = 5003;

fn long_packets_are_read_or_refused<F: Scalar>(config: &Value) {
    let packet = packed(&mut *compressor::<F>(config, LONG), &normal::<F>(LONG, 1), key(0));
    assert_eq!(decode::<F>(config, &packet, LONG), Ok(()), "{config}");
    let payload = &packet[HEADER..];
    let mut rng = key(1).rng();
    let mut below = |bound: usize| (rng.next_u64() % bound as u64) as usize;
    // At the end, in the middle, and anywhere.
    let middle = payload.len() / 2..payload.len() / 2 + 10;
    let last = payload.len().saturating_sub(30)..payload.len();
    let ends: Vec<usize> =
        middle.chain(last).chain((0..40).map(|_| below(payload.len()))).collect();
    for end in ends {
        let short = with_payload(&packet, &payload[..end]);
        assert!(decode::<F>(config, &short, LONG).is_err(), "{config}: {end} bytes of payload");
    }
    let long = with_payload(&packet, &[payload, &[0]].concat());
    assert!(decode::<F>(config, &long, LONG).is_err(), "{config}: a byte too many");
    // Damaged payloads may be what another vector's packet holds: that it returns is what counts.
    for _ in 0..200 {
        let mut damaged = packet.clone();
        for _ in 0..=below(4) {
            damaged[HEADER + below(payload.len())] = below(256) as u8;
        }
        let _ = decode::<F>(config, &damaged, LONG);
    }
    for byte in [0, 0x55, 0xff] {
        let from = below(payload.len());
        let mut damaged = packet.clone();
        damaged[HEADER + from..].fill(byte);
        let _ = decode::<F>(config, &damaged, LONG);
    }
}

#[test]
fn truncations_and_damage_beyond_the_first_block_are_errors_or_read() {
    for config in compressor_examples() {
        long_packets_are_read_or_refused::<f32>(&config);
        long_packets_are_read_or_refused::<f64>(&config);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for_each_decoder!(config, packet, decode => {
            prop_assert!(decode(config, &bytes, DIM).is_err());
            // Behind a true header: whatever it decodes to, it returns.
            let dressed = with_payload(&packet, &bytes);
            let fits = dressed.len() == packet.len() || has_rice_codes(&packet);
            prop_assert!(fits || decode(config, &dressed, DIM).is_err());
        });
    }

    #[test]
    fn damaged_packets_are_decoded_or_refused(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        for_each_decoder!(config, packet, decode => {
            let mut damaged = packet.clone();
            for (at, byte) in &damage {
                damaged[at.index(packet.len())] = *byte;
            }
            let same_head = damaged[..HEADER] == packet[..HEADER];
            prop_assert!(decode(config, &damaged, DIM).is_err() || same_head, "{config}");
        });
    }

    #[test]
    fn payloads_of_the_right_length_do_not_panic(
        bytes in prop::collection::vec(any::<u8>(), 2 * (HEADER + 8 * DIM)),
    ) {
        for_each_decoder!(config, packet, decode => {
            let payload = &bytes[..packet.len() - HEADER];
            let result = decode(config, &with_payload(&packet, payload), DIM);
            match config["kind"].as_str() {
                // Raw values may be any bits.
                Some("identity" | "rand-k" | "rand-block" | "bernoulli") => {
                    prop_assert_eq!(result, Ok(()));
                }
                _ if config["supports"] == "disjoint" => prop_assert_eq!(result, Ok(())),
                Some("top-k") if config == &json!({ "kind": "top-k", "ratio": 1 }) => {
                    prop_assert_eq!(result, Ok(()));
                }
                // Ten unordered positions may not.
                Some("top-k") if config["index"] == "raw" => prop_assert!(result.is_err()),
                // Codes, too, behind an exponent or a scale that may be one.
                Some("natural" | "sign" | "top-k") => {}
                // Positions, nested packets and what is said of buckets may not.
                _ => prop_assert!(result.is_err(), "{config}"),
            }
        });
    }

    #[test]
    fn top_k_takes_ascending_positions_below_the_dimension_alone(
        mut positions in prop::collection::vec(0..DIM as u16 + 2, 10),
        sorted in any::<bool>(),
    ) {
        if sorted {
            positions.sort_unstable();
        }
        let config = json!({ "kind": "top-k", "ratio": 0.1, "index": "raw" });
        let packet = valid::<f64>(&config);
        let bytes: Vec<u8> = positions.iter().flat_map(|p| p.to_le_bytes()).collect();
        let forged = with_payload(&packet, &[&packet[HEADER..HEADER + 80], &bytes[..]].concat());
        let legal = positions.windows(2).all(|pair| pair[0] < pair[1])
            && positions.iter().all(|&p| (p as usize) < DIM);
        prop_assert_eq!(decode::<f64>(&config, &forged, DIM).is_ok(), legal);
    }
}

#[test]
fn positions_in_a_longer_code_than_the_encoder_writes_are_refused() {
    let config = json!({ "kind": "top-k", "ratio": 0.1, "index": "rice", "bits": 1 });
    let packet = valid::<f32>(&config);
    let most = compressor::<f32>(&config, DIM).max_packet();
    // Parameter 0: each gap in unary. The last position comes behind `zeros` zeros.
    let forged = |zeros: u32| {
        let unary = (1 << zeros | ((1u128 << 9) - 1)).to_le_bytes();
        let unary = &unary[..(zeros as usize + 1).div_ceil(8)];
        with_payload(&packet, &[&packet[HEADER..HEADER + 6], &[0], unary].concat())
    };
    for zeros in 9..DIM as u32 {
        let forged = forged(zeros);
        let fits = forged.len() <= most;
        assert_eq!(decode::<f32>(&config, &forged, DIM).is_ok(), fits, "{zeros}");
    }
    assert!(forged(9).len() <= most && forged(DIM as u32 - 1).len() > most);
}
