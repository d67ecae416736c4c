//! Every registered compressor keeps what it promises: its bound, by Monte Carlo; its packet's
//! length; purity in (vector, key); linearity of what the receiver adds.

mod common;

use rand_distr::{Distribution, StudentT};
use serde_json::{Value, json};

use common::{add_packed, bits, compressor, compressor_examples, key, normal, packed};
use sobaya::compressors::{Bound, Compressor};
use sobaya::packet::{HEADER, Packet};
use sobaya::scalar::Scalar;
use sobaya::vars::dot;

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
    /// Mean of |C(v) - v|^2.
    error: f64,
    /// Its standard error.
    standard_error: f64,
}

fn estimate<F: Scalar>(compressor: &mut dyn Compressor<F>, v: &[F], draws: u64) -> Estimate {
    let n = draws as f64;
    let mut sums = vec![(0.0, 0.0); v.len()];
    let mut errors = vec![];
    for draw in 0..draws {
        let mut off = v.to_vec();
        let bytes = packed(compressor, v, key(draw));
        add_packed(compressor, &bytes, key(draw), -F::one(), &mut off);
        errors.push(dot(&off, &off));
        for ((sum, squares), off) in sums.iter_mut().zip(&off) {
            *sum += off.wide();
            *squares += off.wide().powi(2);
        }
    }
    let z = |&(sum, squares): &(f64, f64)| {
        let variance = ((squares - sum * sum / n) / (n - 1.0)).max(0.0);
        if sum == 0.0 { 0.0 } else { sum.abs() / (n * variance).sqrt() }
    };
    let error = errors.iter().sum::<f64>() / n;
    let variance = errors.iter().map(|e| (e - error).powi(2)).sum::<f64>() / (n - 1.0);
    let bias = sums.iter().map(z).fold(0.0, f64::max);
    Estimate { bias, error, standard_error: (variance / n).sqrt() }
}

/// Compressors whose error is omega |v|^2 for every v, not only at most that.
fn meets_its_bound(config: &Value) -> bool {
    config["kind"] == "rand-k" || config["inner"]["kind"] == "rand-k"
}

fn keeps_its_bound<F: Scalar>(config: &Value) {
    let mut compressor = compressor::<F>(config);
    for dim in DIMS {
        for (name, v) in vectors::<F>(dim) {
            let Estimate { bias, error, standard_error } = estimate(&mut *compressor, &v, 2000);
            let case = format!("{config}, {}, {name} [{dim}]", F::NAME);
            let (size, bound) = (dot(&v, &v), compressor.bound(dim));
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
        let mut compressor = compressor::<f64>(&config);
        let Bound::Unbiased { omega } = compressor.bound(1000) else {
            panic!("multi-step is unbiased")
        };
        assert!((omega - theory).abs() < 6e-4, "{rounds} rounds: {omega}, theory {theory}");
        let Estimate { error, standard_error, .. } = estimate(&mut *compressor, &v, 4000);
        let (seen, sigma) = (error / dot(&v, &v), standard_error / dot(&v, &v));
        assert!((seen - omega).abs() < 3.0 * sigma, "{rounds} rounds: {seen} +- {sigma}");
    }
}

/// Positions and values of a top-k packet.
fn top_k<F: Scalar>(v: &[F], ratio: f64) -> Vec<(u32, F)> {
    let mut compressor = compressor::<F>(&json!({ "kind": "top-k", "ratio": ratio }));
    let bytes = packed(&mut *compressor, v, key(0));
    let (packet, _) = Packet::split(&bytes).expect("a packet just written");
    let (positions, values) = packet.payload.split_at(4 * packet.header.count);
    let positions = positions.chunks_exact(4).map(bytemuck::pod_read_unaligned);
    positions.zip(values.chunks_exact(F::BYTES).map(bytemuck::pod_read_unaligned)).collect()
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

fn packs_purely<F: Scalar>(config: &Value) {
    let mut one = compressor::<F>(config);
    let mut used = compressor::<F>(config);
    for dim in DIMS {
        let v = normal::<F>(dim, 4);
        let bytes = packed(&mut *one, &v, key(1));
        let case = format!("{config}, {} [{dim}]", F::NAME);
        let (packet, rest) = Packet::split(&bytes).expect("a packet just written");
        assert_eq!((packet.wire_len(), rest.len()), (bytes.len(), 0), "{case}");
        assert_eq!(packet.header.dim, dim, "{case}");
        assert!(bytes.len() <= one.max_packet(dim), "{case}: {} bytes", bytes.len());

        // Behind other bytes, and by a compressor that has seen other vectors and keys.
        used.encode(&normal::<F>(3 * dim, 5), key(2), &mut vec![]);
        add_packed(&mut *used, &bytes, key(1), F::one(), &mut v.clone());
        let mut appended = vec![42; 5];
        used.encode(&v, key(1), &mut appended);
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

#[test]
fn kinds_have_different_numbers_on_the_wire() {
    let mut numbers: Vec<(u8, String)> = (compressor_examples().iter())
        .map(|config| {
            let bytes = packed(&mut *compressor::<f32>(config), &[1.0; 10], key(0));
            (bytes[2], config["kind"].to_string())
        })
        .collect();
    numbers.sort();
    numbers.dedup();
    assert!(numbers.windows(2).all(|pair| pair[0].0 != pair[1].0), "{numbers:?}");
}

fn adds_a_multiple<F: Scalar>(config: &Value) {
    let mut compressor = compressor::<F>(config);
    for dim in DIMS {
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
        for ((&sum, &base), &c) in onto(&base, 1.0).iter().zip(&base).zip(&value) {
            let off = (sum - (base + c)).abs();
            assert!(off <= F::epsilon() * (base.abs() + c.abs()), "{case}: {base} + {c} = {sum}");
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
    let mut compressor = compressor::<f32>(&json!({ "kind": "rand-k", "ratio": 0.1 }));
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
