//! Top-k: what it selects, what its codes lose, which code of the positions it takes.

use serde_json::{Value, json};

use crate::common::{
    DIMS, Levels, add_packed, bits, compressor, compressor_examples, key, normal, packed, vectors,
};
use sobaya::compressors::{self, Bound, Compressor, Site};
use sobaya::packet::{HEADER, Packet};
use sobaya::scalar::Scalar;
use sobaya::vars::{Layout, dot};

/// Positions and values of a top-k packet: values as they are, then 16-bit positions.
fn top_k<F: Scalar>(v: &[F], ratio: f64) -> Vec<(u32, F)> {
    let config = json!({ "kind": "top-k", "ratio": ratio, "index": "raw" });
    let mut compressor = compressor::<F>(&config, v.len());
    let bytes = packed(&mut *compressor, v, key(0));
    let (packet, _) = Packet::split(&bytes).expect("a packet just written");
    let (values, positions) = packet.payload.split_at(F::BYTES * packet.header.count);
    let positions: Vec<u32> = match packet.header.count == v.len() {
        true => (0..v.len() as u32).collect(),
        false => {
            positions.chunks_exact(2).map(|p| u16::from_le_bytes([p[0], p[1]]).into()).collect()
        }
    };
    let values = values.chunks_exact(F::BYTES).map(bytemuck::pod_read_unaligned);
    assert_eq!(positions.len(), values.len());
    positions.into_iter().zip(values).collect()
}

fn top_k_is_a_stable_sort<F: Scalar>() {
    let tiny = F::min_positive_value() * F::lit(0.25);
    let special = [F::zero(), -F::zero(), tiny, -tiny, tiny * F::lit(0.5), F::one(), -F::one()];
    for dim in DIMS {
        let mixed = (0..dim).map(|j| special[j * j % 7]).collect();
        let zeros = (0..dim).map(|j| special[j % 2]).collect();
        let cases = vectors::<F>(dim).into_iter().chain([("mixed", mixed), ("zeros", zeros)]);
        for ((name, v), ratio) in
            cases.flat_map(|case| [0.1, 0.5, 0.9, 1.0].map(|r| (case.clone(), r)))
        {
            let count = ((ratio * dim as f64).round() as usize).max(1);
            let mut order: Vec<usize> = (0..dim).collect();
            order.sort_by(|&i, &j| v[j].wide().abs().total_cmp(&v[i].wide().abs()));
            order.truncate(count);
            order.sort_unstable();
            let (positions, values): (Vec<u32>, Vec<F>) = top_k(&v, ratio).into_iter().unzip();
            let expected: Vec<F> = order.iter().map(|&j| v[j]).collect();
            let order: Vec<u32> = order.into_iter().map(|j| j as u32).collect();
            assert_eq!(positions, order, "{name} [{dim}] at {ratio}, {}", F::NAME);
            assert_eq!(bits(&values), bits(&expected), "{name} [{dim}] at {ratio}, {}", F::NAME);
        }
    }
}

#[test]
fn top_k_takes_the_largest_and_of_ties_the_first() {
    top_k_is_a_stable_sort::<f32>();
    top_k_is_a_stable_sort::<f64>();
}

/// |C(v) - v|^2 and |v|^2 of a compressor that does not draw.
fn error_and_size(compressor: &mut dyn Compressor<f32>, v: &[f32]) -> (f64, f64) {
    let mut off = v.to_vec();
    let bytes = packed(compressor, v, key(0));
    add_packed(compressor, &bytes, key(0), -1.0, &mut off);
    (dot(&off, &off), dot(v, v))
}

#[test]
fn top_k_with_few_bits_keeps_its_promise_on_long_vectors_too() {
    let dim = 20_000;
    let tiny = f32::MIN_POSITIVE * 1e-3;
    let more = [
        ("steep", (0..dim).map(|j| 0.999f32.powi(j as i32)).collect()),
        ("two scales", (0..dim).map(|j| if j % 8 == 0 { 1.0 } else { 0.016 }).collect()),
        ("subnormal", normal::<f32>(dim, 2).iter().map(|v| tiny * v).collect()),
        ("sparse", (0..dim).map(|j| if j % 50 == 0 { -2.5 } else { 0.0 }).collect()),
    ];
    let cases: Vec<(&str, Vec<f32>)> = vectors(dim).into_iter().chain(more).collect();
    for (bits, ratio) in [32, 16, 8, 4, 1].into_iter().flat_map(|b| [(b, 0.01), (b, 0.3), (b, 1.0)])
    {
        let config = json!({ "kind": "top-k", "ratio": ratio, "bits": bits });
        let mut compressor = compressor::<f32>(&config, dim);
        let Bound::Contractive { delta } = compressor.bound() else { panic!("it is contractive") };
        for (name, v) in &cases {
            let (error, size) = error_and_size(&mut *compressor, v);
            let most = if *name == "subnormal" { size } else { (1.0 - delta) * size };
            assert!(error <= most + 1e-12 * size, "{config}, {name}: {error} of {size}, {delta}");
        }
    }
}

/// alpha 4^b, the distance to the rate-distortion bound of normal vectors, is 1 at least: alpha the
/// relative error, b the bits of a packet per coordinate.
#[test]
fn top_k_in_four_bits_is_near_the_rate_distortion_bound() {
    let dim = 1_000_000;
    let v = normal::<f32>(dim, 7);
    for (ratio, most) in [(0.1, 2.0), (0.01, 1.1)] {
        let config = json!({ "kind": "top-k", "ratio": ratio, "bits": 4, "index": "rice" });
        let mut compressor = compressor::<f32>(&config, dim);
        let bits = 8.0 * packed(&mut *compressor, &v, key(0)).len() as f64 / dim as f64;
        let (error, size) = error_and_size(&mut *compressor, &v);
        let distance = error / size * 4f64.powf(bits);
        assert!((1.0..most).contains(&distance), "{ratio}: {distance}, {bits} bits");
    }
}

