//! The measurements run, alone and on several ranks, and their JSON has what is documented.

use crate::process::{finish, mpirun, sobaya};
use serde_json::Value;

fn json(arguments: &[&str], ranks: usize) -> Value {
    let program = sobaya(arguments);
    let finished = finish(if ranks == 0 { program } else { mpirun(ranks, &program) });
    assert_eq!(finished.code, 0, "{}", finished.err);
    serde_json::from_str(&finished.out).unwrap_or_else(|e| panic!("{e}: {}", finished.out))
}

fn positive(row: &Value, key: &str) -> f64 {
    let value = row[key].as_f64().unwrap_or_else(|| panic!("{key} in {row}"));
    assert!(value > 0.0, "{key} in {row}");
    value
}

#[test]
fn compressors_are_measured_on_every_level() {
    for kernels in ["avx512", "avx2", "baseline"] {
        let arguments =
            ["bench", "compress", "--dim", "1000", "--seconds", "0.001", "--kernels", kernels];
        let all = json(&[&arguments[..], &["--json"]].concat(), 0);
        assert!(all["machine"].is_string() && all["kernels"].is_string());
        let rows = all["rows"].as_array().expect("rows");
        let kinds = sobaya::compressors::registry().0;
        assert!(rows.len() >= kinds.len());
        for row in rows {
            assert!(kinds.iter().any(|entry| row["compressor"] == entry.kind), "{row}");
            let times = ["encode_seconds", "decode_add_seconds", "memcpy_seconds"];
            times.iter().for_each(|key| _ = positive(row, key));
            assert!(positive(row, "packet_bytes") >= positive(row, "bound_bytes"), "{row}");
        }
    }
}

#[test]
fn collectives_are_measured_on_any_number_of_ranks() {
    let arguments = ["bench", "wire", "--bytes", "16,40000", "--seconds", "0.01", "--json"];
    for ranks in [0, 1, 3] {
        let all = json(&arguments, ranks);
        assert_eq!(all["ranks"].as_u64(), Some(ranks.max(1) as u64));
        let rows = all["rows"].as_array().expect("rows");
        assert_eq!(rows.len(), 2);
        for row in rows {
            let times = ["gather_seconds", "broadcast_seconds", "segments_seconds"];
            times.iter().for_each(|key| _ = positive(row, key));
        }
    }
}

#[test]
fn steps_of_both_problems_are_measured() {
    for (problem, size) in
        [("hyper-representation", "hidden"), ("regularization-selection", "features")]
    {
        let size_option = format!("--{size}");
        let all = json(
            &[
                "bench",
                "step",
                "--problem",
                problem,
                "--batch",
                "3",
                &size_option,
                "4",
                "--precision",
                "f32,f64",
                "--seconds",
                "0.01",
                "--json",
            ],
            0,
        );
        let rows = all["rows"].as_array().expect("rows");
        assert_eq!(rows.len(), 2);
        for row in rows {
            assert_eq!((&row["problem"], &row[size]), (&problem.into(), &4.into()), "{row}");
            positive(row, "iterations_per_second");
        }
    }
}
