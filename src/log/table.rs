//! The end of a run: figures for people and, as summary.json, for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::evaluate::Evaluation;
use crate::net::{LinkBytes, PHASES, Phase, Traffic};
use crate::problems::Losses;

/// Figures of a run that has ended.
pub struct Summary {
    /// Name of the run.
    pub name: String,
    /// Iterations done.
    pub iterations: u64,
    /// Number of workers.
    pub workers: usize,
    /// Number of ranks.
    pub ranks: usize,
    /// 64-bit hash of (x, y, z) at the server.
    pub state_hash: u64,
    /// What travelled.
    pub traffic: Traffic,
    /// What would have travelled up uncompressed.
    pub uncompressed_upload: u64,
    /// Seconds since the start of the first iteration.
    pub wall_seconds: f64,
    /// Those of this part of the run.
    pub part_seconds: f64,
    /// Seconds by phase of each rank, of this part of the run.
    pub seconds: Vec<[f64; PHASES]>,
    /// Largest peak memory of a rank.
    pub peak_rss_bytes: u64,
    /// Checkpoints of this part of the run, and the seconds that they took.
    pub checkpoints: (u64, f64),
    /// Losses of the last iteration.
    pub losses: Losses,
    /// Of the graphs of x, y and z, where there is no server.
    pub spectral_gaps: Option<[f64; 3]>,
    /// What each link of these graphs carried; none where there is a server.
    pub links: Vec<LinkBytes>,
    /// The last evaluation.
    pub evaluation: Option<Evaluation>,
}

impl Summary {
    /// Uploaded bits per worker, the papers' axis.
    pub fn upload_bits_per_worker(&self) -> u64 {
        8 * self.traffic.upload_bytes / self.workers as u64
    }

    /// The content of summary.json but for the status.
    pub fn json(&self) -> Value {
        let mut seconds = json!({});
        for phase in Phase::ALL {
            // A run that failed has no times of all ranks.
            let mean = (!self.seconds.is_empty()).then(|| self.spread(phase).1);
            seconds[phase.name()] = json!(mean);
        }
        let finite = |v: f64| if v.is_finite() { json!(v) } else { Value::Null };
        let mut last = json!({
            "upper_loss": finite(self.losses.upper),
            "lower_loss": finite(self.losses.lower),
        });
        let values = self.evaluation.unwrap_or(Evaluation::NONE).values();
        for ((name, _), v) in Evaluation::METRICS.into_iter().zip(values) {
            last[name] = finite(v);
        }
        let mut json = json!({
            "name": self.name,
            "iterations": self.iterations,
            "workers": self.workers,
            "ranks": self.ranks,
            "state_hash": format!("{:016x}", self.state_hash),
            "upload_bytes": self.traffic.upload_bytes,
            "download_bytes": self.traffic.download_bytes,
            "upload_bits_per_worker": self.upload_bits_per_worker(),
            "wall_seconds": self.wall_seconds,
            "seconds": seconds,
            "peak_rss_bytes": self.peak_rss_bytes,
            "checkpoints": { "count": self.checkpoints.0, "seconds": self.checkpoints.1 },
            "final": last,
        });
        if let Some([x, y, z]) = self.spectral_gaps {
            json["spectral_gap"] = json!({ "x": finite(x), "y": finite(y), "z": finite(z) });
            let link = |&LinkBytes { from, to, bytes }| json!([from, to, bytes]);
            json["link_bytes"] = self.links.iter().map(link).collect();
        }
        json
    }

    /// Minimum, mean and maximum over ranks of the seconds in a phase.
    fn spread(&self, phase: Phase) -> (f64, f64, f64) {
        let of = self.seconds.iter().map(|seconds| seconds[phase as usize]);
        let mean = of.clone().sum::<f64>() / self.seconds.len().max(1) as f64;
        (of.clone().fold(f64::INFINITY, f64::min), mean, of.fold(0.0, f64::max))
    }
}

/// The table that ends a run.
pub fn table(summary: &Summary) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_table(summary, &mut out);
    out
}

fn write_table(s: &Summary, out: &mut String) -> std::fmt::Result {
    let per_second = s.iterations as f64 / s.wall_seconds;
    writeln!(
        out,
        "{}: {} iterations, {} workers on {} ranks",
        s.name, s.iterations, s.workers, s.ranks
    )?;
    writeln!(
        out,
        "  {:<14}{:>10}{:>10}{:>10}{:>9}",
        "seconds a rank", "min", "avg", "max", "share"
    )?;
    for phase in Phase::ALL {
        let (min, mean, max) = s.spread(phase);
        let share = 100.0 * mean / s.part_seconds;
        writeln!(out, "  {:<14}{min:>10.3}{mean:>10.3}{max:>10.3}{share:>7.1} %", phase.name())?;
    }
    writeln!(out, "  wall {:.3} s, {per_second:.1} iterations/s", s.wall_seconds)?;
    let up = s.traffic.upload_bytes;
    let ratio = s.uncompressed_upload as f64 / up.max(1) as f64;
    writeln!(
        out,
        "  uploaded {} ({ratio:.2} times less than uncompressed), downloaded {}",
        bytes(up),
        bytes(s.traffic.download_bytes)
    )?;
    if let (count @ 1.., seconds) = s.checkpoints {
        let share = 100.0 * seconds / s.part_seconds;
        writeln!(out, "  checkpoints {count}, {seconds:.3} s ({share:.2} %)")?;
    }
    writeln!(out, "  peak memory of a rank {}", bytes(s.peak_rss_bytes))?;
    if let Some(e) = s.evaluation {
        let mut words = vec![];
        let named = [
            ("test loss", e.test_loss),
            ("validation loss", e.validation_loss),
            ("|hypergradient|", e.hypergradient_norm),
            ("AUC of the weights", e.weight_auc),
        ];
        if e.test_accuracy.is_finite() {
            words.push(format!("test accuracy {:.2} %", 100.0 * e.test_accuracy));
        }
        words.extend(
            named.iter().filter(|(_, v)| v.is_finite()).map(|(name, v)| format!("{name} {v:.4e}")),
        );
        if !words.is_empty() {
            writeln!(out, "  {}", words.join(", "))?;
        }
    }
    writeln!(out, "  state {:016x}", s.state_hash)
}

/// A number of bytes in words.
pub fn bytes(n: u64) -> String {
    indicatif::DecimalBytes(n).to_string()
}
