//! Methods without a server: what they must equal, and what they reach on agents with different losses.

use serde_json::{Value, json};

use crate::common::{SEED, WORKERS, distance, mean_iterate, plan, problem, run};
use sobaya::archive::{Archive, Holder};
use sobaya::graph::Graph;
use sobaya::problems::Draw;
use sobaya::run::Options;
use sobaya::vars::{Block, Blocks, Vars};

const STRATEGIES: [&str; 5] = ["ed", "extra", "atc-gt", "semi-atc-gt", "non-atc-gt"];
const STEPS: [f64; 3] = [0.01, 0.03, 0.03];

/// SPARKLE with these strategies of x, y and z on the lazy ring, and the quadratic problem, whose agents
/// differ. Without noise, unless the problem is changed.
fn sparkle([x, y, z]: [&str; 3]) -> Value {
    let [alpha, beta, gamma] = STEPS;
    json!({ "workers": WORKERS, "precision": "f64",
        "problem": { "kind": "quadratic", "heterogeneity": 1 },
        "algorithm": { "kind": "sparkle", "strategy": { "x": x, "y": y, "z": z },
            "alpha": alpha, "beta": beta, "gamma": gamma },
        "topology": { "kind": "ring" }, "mixing": { "lazy": true } })
}

/// |grad Phi| at the mean of the agents' iterates after so many iterations.
fn reached(mut config: Value, iterations: u64) -> f64 {
    config["name"] = json!("decentralized");
    config["iterations"] = json!(iterations);
    config["evaluate"] = json!({ "every": iterations, "hypergradient": "end" });
    let outcome = run(config.clone());
    let (_, evaluation) = outcome.evaluations.last().expect("the last iteration is evaluated");
    let norm = evaluation.hypergradient_norm;
    println!("{} {} {}: {norm:.2e}", config["algorithm"], config["compressor"], config["gossip"]);
    norm
}

#[test]
fn the_mean_of_equal_agents_moves_as_a_server_does() {
    let [alpha, beta, gamma] = STEPS;
    let algorithm = |kind: &str| json!({ "kind": kind, "theta": 0.3, "alpha": alpha, "beta": beta, "gamma": gamma });
    for (heterogeneity, topologies) in [
        (0.0, &["ring", "torus", "star", "exponential", "one-peer-exponential"][..]),
        (1.0, &["complete"]),
    ] {
        let problem = json!({ "kind": "quadratic", "heterogeneity": heterogeneity, "noise": 0.1 });
        let identity = json!({ "kind": "identity" });
        let server = crate::common::iterate::<f64>(&problem, &algorithm("cm-soba"), &identity, 500);
        for topology in topologies {
            let config = json!({ "problem": problem, "algorithm": algorithm("d-soba"),
                "topology": { "kind": topology } });
            let (mean, apart) = mean_iterate::<f64>(config, 500);
            let off = distance(mean.as_slice(), server.as_slice());
            println!("{topology}: {off:.1e} off, apart {apart:?}");
            assert!(off < 1e-10, "{topology}: {off:e}");
            let agree = *topology == "complete";
            assert!(apart.iter().all(|&error| (error < 1e-12) == agree), "{apart:?}");
        }
    }
}

/// The agents' iterates after each of some iterations.
fn iterates(config: &Value, stops: &[u64]) -> Vec<Vec<Vars<f64>>> {
    let mut config = config.clone();
    config["name"] = json!("iterates");
    config["iterations"] = json!(stops[stops.len() - 1]);
    let plan = plan(config);
    let hosted = 0..plan.workers;
    let problem = problem::<f64>(&plan.problem, plan.workers, hosted.clone());
    let links = sobaya::run::build::links::<f64>(&plan, &*problem, hosted.clone());
    let algorithm = sobaya::run::build::algorithm::<f64>(&plan, &*problem, hosted.clone());
    let (links, mut algorithm) = (links.expect("a good plan"), algorithm.expect("a good plan"));
    let dims = problem.dims();
    let comm = &mut crate::common::alone();
    let mut net = sobaya::net::Net::new(comm, crate::common::setting(plan.workers, dims), links);
    let mut workers = sobaya::workers::Workers::new(problem);
    let mut done = 0;
    let mut after = |stop: u64| {
        for k in std::mem::replace(&mut done, stop)..stop {
            algorithm.step(k, &mut workers, &mut net).expect("the only rank");
        }
        let mut of = |agent: usize| {
            let mut bytes = vec![];
            algorithm.state(Holder::Worker(agent), &mut Archive::writing(&mut bytes));
            let mut v = Vars::<f64>::zeros(dims);
            let numbers = bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap()));
            v.as_mut_slice().iter_mut().zip(numbers).for_each(|(v, number)| *v = number);
            v
        };
        hosted.clone().map(&mut of).collect()
    };
    stops.iter().map(|&stop| after(stop)).collect()
}

