//! Every registered compressor keeps what it promises: its bound, by Monte Carlo; its packet's
//! length; purity in (vector, key); linearity of what the receiver adds.

mod common;

use rand_distr::{Distribution, StudentT};
use serde_json::{Value, json};

use common::{add_packed, bits, compressor, compressor_examples, key, normal, packed};
use sobaya::compressors::{self, Bound, Compressor, Site};
use sobaya::packet::{HEADER, Packet};
use sobaya::scalar::Scalar;
use sobaya::simd::Level;
use sobaya::vars::{Layout, dot};

const DIMS: [usize; 6] = [1, 2, 63, 64, 65, 1000];

/// Vectors on which compressors differ.
fn vectors<F: Scalar>(dim: usize) -> [(&'static str, Vec<F>); 5] {
    let student = StudentT::new(2.0).expect("two degrees of freedom");
    let mut rng = key(0).numbered(1).rng();
    let spike = |j: usize| F::lit(if j == dim / 2 { 1.0 } else { 1e-3 });
    [
        ("normal", normal(dim, 2)),
        ("heavy-tailed", (0..dim).map(|_| F::lit(student.sample(&mut rng))).collect()),
        ("spiky", (0..dim).map(spike).collect()),
        ("zero", vec![F::zero(); dim]),
        ("tied", (0..dim).map(|j| F::lit([-1.0, 1.0, 0.5][j % 3])).collect()),
    ]
}

/// What draws of C(v) say.
struct Estimate {
    /// Largest deviation of a coordinate's mean from v_j, in standard errors.
    bias: f64,
    /// The same of the mean of sum_j sign(v_j) C(v)_j, which sees what all coordinates share.
    shrinkage: f64,
    /// Mean of |C(v) - v|^2.
    error: f64,
    /// Its standard error.
    standard_error: f64,
}

fn estimate<F: Scalar>(config: &Value, v: &[F], draws: u64) -> Estimate {
    let compressor = &mut *compressor::<F>(config, v.len());
    let n = draws as f64;
    let mut sums = vec![(0.0, 0.0); v.len()];
    let mut shared = (0.0, 0.0);
    let mut largest = 0.0f64;
    let mut errors = vec![];
    for draw in 0..draws {
        let mut off = v.to_vec();
        let bytes = packed(compressor, v, key(draw));
        add_packed(compressor, &bytes, key(draw), -F::one(), &mut off);
        errors.push(dot(&off, &off));
        let mut along = 0.0;
        for (((sum, squares), off), v) in sums.iter_mut().zip(&off).zip(v) {
            *sum += off.wide();
            *squares += off.wide().powi(2);
            along += off.wide() * v.wide().signum();
            largest = largest.max(off.wide().abs());
        }
        shared = (shared.0 + along, shared.1 + along * along);
    }
    let z = |(sum, squares): (f64, f64), rounding: f64| {
        let variance = ((squares - sum * sum / n) / (n - 1.0)).max(0.0);
        let sum = (sum.abs() - n * rounding).max(0.0);
        if sum == 0.0 { 0.0 } else { sum / (n * variance).sqrt() }
    };
    let rounding = |v: &F| 2.0 * F::epsilon().wide() * v.wide().abs();
    let error = errors.iter().sum::<f64>() / n;
    let variance = errors.iter().map(|e| (e - error).powi(2)).sum::<f64>() / (n - 1.0);
    // An entry that jumps to its other level in a few draws only has no normal mean, and no variance
    // at all where that never happened.
    let rare = |sum: f64, v: f64| sum.abs() < 12.0 * longest_jump(config, v, largest);
    let bias = (sums.iter().zip(v).filter(|((sum, _), v)| !rare(*sum, v.wide())))
        .map(|(&sums, v)| z(sums, rounding(v)))
        .fold(0.0, f64::max);
    let shrinkage = z(shared, v.iter().map(rounding).sum());
    Estimate { bias, shrinkage, error, standard_error: (variance / n).sqrt() }
}

/// The distance of an entry's two levels, for compressors that may take one of them hardly ever.
fn longest_jump(config: &Value, v: f64, largest: f64) -> f64 {
    match config["kind"].as_str() {
        Some("dithering" | "ternary") => largest,
        Some("natural") => v.abs(),
        _ => 0.0,
    }
}

/// Compressors whose error is omega |v|^2 for every v, not only at most that.
fn meets_its_bound(config: &Value) -> bool {
    let sparsifiers = ["rand-k", "rand-block", "bernoulli"];
    [&config["kind"], &config["inner"]["kind"]]
        .iter()
        .any(|kind| sparsifiers.iter().any(|s| kind == s))
}

fn keeps_its_bound<F: Scalar>(config: &Value) {
    for dim in DIMS {
        let compressor = compressor::<F>(config, dim);
        for (name, v) in vectors::<F>(dim) {
            let Estimate { bias, shrinkage, error, standard_error } = estimate(config, &v, 2000);
            let case = format!("{config}, {}, {name} [{dim}]", F::NAME);
            let (size, bound) = (dot(&v, &v), compressor.bound());
            let most = size
                * match bound {
                    Bound::Unbiased { omega } => omega,
                    Bound::Contractive { delta } => 1.0 - delta,
                };
            // Rounding matters only where the error is the same in every draw.
            let tolerance = 3.0 * standard_error + 1e-12 * size;
            assert!(error <= most + tolerance, "{case}: {error} +- {standard_error} over {most}");
            if meets_its_bound(config) {
                let off = (error - most).abs();
                assert!(off <= tolerance, "{case}: {error} +- {standard_error}, promised {most}");
            }
            if let Bound::Unbiased { .. } = bound {
                assert!(bias < 4.5, "{case}: a mean is {bias} standard errors off");
                assert!(shrinkage < 4.5, "{case}: the sum is {shrinkage} standard errors off");
            }
        }
    }
}

#[test]
fn bounds_hold() {
    for config in compressor_examples() {
        keeps_its_bound::<f32>(&config);
        keeps_its_bound::<f64>(&config);
    }
}

#[test]
fn more_rounds_leave_the_variance_that_theory_says() {
    let v = normal::<f64>(1000, 3);
    for (rounds, theory) in [(2, 4.263), (4, 1.908), (8, 0.7558), (16, 0.2274)] {
        let inner = json!({ "kind": "rand-k", "ratio": 0.1 });
        let config = json!({ "kind": "multi-step", "rounds": rounds, "inner": inner });
        let compressor = compressor::<f64>(&config, 1000);
        let Bound::Unbiased { omega } = compressor.bound() else {
            panic!("multi-step is unbiased")
        };
        assert!((omega - theory).abs() < 6e-4, "{rounds} rounds: {omega}, theory {theory}");
        let Estimate { error, standard_error, .. } = estimate(&config, &v, 4000);
        let (seen, sigma) = (error / dot(&v, &v), standard_error / dot(&v, &v));
        assert!((seen - omega).abs() < 3.0 * sigma, "{rounds} rounds: {seen} +- {sigma}");
    }
}

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
        let config = json!({ "kind": "top-k", "ratio": ratio, "bits": 4 });
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
    let kinds = compressor_examples().into_iter().filter(|config| config["kind"] == "top-k");
    for (config, dim) in kinds.flat_map(|config| [(config.clone(), 1000), (config, 30_000)]) {
        for (name, v) in vectors::<f32>(dim) {
            let outcome = |level| {
                Level::at_most(level);
                let mut compressor = compressor::<f32>(&config, dim);
                let bytes = packed(&mut *compressor, &v, key(0));
                let mut sum = vec![0.1; dim];
                add_packed(&mut *compressor, &bytes, key(0), 0.3, &mut sum);
                (bytes, bits(&sum).to_vec())
            };
            let first = outcome(Level::Baseline);
            for level in [Level::Avx2, Level::Avx512] {
                assert!(outcome(level) == first, "{config}, {name} [{dim}], {}", level.name());
            }
        }
    }
}

