//! How few bytes could have said the same.

use std::collections::HashMap;

use serde_json::Value;

use crate::packet::{DecodeError, Packet};
use crate::scalar::Scalar;
use crate::vars::norm;

/// Bytes that the information in a packet takes at least, without any header.
///
/// - Support from the key (rand-k, rand-block, bernoulli) or all coordinates (identity): the
///   values as they are, K numbers of the run's precision. Multi-step: the sum over its rounds.
/// - Support from the data (top-k): log2 C(d, K) bits for a uniform K-subset, and K values of the
///   `bits` in the parameters (or of the precision), signs included, scales not. A support that is
///   not uniform may take less.
/// - Quantisers of all coordinates (natural, dithering, ternary, sign): d H bits, where H is the
///   entropy of the symbols' frequencies in this packet, and the scales as they are, one a bucket.
///   The symbol is the value itself for natural, the signed level for dithering and ternary, the sign
///   for sign. An adaptive code that finds dependence between neighbours may do with less.
///
/// `None` for other compressors.
pub fn bytes<F: Scalar>(resolved: &Value, v: &[F], value: &[F], packet: Packet<'_>) -> Option<f64> {
    let (dim, count) = (v.len(), packet.header.count);
    let raw = (count * F::BYTES) as f64;
    match resolved["kind"].as_str()? {
        "identity" | "rand-k" | "rand-block" | "bernoulli" => Some(raw),
        "multi-step" if resolved["supports"] == "disjoint" => Some(raw),
        "multi-step" => rounds(packet)
            .ok()?
            .into_iter()
            .try_fold(0.0, |sum, round| Some(sum + bytes(&resolved["inner"], v, value, round)?)),
        "top-k" => {
            let bits = resolved["bits"].as_f64().unwrap_or(8.0 * F::BYTES as f64);
            Some((log2_subsets(dim, count) + count as f64 * bits) / 8.0)
        }
        "natural" => Some(entropy_bytes(value.iter().map(|c| c.wide().to_bits() as i64))),
        "sign" => Some(entropy_bytes(value.iter().map(|c| sign(*c))) + F::BYTES as f64),
        "ternary" => {
            let scales = dim.div_ceil(bucket(resolved, dim)?) * F::BYTES;
            Some(entropy_bytes(value.iter().map(|c| sign(*c))) + scales as f64)
        }
        "dithering" => {
            let bucket = bucket(resolved, dim)?;
            let levels = resolved["levels"].as_f64()?;
            let size = if resolved["norm"] == "l2" { norm } else { largest };
            let symbols = v.chunks(bucket).zip(value.chunks(bucket)).flat_map(|(v, value)| {
                let level = levels / size(v).max(f64::MIN_POSITIVE);
                value.iter().map(move |c| (c.wide() * level).round() as i64)
            });
            Some(entropy_bytes(symbols) + (dim.div_ceil(bucket) * F::BYTES) as f64)
        }
        _ => None,
    }
}

/// The packets in a packet.
fn rounds(packet: Packet<'_>) -> Result<Vec<Packet<'_>>, DecodeError> {
    let (mut rounds, mut rest) = (vec![], packet.payload);
    while !rest.is_empty() {
        let round;
        (round, rest) = Packet::split(rest)?;
        rounds.push(round);
    }
    Ok(rounds)
}

fn bucket(resolved: &Value, dim: usize) -> Option<usize> {
    Some(resolved["bucket"].as_u64()?.clamp(1, dim as u64) as usize)
}

fn sign<F: Scalar>(c: F) -> i64 {
    i64::from(c > F::zero()) - i64::from(c < F::zero())
}

fn largest<F: Scalar>(v: &[F]) -> f64 {
    v.iter().fold(0.0, |most, v| most.max(v.wide().abs()))
}

/// n H / 8 of n symbols.
fn entropy_bytes(symbols: impl Iterator<Item = i64>) -> f64 {
    let mut counts = HashMap::<i64, u64>::new();
    symbols.for_each(|symbol| *counts.entry(symbol).or_default() += 1);
    let mut counts: Vec<f64> = counts.into_values().map(|count| count as f64).collect();
    // The sum must not depend on the order of a hash table.
    counts.sort_by(f64::total_cmp);
    let all: f64 = counts.iter().sum();
    counts.iter().map(|count| count * (all / count).log2()).sum::<f64>() / 8.0
}

/// log2 of the number of K-subsets of 0..d.
fn log2_subsets(dim: usize, count: usize) -> f64 {
    let fewer = count.min(dim - count);
    (0..fewer).map(|i| ((dim - i) as f64 / (fewer - i) as f64).log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_are_counted() {
        assert!((log2_subsets(10, 3) - 120f64.log2()).abs() < 1e-12);
        assert_eq!((log2_subsets(10, 10), log2_subsets(10, 0)), (0.0, 0.0));
        // 10,098 bytes for 1 % of a million (Stirling).
        assert!((log2_subsets(1_000_000, 10_000) / 8.0 - 10_098.0).abs() < 1.0);
    }

    #[test]
    fn entropy_is_that_of_the_frequencies() {
        assert_eq!(entropy_bytes((0..1024).map(|i| i % 16)), 512.0);
        assert_eq!(entropy_bytes((0..1024).map(|_| 3)), 0.0);
        let quarter = (0..1000).map(|i| i64::from(i % 4 == 0));
        assert!((entropy_bytes(quarter) - 125.0 * 0.811_278_124_459_133).abs() < 1e-9);
    }
}
