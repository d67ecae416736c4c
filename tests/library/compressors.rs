//! Every registered compressor keeps what it promises: its bound, by Monte Carlo; its packet's
//! length; purity in (vector, key); linearity of what the receiver adds.

use serde_json::{Value, json};

use crate::common::bias::{Bias, assert_unbiased, most_nats, steps};
use crate::common::{
    DIMS, Levels, add_packed, bits, compressor, compressor_examples, key, normal, packed, vectors,
};
use sobaya::compressors::{self, Bound};
use sobaya::packet::{HEADER, Packet};
use sobaya::scalar::Scalar;
use sobaya::vars::dot;

/// What draws of C(v) say.
struct Estimate {
    bias: Bias,
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
        }
        shared = (shared.0 + along, shared.1 + along * along);
    }
    let z = |(sum, squares): (f64, f64), rounding: f64| {
        let variance = ((squares - sum * sum / n) / (n - 1.0)).max(0.0);
        let sum = (sum.abs() - n * rounding).max(0.0);
        if sum == 0.0 { 0.0 } else { sum / (n * variance).sqrt() }
    };
    let bias = match steps(config, v) {
        Some(steps) => Bias::Nats(most_nats(v, &steps, &sums, n)),
        None => {
            let rounding = |v: &F| 2.0 * F::epsilon().wide() * v.wide().abs();
            let coordinates = sums.iter().zip(v).map(|(&sums, v)| z(sums, rounding(v)));
            let all = z(shared, v.iter().map(rounding).sum());
            Bias::StandardErrors(coordinates.fold(all, f64::max))
        }
    };
    let error = errors.iter().sum::<f64>() / n;
    let variance = errors.iter().map(|e| (e - error).powi(2)).sum::<f64>() / (n - 1.0);
    Estimate { bias, error, standard_error: (variance / n).sqrt() }
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
            let (size, bound) = (dot(&v, &v), compressor.bound());
            let draws = match bound {
                Bound::Unbiased { .. } if dim < 100 => 6000,
                Bound::Unbiased { .. } => 2000,
                Bound::Contractive { .. } => 200,
            };
            let Estimate { bias, error, standard_error } = estimate(config, &v, draws);
            let case = format!("{config}, {}, {name} [{dim}]", F::NAME);
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
                assert_unbiased(bias, &case);
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

/// Long vectors make it as sharp as a test of a few seconds can be.
#[test]
fn rounding_to_levels_is_unbiased_to_a_thousandth_of_a_step() {
    let v = normal::<f32>(50_000, 12);
    for config in compressor_examples().iter().filter(|config| config["rounding"] != "nearest") {
        if steps(config, &v).is_some() {
            assert_unbiased(estimate(config, &v, 400).bias, &format!("{config}, long"));
        }
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

fn packs_purely<F: Scalar>(config: &Value) {
    for dim in DIMS {
        let mut one = compressor::<F>(config, dim);
        let mut used = compressor::<F>(config, dim);
        let v = normal::<F>(dim, 4);
        let bytes = packed(&mut *one, &v, key(1));
        let case = format!("{config}, {} [{dim}]", F::NAME);
        let (packet, rest) = Packet::split(&bytes).expect("a packet just written");
        assert_eq!((HEADER + packet.payload.len(), rest.len()), (bytes.len(), 0), "{case}");
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

fn packs_the_same_on_every_processor<F: Scalar>(config: &Value, levels: &Levels) {
    for dim in [1, 100, 5003] {
        let v = normal::<F>(dim, 8);
        levels.agree(&format!("{config}, {} [{dim}]", F::NAME), || {
            let mut compressor = compressor::<F>(config, dim);
            let bytes = packed(&mut *compressor, &v, key(4));
            let mut out = normal::<F>(dim, 9);
            add_packed(&mut *compressor, &bytes, key(4), F::lit(0.3), &mut out);
            (bytes, bits(&out).to_vec())
        });
    }
}

#[test]
fn all_instruction_sets_give_the_same_bytes() {
    // Tests beside this one may then run at any level: they must not notice.
    let levels = Levels::of("packets of all compressors");
    for config in compressor_examples() {
        packs_the_same_on_every_processor::<f32>(&config, &levels);
        packs_the_same_on_every_processor::<f64>(&config, &levels);
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
