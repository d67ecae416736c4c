//! Whether means of random roundings are what they should be, and how sure that is.

use serde_json::Value;

use sobaya::scalar::Scalar;
use sobaya::vars::dot;

/// How far means of C(v) are from v.
pub enum Bias {
    /// Of compressors that round each entry to one of two levels, independently: the largest n KL(f, p)
    /// of a coordinate or group, f the share of n roundings that went up and p what it should be.
    ///
    /// A share as far off has a probability of at most e^(-n KL) on either side, exactly and for any p
    /// (Hoeffding, JASA 1963, theorem 1; different p are replaced by their mean). No variance is
    /// estimated, so that levels which are hardly ever taken need no exception.
    Nats(f64),
    /// Of others: the largest deviation of a coordinate's mean, or of that of
    /// sum_j sign(v_j) C(v)_j, in standard errors.
    StandardErrors(f64),
}

/// Some 100,000 coordinates and groups are compared (8 compressors, 2 precisions, 5 vectors, 1,200
/// entries): that one of unbiased roundings is above has a probability of at most
/// 2 e^-17 100,000 = 0.8 % (Bonferroni). A bias b of a level's step is seen in n roundings from about
/// b = sqrt(34 p (1 - p) / n) on: 3.8 % at worst of one coordinate in 6,000 draws, and in
/// 400 draws of 50,000 coordinates 0.07 % where all share it, 0.2 % where an eighth does.
const MOST_NATS: f64 = 17.0;

/// Supports are the same for all vectors and precisions, so that some 20,000 means differ: that one
/// of unbiased ones is above has a probability of 1.2 %.
const MOST_STANDARD_ERRORS: f64 = 5.0;

/// The distance of the two levels around each entry, for compressors that round to levels.
pub fn steps<F: Scalar>(config: &Value, v: &[F]) -> Option<Vec<f64>> {
    let levels = match config["kind"].as_str() {
        Some("dithering") => config["levels"].as_f64()?,
        Some("ternary") => 1.0,
        Some("natural") => {
            let binade = |v: &F| 2f64.powf(v.wide().abs().log2().floor());
            return Some(v.iter().map(binade).collect());
        }
        _ => return None,
    };
    let bucket = config["bucket"].as_u64().unwrap_or(512) as usize;
    let of_bucket = |v: &[F]| {
        let largest = v.iter().fold(0.0, |largest: f64, v| largest.max(v.wide().abs()));
        let scale = if config["norm"] == "l2" { dot(v, v).sqrt() } else { largest };
        vec![scale / levels; v.len()]
    };
    Some(v.chunks(bucket).flat_map(of_bucket).collect())
}

/// The largest n KL of a coordinate, of all, of each eighth of the way between two levels, and of
/// every eighth entry. `sums`: of v - C(v) over n draws.
pub fn most_nats<F: Scalar>(v: &[F], steps: &[f64], sums: &[(f64, f64)], n: f64) -> f64 {
    let mut groups = [(0.0, 0.0, 0.0, 0.0f64); 17];
    let mut most = 0.0f64;
    for (j, ((v, &step), &(sum, _))) in v.iter().zip(steps).zip(sums).enumerate() {
        if v.wide() == 0.0 {
            assert_eq!(sum, 0.0, "0 became something else");
            continue;
        }
        let position = v.wide().abs() / step;
        let (level, p) = (position.floor(), position.fract());
        let share = position - sum / n * v.wide().signum() / step - level;
        assert!((-1e-2..1.01).contains(&share), "{v} went beyond the levels around it");
        // What 16 bits of a draw and rounding may do to a probability.
        let tolerance = 2f64.powi(-17) + 8.0 * position.max(1.0) * F::epsilon().wide();
        most = most.max(n * kl(share, p, tolerance));
        for group in [0, 1 + (8.0 * p) as usize, 9 + j % 8] {
            let (size, shares, ps, most) = groups[group];
            groups[group] = (size + 1.0, shares + share, ps + p, tolerance.max(most));
        }
    }
    for (size, shares, ps, tolerance) in groups.into_iter().filter(|group| group.0 > 0.0) {
        most = most.max(n * size * kl(shares / size, ps / size, tolerance));
    }
    most
}

/// KL of coins that fall up with the probabilities `f` and `p`, for the nearest p within the tolerance.
fn kl(f: f64, p: f64, tolerance: f64) -> f64 {
    let f = f.clamp(0.0, 1.0);
    let p = f.clamp(p - tolerance, p + tolerance).clamp(0.0, 1.0);
    let term = |f: f64, p: f64| if f > 0.0 { f * (f / p).ln() } else { 0.0 };
    term(f, p) + term(1.0 - f, 1.0 - p)
}

pub fn assert_unbiased(bias: Bias, case: &str) {
    match bias {
        Bias::Nats(nats) => assert!(nats < MOST_NATS, "{case}: roundings are {nats} nats off"),
        Bias::StandardErrors(z) => {
            assert!(z < MOST_STANDARD_ERRORS, "{case}: a mean is {z} standard errors off");
        }
    }
}