fn packs_purely<F: Scalar>(config: &Value) {
    for dim in DIMS {
        let mut one = compressor::<F>(config, dim);
        let mut used = compressor::<F>(config, dim);
        let v = normal::<F>(dim, 4);
        let bytes = packed(&mut *one, &v, key(1));
        let case = format!("{config}, {} [{dim}]", F::NAME);
        let (packet, rest) = Packet::split(&bytes).expect("a packet just written");
        assert_eq!((packet.wire_len(), rest.len()), (bytes.len(), 0), "{case}");
        assert_eq!(packet.header.dim, dim, "{case}");
        assert!(bytes.len() <= one.max_packet(), "{case}: {} bytes", bytes.len());

        // Behind other bytes, and by a compressor that has seen other vectors and keys.
        packed(&mut *used, &normal::<F>(dim, 5), key(2));
        add_packed(&mut *used, &bytes, key(1), F::one(), &mut v.clone());
        let mut appended = vec![42; 5];
        used.encode(&v, key(1), &mut appended).expect("a finite vector");
        assert_eq!((&appended[..5], &appended[5..]), (&[42; 5][..], &bytes[..]), "{case}");
    }
}

#[test]
fn packets_are_pure_and_no_longer_than_said() {
    for config in compressor_examples() {
        packs_purely::<f32>(&config);
        packs_purely::<f64>(&config);
    }
}