/// A dense matrix of the agents.
type Dense = Vec<Vec<f64>>;

fn product(a: &Dense, b: &Dense) -> Dense {
    let entry = |row: &Vec<f64>, j: usize| row.iter().zip(b).map(|(w, b)| w * b[j]).sum();
    a.iter().map(|row| (0..b[0].len()).map(|j| entry(row, j)).collect()).collect()
}

fn combine(a: &Dense, x: f64, b: &Dense) -> Dense {
    let rows = a.iter().zip(b);
    rows.map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + x * b).collect()).collect()
}

fn identity(n: usize) -> Dense {
    (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect()
}

/// A, B^2 and C of a strategy.
fn matrices(strategy: &str, graph: &Graph) -> [Dense; 3] {
    let n = graph.agents();
    let mut w = vec![vec![0.0; n]; n];
    for (i, row) in w.iter_mut().enumerate() {
        graph.matrix(0).row(i).iter().for_each(|&(j, weight)| row[j] = weight);
    }
    let one = identity(n);
    let laplacian = combine(&one, -1.0, &w);
    let squared = product(&laplacian, &laplacian);
    match strategy {
        "ed" => [w, laplacian, one],
        "extra" => [one, laplacian, w],
        "atc-gt" => [product(&w, &w), squared, one],
        "semi-atc-gt" => [w.clone(), squared, w],
        "non-atc-gt" => [one, squared, product(&w, &w)],
        _ => [w, combine(&one, -1.0, &one), one],
    }
}

/// The primal-dual form, with u = B l: s+ = A (C s - a D) - u, u+ = u + B^2 s+.
struct PrimalDual {
    matrices: [[Dense; 3]; 3],
    /// By agent.
    v: Vec<Vars<f64>>,
    u: [Dense; 3],
}

impl PrimalDual {
    fn step(&mut self, k: u64, problem: &mut dyn sobaya::problems::Problem<f64>, group: &[Block]) {
        let wanted = Blocks::of(group);
        let directions: Vec<Vars<f64>> = (self.v.iter().enumerate())
            .map(|(agent, v)| {
                let mut d = Vars::zeros(v.dims());
                problem.directions(Draw::first(SEED, agent, k), wanted, v, &mut d);
                d
            })
            .collect();
        for &block in group {
            let at = block as usize;
            let of = |all: &[Vars<f64>]| -> Dense {
                all.iter().map(|v| v.block(block).to_vec()).collect()
            };
            let [a, b, c] = &self.matrices[at];
            let inner = combine(&product(c, &of(&self.v)), -STEPS[at], &of(&directions));
            let next = combine(&product(a, &inner), -1.0, &self.u[at]);
            self.u[at] = combine(&self.u[at], 1.0, &product(b, &next));
            for (v, next) in self.v.iter_mut().zip(&next) {
                v.block_mut(block).copy_from_slice(next);
            }
        }
    }
}

/// The forms that are run equal the primal-dual ones, in both orders.
#[test]
fn dual_free_forms_are_the_primal_dual_ones() {
    let stops = [1, 2, 3, 10, 100, 1000, 4000];
    let mixes = STRATEGIES.map(|s| ([s; 3], "gauss-seidel"));
    let others =
        [(["ed", "extra", "atc-gt"], "jacobi"), (["gossip", "semi-atc-gt", "ed"], "jacobi")];
    for (strategies, order) in mixes.into_iter().chain(others) {
        let mut config = sparkle(strategies);
        config["problem"]["dim_upper"] = json!(9);
        config["problem"]["dim_lower"] = json!(7);
        config["algorithm"]["order"] = json!(order);
        let mut named = config.clone();
        named["name"] = json!("graphs");
        named["iterations"] = json!(1);
        let graphs = plan(named).graph.expect("no server").graphs;
        let found = iterates(&config, &stops);
        let mut problem = problem::<f64>(&config["problem"], WORKERS, 0..WORKERS);
        let start = problem.start();
        let zero = |block: Block| vec![vec![0.0; start.block(block).len()]; WORKERS];
        let mut expected = PrimalDual {
            matrices: Block::ALL.map(|b| matrices(strategies[b as usize], &graphs[b as usize])),
            v: vec![start.clone(); WORKERS],
            u: Block::ALL.map(zero),
        };
        let groups: &[&[Block]] = match order {
            "jacobi" => &[&[Block::X, Block::Y, Block::Z]],
            _ => &[&[Block::Y], &[Block::Z], &[Block::X]],
        };
        let mut found = found.into_iter();
        for k in 0..4000 {
            groups.iter().for_each(|group| expected.step(k, &mut *problem, group));
            if stops.contains(&(k + 1)) {
                let found = found.next().expect("a stop");
                for (found, expected) in found.iter().zip(&expected.v) {
                    let off = distance(found.as_slice(), expected.as_slice());
                    assert!(off < 1e-10, "{strategies:?}, {order}, {} iterations: {off:e}", k + 1);
                }
            }
        }
    }
}

#[test]
fn corrections_reach_the_optimum_where_gossip_stalls() {
    for strategy in STRATEGIES {
        let norm = reached(sparkle([strategy; 3]), 20_000);
        assert!(norm < 1e-8, "{strategy}: {norm:e}");
    }
    let norm = reached(sparkle(["gossip"; 3]), 20_000);
    assert!(norm > 0.1, "gossip: {norm:e}");
}

#[test]
fn mixed_strategies_and_orders_reach_the_optimum() {
    for strategies in
        [["ed", "extra", "atc-gt"], ["atc-gt", "ed", "ed"], ["non-atc-gt", "semi-atc-gt", "extra"]]
    {
        for order in ["gauss-seidel", "jacobi"] {
            let mut config = sparkle(strategies);
            config["algorithm"]["order"] = json!(order);
            config["topology"] = json!({ "x": { "kind": "ring" }, "y": { "kind": "exponential" },
                "z": { "kind": "erdos-renyi", "probability": 0.5, "seed": 1 } });
            let norm = reached(config, 20_000);
            assert!(norm < 1e-8, "{strategies:?}, {order}: {norm:e}");
        }
    }
}

#[test]
fn compressed_corrections_reach_the_optimum() {
    let rand_k = json!({ "kind": "rand-k", "ratio": 0.1 });
    let top_k = json!({ "kind": "top-k", "ratio": 0.1 });
    let tracking = Some(json!({ "eta": 0.3 }));
    for (strategy, compressor, gossip) in [
        ("ed", &rand_k, None),
        ("extra", &rand_k, None),
        ("atc-gt", &rand_k, tracking.clone()),
        ("semi-atc-gt", &rand_k, tracking.clone()),
        ("non-atc-gt", &rand_k, tracking),
        ("ed", &top_k, None),
        ("extra", &top_k, None),
        ("atc-gt", &top_k, None),
    ] {
        let mut config = sparkle([strategy; 3]);
        config["compressor"] = compressor.clone();
        if let Some(gossip) = gossip {
            config["gossip"] = gossip;
        }
        let norm = reached(config, 30_000);
        assert!(norm < 1e-8, "{strategy} with {compressor}: {norm:e}");
    }
}

#[test]
fn unequal_agents_reach_the_weighted_optimum() {
    let lambda = [0.3, 0.05, 0.1, 0.05, 0.2, 0.1, 0.05, 0.15];
    for mode in ["scaled", "row-stochastic"] {
        for strategy in ["ed", "extra", "atc-gt"] {
            let mut config = sparkle([strategy; 3]);
            config["weights"] = json!({ "lambda": lambda, "mode": mode });
            let norm = reached(config, 20_000);
            assert!(norm < 1e-8, "{mode}, {strategy}: {norm:e}");
        }
    }
}

/// First derivatives at two points are as good as second ones where the loss is quadratic.
#[test]
fn finite_differences_give_second_derivatives() {
    let iterate = |kind: &str| {
        let [alpha, beta, gamma] = STEPS;
        let mut config = sparkle(["gossip"; 3]);
        config["problem"]["noise"] = json!(0.1);
        config["algorithm"] =
            json!({ "kind": kind, "alpha": alpha, "beta": beta, "gamma": gamma, "theta": 0.5 });
        mean_iterate::<f64>(config, 300).0
    };
    let (first, second) = (iterate("d-soba-fo"), iterate("d-soba"));
    let off = distance(first.as_slice(), second.as_slice());
    assert!(off > 0.0 && off < 1e-8, "{off:e}");
}

/// A tenth of the entries is a tenth of the bytes, but for headers.
#[test]
fn compressed_links_carry_a_tenth() {
    let bytes = |compressor: Value| {
        let mut config = sparkle(["ed"; 3]);
        config["name"] = json!("bytes");
        config["iterations"] = json!(10);
        config["problem"] = json!({ "kind": "quadratic", "dim_upper": 4000, "dim_lower": 20 });
        config["compressor"] = json!({ "x": compressor, "y": { "kind": "identity" },
            "z": { "kind": "identity" } });
        let traffic = run(config).traffic;
        assert_eq!(traffic.upload_bytes, traffic.download_bytes);
        let of_x = traffic.upload_bytes / (10 * 2 * WORKERS as u64) - 2 * (16 + 20 * 8);
        of_x as f64 - 16.0
    };
    let dense = bytes(json!({ "kind": "identity" }));
    assert_eq!(dense, 4000.0 * 8.0);
    let sparse = bytes(json!({ "kind": "rand-k", "ratio": 0.1 }));
    assert_eq!(sparse, 0.1 * dense);
}

/// Every link carries the same, and all of them together what is uploaded, on any number of ranks.
#[test]
fn links_are_counted_wherever_their_agents_are() {
    let mut config = sparkle(["ed", "atc-gt", "extra"]);
    config["name"] = json!("links");
    config["iterations"] = json!(4);
    config["topology"]["kind"] = json!("star");
    let plan = plan(config);
    let counts = |ranks: usize| {
        let by_rank = crate::common::on_ranks(ranks, |comm| {
            let placement = sobaya::comm::Placement { workers: WORKERS, ranks };
            let hosted = placement.hosted(sobaya::comm::Comm::rank(comm));
            let problem = problem::<f64>(&plan.problem, WORKERS, hosted.clone());
            let links = sobaya::run::build::links::<f64>(&plan, &*problem, hosted.clone());
            let algorithm = sobaya::run::build::algorithm::<f64>(&plan, &*problem, hosted);
            let mut algorithm = algorithm.expect("a good plan");
            let setting = crate::common::setting(WORKERS, problem.dims());
            let mut net = sobaya::net::Net::new(comm, setting, links.expect("a good plan"));
            let mut workers = sobaya::workers::Workers::new(problem);
            for k in 0..4 {
                algorithm.step(k, &mut workers, &mut net).expect("a step");
            }
            (net.traffic().upload_bytes, net.link_bytes().expect("the end"))
        });
        by_rank.into_iter().next().expect("the root")
    };
    let (total, links) = counts(1);
    assert_eq!(links.len(), 2 * (WORKERS - 1));
    assert!(links.iter().all(|link| link.bytes == links[0].bytes), "{links:?}");
    assert!(links.is_sorted_by_key(|link| (link.from, link.to)), "{links:?}");
    assert_eq!(links.iter().map(|link| link.bytes).sum::<u64>(), total);
    for ranks in [2, 3, WORKERS] {
        assert_eq!(counts(ranks), (total, links.clone()), "{ranks} ranks");
    }
}

/// An agent that fails ends the run on all ranks, and rank 0 says which one it was.
#[test]
fn what_fails_on_one_rank_ends_all() {
    let mut config = sparkle(["atc-gt"; 3]);
    config["name"] = json!("fails");
    config["iterations"] = json!(10_000);
    config["algorithm"]["gamma"] = json!(10.0);
    let plan = plan(config);
    for ranks in [1, 3, WORKERS] {
        let errors = crate::common::on_ranks(ranks, |comm| {
            let ended =
                sobaya::run::run(&plan, comm, &crate::common::folder(), &Options::new(None));
            let error = ended.expect_err("the steps are too long");
            (error.code(), error.agreed(), error.to_string())
        });
        assert!(errors.iter().all(|(code, agreed, _)| (*code, *agreed) == (4, true)), "{errors:?}");
        assert!(errors[0].2.contains("worker") && errors[0].2.contains("iterat"), "{errors:?}");
    }
}

/// The bits of the iterates, of their mean and of what travelled do not depend on the number of ranks.
#[test]
fn ranks_change_no_bit() {
    let top_k = json!({ "kind": "top-k", "ratio": 0.2 });
    for (strategies, compressor) in [
        (["ed", "extra", "atc-gt"], Value::Null),
        (["semi-atc-gt", "gossip", "non-atc-gt"], Value::Null),
        (["ed", "atc-gt", "extra"], top_k),
    ] {
        let mut config = sparkle(strategies);
        config["name"] = json!("bits");
        config["iterations"] = json!(60);
        config["problem"]["noise"] = json!(0.1);
        config["compressor"] = compressor;
        config["topology"] = json!({ "kind": "erdos-renyi", "probability": 0.4 });
        let plan = plan(config);
        let outcome = |ranks: usize| {
            let run = |comm: &mut dyn sobaya::comm::Comm| {
                sobaya::run::run(&plan, comm, &crate::common::folder(), &Options::new(None))
                    .expect("a run")
            };
            let root = crate::common::on_ranks(ranks, run).swap_remove(0).expect("the root's");
            let values = root.evaluations.iter().flat_map(|(_, evaluation)| evaluation.values());
            let bits: Vec<u64> = values.map(f64::to_bits).collect();
            (root.state_hash, root.traffic, bits)
        };
        let alone = outcome(1);
        for ranks in [2, 3, 4, WORKERS] {
            assert_eq!(outcome(ranks), alone, "{strategies:?} on {ranks} ranks");
        }
    }
}
