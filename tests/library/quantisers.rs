//! Quantisers: packets of the same bits on every instruction set, of the length that their format
//! says, at the ends of the range of numbers and of buckets; errors of normal vectors.

use serde_json::{Value, json};

use crate::common::{
    Levels, add_packed, bits, compressor, compressor_examples, key, normal, packed,
};
use sobaya::compressors::{self, Bound, NotFinite};
use sobaya::packet::{DecodeError, HEADER, Packet};
use sobaya::scalar::Scalar;
use sobaya::vars::dot;

const KINDS: [&str; 4] = ["dithering", "ternary", "natural", "sign"];

fn quantisers() -> Vec<Value> {
    let of_kind = |config: &Value| KINDS.iter().any(|kind| config["kind"] == *kind);
    let mut all: Vec<Value> = compressor_examples().into_iter().filter(of_kind).collect();
    for levels in [1, 2, 4, 127, 128, 32767] {
        all.push(json!({ "kind": "dithering", "levels": levels, "bucket": 33 }));
        all.push(json!({ "kind": "dithering", "levels": levels, "rounding": "nearest" }));
    }
    all.push(json!({ "kind": "dithering", "levels": 3, "bucket": 1_000_000_000 }));
    all
}

/// C(v), through its packet.
fn value<F: Scalar>(config: &Value, v: &[F]) -> Vec<F> {
    let mut compressor = compressor::<F>(config, v.len());
    let bytes = packed(&mut *compressor, v, key(5));
    let mut out = vec![F::zero(); v.len()];
    add_packed(&mut *compressor, &bytes, key(5), F::one(), &mut out);
    out
}

/// Packet and sum at every level of instructions.
fn is_the_same_everywhere<F: Scalar>(config: &Value, v: &[F], levels: &Levels) {
    levels.agree(&format!("{config}, {} [{}]", F::NAME, v.len()), || {
        let mut compressor = compressor::<F>(config, v.len());
        let bytes = packed(&mut *compressor, v, key(6));
        let mut sum = normal::<F>(v.len(), 8);
        add_packed(&mut *compressor, &bytes, key(6), F::lit(0.3), &mut sum);
        (bytes, bits(&sum).to_vec())
    });
}

#[test]
fn packets_and_sums_have_the_same_bits_on_every_instruction_set() {
    let levels = Levels::of("packets and sums of quantisers");
    for config in quantisers() {
        for dim in [1, 7, 31, 32, 33, 512, 513, 5000, 20_011] {
            is_the_same_everywhere(&config, &normal::<f32>(dim, 1), &levels);
            is_the_same_everywhere(&config, &normal::<f64>(dim, 1), &levels);
        }
        let scales: Vec<f32> = (0..300).map(|j| f32::from_bits(j * 7_135_201)).collect();
        is_the_same_everywhere(&config, &scales, &levels);
    }
}

#[test]
fn packets_have_the_length_that_their_format_says() {
    let length = |config: &Value, dim| {
        let mut compressor = compressor::<f32>(config, dim);
        let bytes = packed(&mut *compressor, &normal(dim, 1), key(0));
        let fixed = config["norm"] != "l2";
        assert!(!fixed || bytes.len() == compressor.max_packet(), "{config} [{dim}]");
        bytes.len() - HEADER
    };
    let dithering =
        |levels, bucket| json!({ "kind": "dithering", "levels": levels, "bucket": bucket });
    assert_eq!(length(&dithering(7, 512), 512), 8 + 4 + 256);
    assert_eq!(length(&dithering(7, 512), 1025), 8 + 3 * 4 + 2 * 256 + 1);
    let bits = 8.0 * (HEADER + length(&dithering(7, 512), 1_000_000)) as f64 / 1e6;
    assert!(bits <= 4.1, "{bits} bits a coordinate");
    assert_eq!(length(&dithering(127, 512), 600), 8 + 2 * 4 + 600);
    assert_eq!(length(&dithering(1, 512), 10), 8 + 4 + 3);
    assert_eq!(length(&dithering(32767, 512), 10), 8 + 4 + 20);
    assert_eq!(length(&json!({ "kind": "ternary" }), 512), 4 + 4 + 103);
    assert_eq!(length(&json!({ "kind": "ternary" }), 514), 4 + 2 * 4 + 103 + 1);
    assert_eq!(length(&json!({ "kind": "natural" }), 5000), 2 * 2 + 5000);
    assert_eq!(length(&json!({ "kind": "sign" }), 17), 4 + 3);
    let l2 = json!({ "kind": "dithering", "levels": 7, "norm": "l2" });
    // Scales, and about 1.055 bits.
    assert!((12_900..14_200).contains(&length(&l2, 100_000)), "{}", length(&l2, 100_000));
}

