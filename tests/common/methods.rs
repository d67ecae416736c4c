//! The table of methods on which runs are compared, and what it asks of those who add a kind.

use serde_json::{Value, json};

/// Algorithms with their compressors, feedbacks and ways down; every registered kind must be here.
pub fn methods() -> Vec<(&'static str, Value)> {
    let rand_k = json!({ "kind": "rand-k", "ratio": 0.1 });
    let shared = json!({ "kind": "rand-k", "ratio": 0.1, "shared": true });
    let stratified = json!({ "kind": "rand-k", "ratio": 0.1, "sampler": "stratified" });
    let multi_step = json!({ "kind": "multi-step", "rounds": 3, "inner": rand_k });
    let top_k = json!({ "kind": "top-k", "ratio": 0.1 });
    let coded = json!({ "kind": "top-k", "ratio": 0.05, "bits": 4, "index": "rice" });
    let dithering = json!({ "kind": "dithering" });
    let identity = json!({ "kind": "identity" });
    let separate = |x: &Value, y: &Value, z: &Value| json!({ "x": x, "y": y, "z": z });
    let ef_soba = |momentum| json!({ "kind": "ef-soba", "theta": 0.2, "momentum": momentum });
    let difference = |c: &Value| json!({ "kind": "difference", "compressor": c });
    let sum = json!({ "kind": "sum" });
    let sparkle = |x: &str, y: &str, z: &str, order: &str, compressor: &Value| {
        json!({ "algorithm": { "kind": "sparkle", "strategy": { "x": x, "y": y, "z": z },
                "theta": 0.5, "order": order },
            "compressor": compressor, "topology": { "kind": "erdos-renyi", "probability": 0.5 },
            "mixing": { "lazy": true } })
    };
    let mut seldom = coded.clone();
    seldom["every"] = json!(3);
    let methods = vec![
        ("soba", json!({ "algorithm": { "kind": "soba", "rho": 5 } })),
        ("c-soba", json!({ "algorithm": { "kind": "c-soba" }, "compressor": multi_step })),
        (
            "cm-soba",
            json!({ "algorithm": { "kind": "cm-soba", "theta": 0.2 }, "compressor": stratified }),
        ),
        ("ef-soba-server", json!({ "algorithm": ef_soba("server"), "compressor": rand_k })),
        (
            "ef-soba-worker",
            json!({ "algorithm": ef_soba("worker"),
                "compressor": separate(&rand_k, &top_k, &identity) }),
        ),
        ("ef-soba-multi-step", json!({ "algorithm": ef_soba("server"), "compressor": multi_step })),
        (
            "residual",
            json!({ "algorithm": { "kind": "c-soba" }, "feedback": { "kind": "residual" },
                "compressor": separate(&seldom, &dithering, &json!({ "kind": "sign" })),
                "downlink": difference(&top_k) }),
        ),
        (
            "residual-momentum",
            json!({ "algorithm": { "kind": "cm-soba", "theta": 0.2 },
                "feedback": { "kind": "residual" }, "compressor": coded,
                "downlink": difference(&separate(&coded, &rand_k, &dithering)) }),
        ),
        (
            "ef21",
            json!({ "algorithm": ef_soba("server"), "feedback": { "kind": "ef21" },
                "compressor": coded, "downlink": sum }),
        ),
        (
            "diana",
            json!({ "algorithm": ef_soba("server"), "feedback": { "kind": "diana", "eta": 0.05 },
                "compressor": separate(&json!({ "kind": "natural" }),
                    &json!({ "kind": "rand-block", "ratio": 0.1 }),
                    &json!({ "kind": "bernoulli", "ratio": 0.1 })) }),
        ),
        (
            "ef21-momentum",
            json!({ "algorithm": ef_soba("server"), "feedback": { "kind": "ef21-momentum" },
                "compressor": json!({ "kind": "ternary" }) }),
        ),
        (
            "econtrol",
            json!({ "algorithm": ef_soba("server"), "feedback": { "kind": "econtrol" },
                "compressor": coded }),
        ),
        (
            "low-rank",
            json!({ "algorithm": { "kind": "c-soba" }, "feedback": { "kind": "residual" },
                "compressor": separate(&json!({ "kind": "low-rank", "rank": 2, "every": 2 }), &coded,
                    &json!({ "kind": "low-rank", "rank": 1, "factors": identity })),
                "downlink": difference(&coded) }),
        ),
        (
            "ma-soba",
            json!({ "algorithm": { "kind": "ma-soba", "theta": 0.2 },
                "downlink": difference(&dithering) }),
        ),
        (
            "amigo",
            json!({ "algorithm": { "kind": "amigo", "inner_steps": 2, "linear_steps": 1, "rho": 5 },
                "downlink": difference(&dithering) }),
        ),
        (
            "stocbio",
            json!({ "algorithm": { "kind": "stocbio", "eta": 0.1, "inner_steps": 1,
                "neumann_steps": 1 } }),
        ),
        (
            "f2sa",
            json!({ "algorithm": { "kind": "f2sa", "lambda": 2, "lambda_step": 0.01,
                "inner_steps": 1 }, "downlink": sum }),
        ),
        ("d-soba", json!({ "algorithm": { "kind": "d-soba", "theta": 0.2 } })),
        (
            "d-soba-fo",
            json!({ "algorithm": { "kind": "d-soba-fo", "decay": "inverse-sqrt" },
                "topology": { "kind": "exponential" } }),
        ),
        (
            "d-soba-compressed",
            json!({ "algorithm": { "kind": "d-soba" }, "compressor": separate(&coded, &rand_k, &identity),
                "topology": { "x": { "kind": "star" }, "y": { "kind": "complete" },
                    "z": { "kind": "one-peer-exponential" } } }),
        ),
        ("sparkle-extra-ed", sparkle("extra", "ed", "ed", "gauss-seidel", &rand_k)),
        ("sparkle-gt", sparkle("atc-gt", "semi-atc-gt", "non-atc-gt", "jacobi", &identity)),
        ("sparkle-gt-compressed", sparkle("gossip", "atc-gt", "extra", "gauss-seidel", &top_k)),
        (
            "shared-sum",
            json!({ "algorithm": { "kind": "c-soba" }, "compressor": shared, "downlink": sum }),
        ),
    ];
    assert_all_tried(&methods);
    methods
}