fn packs_the_same_on_every_processor<F: Scalar>(config: &Value) {
    for dim in [1, 100, 5003] {
        let v = normal::<F>(dim, 8);
        let results = Level::ALL.map(|level| {
            Level::at_most(level);
            let mut compressor = compressor::<F>(config, dim);
            let bytes = packed(&mut *compressor, &v, key(4));
            let mut out = normal::<F>(dim, 9);
            add_packed(&mut *compressor, &bytes, key(4), F::lit(0.3), &mut out);
            (bytes, bits(&out).to_vec())
        });
        assert!(results.iter().all(|r| *r == results[0]), "{config}, {} [{dim}]", F::NAME);
    }
}

#[test]
fn all_instruction_sets_give_the_same_bytes() {
    // Tests beside this one may then run at any level: they must not notice.
    for config in compressor_examples() {
        packs_the_same_on_every_processor::<f32>(&config);
        packs_the_same_on_every_processor::<f64>(&config);
    }
}

fn packets_add_up<F: Scalar>(config: &Value) -> bool {
    let (u, v) = (normal::<F>(1000, 10), normal::<F>(1000, 11));
    let mut compressor = compressor::<F>(config, 1000);
    let Some(count) = compressor.summable() else { return false };
    let [first, second] = [&u, &v].map(|v| packed(&mut *compressor, v, key(5)));
    assert_eq!(first.len(), HEADER + count * F::BYTES, "{config}");
    let mut sum = first.clone();
    for (sum, v) in
        sum[HEADER..].chunks_exact_mut(F::BYTES).zip(second[HEADER..].chunks_exact(F::BYTES))
    {
        let added: F = bytemuck::pod_read_unaligned::<F>(sum) + bytemuck::pod_read_unaligned(v);
        sum.copy_from_slice(bytemuck::bytes_of(&added));
    }
    let [mut separate, mut together] = [(); 2].map(|()| vec![F::zero(); 1000]);
    for bytes in [&first, &second] {
        add_packed(&mut *compressor, bytes, key(5), F::one(), &mut separate);
    }
    add_packed(&mut *compressor, &sum, key(5), F::one(), &mut together);
    for (separate, together) in separate.iter().zip(&together) {
        let tolerance = F::lit(100.0) * F::epsilon();
        assert!((*separate - *together).abs() < tolerance, "{config}: {separate} {together}");
    }
    true
}

#[test]
fn payloads_of_summable_compressors_add_up() {
    for config in compressor_examples() {
        let summable = packets_add_up::<f32>(&config);
        assert_eq!(packets_add_up::<f64>(&config), summable);
        let shared = config["shared"] == true || config["inner"]["shared"] == true;
        assert_eq!(summable, shared || config["kind"] == "identity", "{config}");
    }
}

/// Whether C(v)_j is v_j times a constant or zero, whatever the other entries.
fn is_sparsifier(config: &Value) -> bool {
    let kinds = ["identity", "rand-k", "rand-block", "bernoulli"];
    kinds.iter().any(|kind| config["kind"] == *kind) || config["supports"] == "disjoint"
}

fn refuses_what_it_would_send<F: Scalar>(config: &Value) {
    let mut compressor = compressor::<F>(config, 65);
    let v = vec![F::one(); 65];
    for (draw, bad) in
        [F::nan(), F::infinity(), -F::infinity()].into_iter().cycle().take(60).enumerate()
    {
        let (draw, at) = (draw as u64, 13 * draw % 65);
        let mut value = vec![F::zero(); 65];
        let bytes = packed(&mut *compressor, &v, key(draw));
        add_packed(&mut *compressor, &bytes, key(draw), F::one(), &mut value);
        let mut v = v.clone();
        v[at] = bad;
        let refused = compressor.encode(&v, key(draw), &mut vec![]).is_err();
        assert_eq!(refused, value[at] != F::zero(), "{config}: {bad} at {at}");
    }
}

#[test]
fn sparsifiers_refuse_entries_that_are_not_finite_where_they_send_them() {
    for config in compressor_examples().iter().filter(|config| is_sparsifier(config)) {
        refuses_what_it_would_send::<f32>(config);
        refuses_what_it_would_send::<f64>(config);
    }
}