#[test]
fn errors_of_normal_vectors_are_those_of_theory() {
    for (config, error) in [
        (json!({ "kind": "dithering", "levels": 7 }), 0.0363),
        (json!({ "kind": "dithering", "levels": 7, "norm": "l2" }), 1.58),
        (json!({ "kind": "natural" }), 0.0817),
        (json!({ "kind": "ternary" }), 1.59),
        (json!({ "kind": "sign" }), 0.363),
    ] {
        let v = normal::<f32>(512 * 400, 3);
        let off: Vec<f32> = value(&config, &v).iter().zip(&v).map(|(c, v)| c - v).collect();
        let found = dot(&off, &off) / dot(&v, &v);
        assert!((found / error - 1.0).abs() < 0.02, "{config}: {found}, theory {error}");
    }
}

/// |C(v) - v|^2 of v scaled up to 1 is within the bound, with room for a random error.
fn stays_in_range<F: Scalar>(config: &Value, v: &[F]) {
    let bound = compressor::<F>(config, v.len()).bound();
    let c = value(config, v);
    assert!(c.iter().all(|c| c.is_finite()), "{config}: not finite for {v:?}");
    let largest = v.iter().fold(0.0, |largest: f64, v| largest.max(v.wide().abs()));
    let square = |x: f64| (x / largest).powi(2);
    let error: f64 = c.iter().zip(v).map(|(c, v)| square(c.wide() - v.wide())).sum();
    let size: f64 = v.iter().map(|v| square(v.wide())).sum();
    let most = match bound {
        Bound::Unbiased { omega } => 4.0 * omega,
        Bound::Contractive { delta } => 1.0 - delta,
    };
    assert!(error <= (most + 1e-9) * size, "{config}, {}: {error} of {size}, {v:?}", F::NAME);
}

#[test]
fn the_ends_of_the_range_are_kept() {
    for config in quantisers() {
        let l2 = config["norm"] == "l2";
        for size in [f32::MAX, 3e38, 1e38, f32::MIN_POSITIVE, 1e-42] {
            // The norm of many of the largest numbers is no number.
            let size = if l2 && size > 1.0 { size / 8.0 } else { size };
            for dim in [1, 2, 40] {
                let signs = (0..dim).map(|j| if j % 3 == 0 { -size } else { size });
                stays_in_range::<f32>(&config, &signs.collect::<Vec<_>>());
                let ramp = (0..dim).map(|j| size * ((j + 1) as f32 / dim as f32));
                stays_in_range::<f32>(&config, &ramp.collect::<Vec<_>>());
            }
        }
        for size in [f64::MAX / 8.0, 1e300, 1e-300, f64::MIN_POSITIVE] {
            let ramp = (0..40).map(|j| size * (f64::from(j - 11) / 30.0));
            stays_in_range::<f64>(&config, &ramp.collect::<Vec<_>>());
        }
    }
}

#[test]
fn single_entries_come_back() {
    let numbers = [1.0, -1.0, 0.3, f32::MAX, -f32::MIN_POSITIVE, f32::from_bits(1), 0.0, -0.0];
    for config in quantisers() {
        for v in numbers {
            let c = value(&config, &[v])[0];
            let powers = config["kind"] == "natural" && v != 0.0;
            let near =
                if powers { c / v > 0.49 && c / v < 2.01 } else { (c - v).abs() <= v.abs() * 1e-6 };
            assert!(near, "{config}: {v:e} became {c:e}");
        }
    }
}

#[test]
fn natural_gives_powers_of_two_and_keeps_them() {
    let config = json!({ "kind": "natural" });
    let powers: Vec<f32> =
        (-126..=0).map(|e| 2f32.powi(e) * if e % 2 == 0 { 1.0 } else { -1.0 }).collect();
    assert_eq!(value(&config, &powers[2..]), powers[2..]);
    let tiny: Vec<f32> = (0..23).map(|bit| f32::from_bits(1 << bit)).collect();
    assert_eq!(value(&config, &tiny), tiny);
    let tiny: Vec<f64> = (0..52).map(|bit| f64::from_bits(1 << bit)).collect();
    assert_eq!(value(&config, &tiny), tiny);
    assert_eq!(
        value(&config, &[f32::MAX, 2f32.powi(127), 2f32.powi(2)])[1..],
        [2f32.powi(127), 4.0]
    );
}