/// Fails if a registered kind is in no method.
fn assert_all_tried(methods: &[(&str, Value)]) {
    let all: String = methods.iter().map(|(_, method)| method.to_string()).collect();
    let assert_tried = |kind: &str| {
        let tried = all.contains(&format!("\"kind\":\"{kind}\""));
        assert!(tried, "add a method with {kind} to tests/common/methods.rs");
    };
    // The feedback of C-SOBA and EF-SOBA that name none.
    let defaults = ["none", "memory"];
    sobaya::algorithms::registry().0.iter().for_each(|entry| assert_tried(entry.kind));
    sobaya::compressors::coders().0.iter().for_each(|entry| assert_tried(entry.kind));
    (sobaya::feedback::registry().0.iter())
        .filter(|entry| !defaults.contains(&entry.kind))
        .for_each(|entry| assert_tried(entry.kind));
}

/// Whether a method can be run on a problem.
pub fn suits(problem: &Value, method: &Value) -> bool {
    let low_rank = method["compressor"].to_string().contains("low-rank");
    let own_x = !method["compressor"]["x"].is_null() || method["algorithm"]["momentum"] == "worker";
    match problem["kind"].as_str() {
        Some("quadratic") => !low_rank, // Its variables are no matrices.
        // Its x is not compressed, and workers send different entries of it.
        Some("hyper-cleaning") => !own_x && method["wire"]["collective"] != "segments",
        _ => true,
    }
}

/// Sets the keys of a method and its step sizes.
pub fn apply(config: &mut Value, method: &Value, steps: [f64; 3]) {
    config["compressor"] = Value::Null;
    for (key, value) in method.as_object().expect("keys of a config") {
        config[key] = value.clone();
    }
    for (key, step) in ["alpha", "beta", "gamma"].into_iter().zip(steps) {
        if key != "gamma" || config["algorithm"]["kind"] != "stocbio" {
            config["algorithm"][key] = json!(step);
        }
    }
}