#[test]
fn disjoint_rounds_are_one_draw_of_all_their_coordinates() {
    for (ratio, rounds, omega) in [(0.1, 3, 7.0 / 3.0), (0.2, 5, 0.0), (0.4, 3, 0.0)] {
        let inner = json!({ "kind": "rand-k", "ratio": ratio });
        let config = json!({ "kind": "multi-step", "rounds": rounds, "supports": "disjoint", "inner": inner });
        let Bound::Unbiased { omega: seen } = compressor::<f32>(&config, 1000).bound() else {
            panic!("multi-step is unbiased")
        };
        assert!((seen - omega).abs() < 1e-12, "{rounds} rounds of {ratio}: {seen}");
    }
    let identity = json!({ "kind": "multi-step", "rounds": 2, "supports": "disjoint", "inner": { "kind": "identity" } });
    let refused = compressors::registry().resolve(&identity).expect_err("identity has no supports");
    assert_eq!(refused.key, "inner.kind");
}

#[test]
fn kinds_have_different_numbers_on_the_wire() {
    let mut numbers: Vec<(u8, String)> = (compressor_examples().iter())
        .map(|config| {
            let bytes = packed(&mut *compressor::<f32>(config, 10), &[1.0; 10], key(0));
            (bytes[2], config["kind"].to_string())
        })
        .collect();
    numbers.sort();
    numbers.dedup();
    assert!(numbers.windows(2).all(|pair| pair[0].0 != pair[1].0), "{numbers:?}");
}

fn adds_a_multiple<F: Scalar>(config: &Value) {
    for dim in DIMS {
        let mut compressor = compressor::<F>(config, dim);
        let v = normal::<F>(dim, 6);
        let bytes = packed(&mut *compressor, &v, key(3));
        let mut onto = |base: &[F], scale: f64| {
            let mut out = base.to_vec();
            add_packed(&mut *compressor, &bytes, key(3), F::lit(scale), &mut out);
            out
        };
        let case = format!("{config}, {} [{dim}]", F::NAME);
        let zero = vec![F::zero(); dim];
        let value = onto(&zero, 1.0);
        // Exact: powers of two do not round.
        for scale in [-4.0, 0.125] {
            let expected: Vec<F> = value.iter().map(|&c| F::lit(scale) * c).collect();
            let seen = onto(&zero, scale);
            assert!(seen.iter().zip(&expected).all(|(s, e)| s == e), "{case}: {scale} C(v)");
        }
        let base = normal::<F>(dim, 7);
        // Each round is added on its own, and may be larger than all of them together.
        let roundings = F::lit(config["rounds"].as_f64().map_or(1.0, |rounds| 2.0 * rounds));
        for ((&sum, &base), &c) in onto(&base, 1.0).iter().zip(&base).zip(&value) {
            let off = (sum - (base + c)).abs();
            assert!(
                off <= roundings * F::epsilon() * (base.abs() + c.abs()),
                "{case}: {base} + {c} = {sum}"
            );
            assert!(c != F::zero() || sum == base, "{case}: {base} became {sum}");
        }
    }
}

#[test]
fn decoding_adds_a_multiple_of_the_value() {
    for config in compressor_examples() {
        adds_a_multiple::<f32>(&config);
        adds_a_multiple::<f64>(&config);
    }
}

#[test]
fn rand_k_sends_values_alone_on_a_support_from_the_key() {
    let mut compressor = compressor::<f32>(&json!({ "kind": "rand-k", "ratio": 0.1 }), 1000);
    let v = vec![1.0; 1000];
    let mut support = |iteration| {
        let bytes = packed(&mut *compressor, &v, key(iteration));
        assert_eq!(bytes.len(), HEADER + 4 * 100);
        let mut value = vec![0.0; 1000];
        add_packed(&mut *compressor, &bytes, key(iteration), 1.0, &mut value);
        assert!(value.iter().all(|&c| c == 0.0 || c == 10.0));
        value
    };
    let same = |a: &[f32], b: &[f32]| a.iter().zip(b).filter(|(a, b)| a == b).count();
    let (first, second) = (support(1), support(2));
    assert_eq!(first.iter().filter(|&&c| c != 0.0).count(), 100);
    assert_eq!(same(&first, &support(1)), 1000);
    // About 10 of 100 positions in common.
    assert!((800..860).contains(&same(&first, &second)), "{}", same(&first, &second));
}