#[test]
fn top_k_by_layer_takes_the_largest_of_each_matrix() {
    let layout = Layout::new([[30, 4], [1, 1], [0, 9], [50, 10], [7, 1]]);
    let v: Vec<f32> =
        (0..628).map(|j| ((j * 37 % 101) as f32 - 50.5) * [1.0, 100.0][j / 400]).collect();
    let config = json!({ "kind": "top-k", "ratio": 0.1, "scope": "layer" });
    let mut compressor: Box<dyn Compressor<f32>> =
        compressors::registry().build(&config, Site::new(&layout)).expect("a valid config");
    let mut value = vec![0.0; 628];
    let bytes = packed(&mut *compressor, &v, key(0));
    add_packed(&mut *compressor, &bytes, key(0), 1.0, &mut value);
    let mut expected = vec![0.0; 628];
    for (from, to, count) in [(0, 120, 12), (120, 121, 1), (121, 621, 50), (621, 628, 1)] {
        let mut order: Vec<usize> = (from..to).collect();
        order.sort_by(|&i, &j| v[j].abs().total_cmp(&v[i].abs()));
        order[..count].iter().for_each(|&j| expected[j] = v[j]);
    }
    assert_eq!(value, expected);
    assert_eq!(compressor.bound(), Bound::Contractive { delta: 12.0 / 120.0 });
}

#[test]
fn top_k_refuses_what_its_precision_and_numbers_do_not_allow() {
    let build = |key: &str, value: Value| {
        let mut config = json!({ "kind": "top-k", "ratio": 0.1 });
        config[key] = value;
        compressors::registry().build::<f32>(&config, Site::new(&Layout::flat(10))).err()
    };
    assert_eq!(build("bits", json!(64)).expect("an error").key, "bits");
    assert!(build("bits", json!(2)).is_some() && build("bits", json!(4)).is_none());
    assert!(build("index", json!("rice")).is_none() && build("scope", json!("row")).is_some());
}

/// Fast links get positions, slow ones Rice codes.
#[test]
fn top_k_chooses_the_index_code_by_the_link() {
    let length = |index: &str, link_gbit| {
        let config = json!({ "kind": "top-k", "ratio": 0.1, "index": index });
        let layout = Layout::flat(1000);
        let site = Site { layout: &layout, link_gbit };
        let mut compressor = compressors::registry().build::<f32>(&config, site).expect("valid");
        packed(&mut *compressor, &normal(1000, 8), key(0)).len()
    };
    assert_eq!(length("auto", 10.0), length("raw", 1.0));
    assert_eq!(length("auto", 1.0), length("rice", 10.0));
    assert!(length("rice", 1.0) < length("raw", 1.0));
}

#[test]
fn packets_of_top_k_are_the_same_on_all_instruction_sets() {
    let levels = Levels::of("packets of top-k");
    let kinds = compressor_examples().into_iter().filter(|config| config["kind"] == "top-k");
    for (config, dim) in kinds.flat_map(|config| [(config.clone(), 1000), (config, 30_000)]) {
        for (name, v) in vectors::<f32>(dim) {
            levels.agree(&format!("{config}, {name} [{dim}]"), || {
                let mut compressor = compressor::<f32>(&config, dim);
                let bytes = packed(&mut *compressor, &v, key(0));
                let mut sum = vec![0.1; dim];
                add_packed(&mut *compressor, &bytes, key(0), 0.3, &mut sum);
                (bytes, bits(&sum).to_vec())
            });
        }
    }
}

/// Of long vectors few positions are shorter in 32 bits than in 16 and a number for every 65,536.
#[test]
fn raw_positions_have_the_shorter_of_two_codes() {
    let dim = 300_000;
    let v = normal::<f32>(dim, 9);
    // Five chunks: 20 bytes, which 2 bytes less for each of ten positions just make up for.
    for (count, code, length) in [(1, 1, 4), (9, 1, 36), (10, 2, 40), (11, 2, 42), (3000, 2, 6020)]
    {
        for (index, link_gbit) in [("raw", 1.0), ("auto", 10.0)] {
            let ratio = f64::from(count) / dim as f64;
            let config = json!({ "kind": "top-k", "ratio": ratio, "index": index });
            let layout = Layout::flat(dim);
            let site = Site { layout: &layout, link_gbit };
            let mut compressor: Box<dyn Compressor<f32>> =
                compressors::registry().build(&config, site).expect("a valid config");
            let bytes = packed(&mut *compressor, &v, key(0));
            let (packet, _) = Packet::split(&bytes).expect("a packet just written");
            let found = (packet.header.count, packet.header.index_code, bytes.len());
            assert_eq!(found, (count as usize, code, HEADER + 4 * count as usize + length));
            assert_eq!(bytes.len(), compressor.max_packet());
            let mut value = vec![0.0; dim];
            add_packed(&mut *compressor, &bytes, key(0), 1.0, &mut value);
            let mut order: Vec<usize> = (0..dim).collect();
            order.sort_by(|&i, &j| v[j].abs().total_cmp(&v[i].abs()));
            let mut expected = vec![0.0; dim];
            order[..count as usize].iter().for_each(|&j| expected[j] = v[j]);
            assert!(value == expected, "{config}");
        }
    }
}