#[test]
fn vectors_that_are_not_finite_are_refused_wherever_the_entry_is() {
    for config in quantisers() {
        for dim in [1, 40, 1100] {
            let mut compressor = compressor::<f32>(&config, dim);
            for at in [0, dim / 2, dim - 1] {
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut v = normal::<f32>(dim, 1);
                    v[at] = bad;
                    assert_eq!(
                        compressor.encode(&v, key(0), &mut vec![]),
                        Err(NotFinite),
                        "{config}"
                    );
                }
            }
        }
    }
}

/// What comes of a packet with one byte of the payload set.
fn with_byte(config: &Value, dim: usize, at: usize, byte: u8) -> Result<(), DecodeError> {
    let mut compressor = compressor::<f32>(config, dim);
    let mut bytes = packed(&mut *compressor, &normal(dim, 1), key(0));
    bytes[HEADER + at] = byte;
    let (packet, _) = Packet::split(&bytes).expect("a header as it was");
    compressor.decode_add(packet, key(0), 1.0, &mut vec![0.0; dim])
}

#[test]
fn scales_levels_and_padding_are_checked() {
    let dithering = |levels| json!({ "kind": "dithering", "levels": levels });
    // The last byte of a scale has its sign; 0x7f makes it infinite or more, or nearly.
    for (config, scale) in [
        (dithering(7), 8),
        (json!({ "kind": "dithering", "levels": 7, "norm": "l2" }), 8),
        (json!({ "kind": "ternary" }), 4),
        (json!({ "kind": "sign" }), 0),
    ] {
        assert!(with_byte(&config, 100, scale + 3, 0xbf).is_err(), "{config}: a negative scale");
        let mut compressor = compressor::<f32>(&config, 100);
        let mut bytes = packed(&mut *compressor, &normal(100, 1), key(0));
        for bad in [f32::NAN, f32::INFINITY] {
            bytes[HEADER + scale..][..4].copy_from_slice(&bad.to_le_bytes());
            let (packet, _) = Packet::split(&bytes).expect("a header as it was");
            let result = compressor.decode_add(packet, key(0), 1.0, &mut vec![0.0; 100]);
            assert!(result.is_err(), "{config}: the scale {bad}");
        }
    }
    assert!(with_byte(&dithering(5), 2, 12, 0x65).is_err(), "level 6 of 5");
    assert!(with_byte(&dithering(5), 2, 12, 0xd5).is_ok(), "levels 5 and -5");
    assert!(with_byte(&dithering(7), 1, 12, 0x17).is_err(), "a symbol too many");
    assert!(with_byte(&json!({ "kind": "ternary" }), 3, 8, 27).is_err(), "a trit too many");
    assert!(with_byte(&json!({ "kind": "ternary" }), 5, 8, 243).is_err(), "no five trits");
    assert!(with_byte(&json!({ "kind": "sign" }), 4, 4, 0x10).is_err(), "a sign too many");
    assert!(with_byte(&json!({ "kind": "natural" }), 4, 1, 0x7f).is_err(), "an exponent of 32,000");
}

#[test]
fn parameters_without_a_promise_are_refused() {
    let resolve = |config: Value| compressors::registry().resolve(&config);
    for (config, key) in [
        (
            json!({ "kind": "dithering", "levels": 7, "norm": "l2", "rounding": "nearest" }),
            "rounding",
        ),
        (json!({ "kind": "dithering", "levels": 128, "norm": "l2" }), "levels"),
        (json!({ "kind": "dithering", "levels": 32768 }), "levels"),
        (json!({ "kind": "dithering", "levels": 0 }), "levels"),
        (json!({ "kind": "ternary", "bucket": 0 }), "bucket"),
    ] {
        let error = resolve(config.clone()).expect_err("no promise");
        assert_eq!(error.key, key, "{config}");
    }
    let filled = resolve(json!({ "kind": "dithering", "levels": 7 })).expect("defaults");
    let expected = json!({ "kind": "dithering", "levels": 7, "bucket": 512.0, "norm": "max", "rounding": "stochastic" });
    assert_eq!(filled["norm"], expected["norm"]);
    assert_eq!(filled["bucket"].as_f64(), expected["bucket"].as_f64());
}
