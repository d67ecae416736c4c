//! The patterns over packets by themselves: two rounds of low rank, the ways down, replicated servers.

use serde_json::{Value, json};

use crate::common::{alone, distance, links, normal, on_ranks, setting};
use sobaya::comm::{Comm, CommError, Cost, Messages, Peer, Work};
use sobaya::compressors::{self, Coder, Site};
use sobaya::net::{Collective, Downlink, Links, Net, NetError, PHASES, Round};
use sobaya::problems::{Draw, Losses};
use sobaya::vars::{Block, Blocks, Dims, Layout, Vars};

const WORKERS: usize = 4;
const ROWS: usize = 12;
const COLUMNS: usize = 7;

/// x is a matrix of 12 x 7 and one of 5 x 6, y and z are short.
fn layout() -> Layout {
    Layout::new([[ROWS, COLUMNS], [5, 6]])
}

fn dims() -> Dims {
    Dims { upper: layout().dim(), lower: 4 }
}

fn identity() -> Value {
    json!({ "kind": "identity" })
}

/// Links whose x travels in two rounds.
fn low_rank(rank: usize, feedback: &str) -> Links<f64> {
    low_rank_by(rank, feedback, &identity())
}

/// The same with factors coded by this compressor.
fn low_rank_by(rank: usize, feedback: &str, factors: &Value) -> Links<f64> {
    let all = [(); 3].map(|()| identity());
    let mut links = links::<f64>(&all, &json!({ "kind": feedback }), dims(), 0..WORKERS);
    let config = json!({ "kind": "low-rank", "rank": rank, "factors": factors });
    let coder: Coder<f64> = *compressors::coders()
        .build(&config, Site::new(&layout()))
        .expect("matrices of more rows and columns than the rank");
    links.up[0].coder = coder;
    links
}

/// Worker i's x: a sum of `rank` outer products in each matrix; the left factors are common to all.
fn matrices(rank: u32) -> Vec<Vec<f64>> {
    let worker = |i: u32| {
        let mut x = vec![];
        for (m, &[rows, columns]) in layout().matrices().iter().enumerate() {
            let mut matrix = vec![0.0; rows * columns];
            for r in 0..rank {
                let left: Vec<f64> = normal(rows, 100 + 10 * r + m as u32);
                let right: Vec<f64> = normal(columns, 200 + 50 * i + 10 * r + m as u32);
                for (j, entry) in matrix.iter_mut().enumerate() {
                    *entry += left[j / columns] * right[j % columns];
                }
            }
            x.extend(matrix);
        }
        x
    };
    (0..WORKERS as u32).map(worker).collect()
}

fn mean(all: &[Vec<f64>]) -> Vec<f64> {
    (0..all[0].len()).map(|j| all.iter().map(|v| v[j]).sum::<f64>() / all.len() as f64).collect()
}

/// D^ of x by iteration, where every worker's direction stays what it is.
fn estimates(links: Links<f64>, directions: &[Vec<f64>], iterations: u64) -> Vec<Vec<f64>> {
    let comm = &mut alone();
    let mut net = Net::new(comm, setting(WORKERS, dims()), links);
    let (server, mut copy) = (Vars::zeros(dims()), Vars::zeros(dims()));
    let mut compute = |draw: Draw, v: &mut Vars<f64>| {
        v.as_mut_slice().fill(0.0);
        v.split_mut().0.copy_from_slice(&directions[draw.worker]);
        Ok(Losses::default())
    };
    let mut all = vec![];
    for k in 0..iterations {
        net.publish(k, &server, &mut copy).expect("the only rank");
        let estimate = net.mean_at_server(k, &mut compute).expect("the only rank");
        all.push(estimate.expect("the only rank is the server").x().to_vec());
    }
    all
}

#[test]
fn low_rank_recovers_matrices_of_that_rank_at_once() {
    for rank in [1, 2, 3] {
        let directions = matrices(rank);
        let found = estimates(low_rank(rank as usize, "none"), &directions, 3);
        for (k, found) in found.iter().enumerate() {
            let off = distance(found, &mean(&directions));
            assert!(off < 1e-10, "rank {rank}, iteration {k}: {off:e}");
        }
    }
}

#[test]
fn low_rank_projects_and_its_warm_start_finds_the_best_subspace() {
    let directions = matrices(4);
    let mean = mean(&directions);
    let found = estimates(low_rank(1, "none"), &directions, 60);
    let off: Vec<f64> = found.iter().map(|found| distance(found, &mean)).collect();
    assert!(off.iter().all(|&off| off <= 1.0), "a projection adds nothing: {off:?}");
    // Power iterations never turn away from the best line.
    assert!(off.windows(2).skip(1).all(|pair| pair[1] <= pair[0] + 1e-12), "{off:?}");
    assert!(off[59] < 0.95 * off[0], "{} to {}", off[0], off[59]);
}

#[test]
fn residuals_bring_what_low_rank_leaves_out() {
    let directions = matrices(4);
    let expected = mean(&directions);
    // Codes that are random, unbiased, with a variance well above one, too: their gain must hold.
    for (factors, most) in [
        (identity(), 0.05),
        (json!({ "kind": "dithering", "rounding": "nearest" }), 0.05),
        (json!({ "kind": "ternary" }), 0.2),
        (json!({ "kind": "rand-k", "ratio": 0.25 }), 0.2),
    ] {
        let found = estimates(low_rank_by(1, "residual", &factors), &directions, 1000);
        let off = distance(&mean(&found), &expected);
        assert!(off < most, "{factors}: the mean of what was sent is off by {off}");
    }
}

#[test]
fn directions_that_are_zero_do_not_end_the_power_iteration() {
    let directions = matrices(2);
    let comm = &mut alone();
    let mut net = Net::new(comm, setting(WORKERS, dims()), low_rank(2, "none"));
    let (server, mut copy) = (Vars::zeros(dims()), Vars::zeros(dims()));
    for k in 0..6 {
        net.publish(k, &server, &mut copy).expect("the only rank");
        let compute = |draw: Draw, v: &mut Vars<f64>| {
            v.as_mut_slice().fill(0.0);
            if k % 2 == 1 {
                v.split_mut().0.copy_from_slice(&directions[draw.worker]);
            }
            Ok(Losses::default())
        };
        let found = net.mean_at_server(k, compute).expect("the only rank").expect("the server");
        if k % 2 == 1 {
            assert!(distance(found.x(), &mean(&directions)) < 1e-10, "iteration {k}");
        } else {
            assert!(found.x().iter().all(|&v| v == 0.0), "iteration {k}");
        }
    }
}

fn with_difference(config: &Value) -> Links<f64> {
    let all = [(); 3].map(|()| identity());
    let mut links = links::<f64>(&all, &json!({ "kind": "none" }), dims(), 0..WORKERS);
    links.down = Downlink::Difference(dims().blocks().map(|dim| {
        let compressor = crate::common::compressor::<f64>(config, dim);
        let gain = compressor.bound().contraction();
        (compressor, gain)
    }));
    links
}

#[test]
fn a_compressed_way_down_catches_up_with_the_server() {
    for config in [
        json!({ "kind": "top-k", "ratio": 0.2 }),
        json!({ "kind": "rand-k", "ratio": 0.2 }),
        json!({ "kind": "dithering" }),
        json!({ "kind": "sign" }),
    ] {
        let comm = &mut alone();
        let mut net = Net::new(comm, setting(WORKERS, dims()), with_difference(&config));
        let mut server = Vars::<f64>::zeros(dims());
        server.as_mut_slice().copy_from_slice(&normal::<f64>(dims().total(), 1));
        let mut copy = Vars::zeros(dims());
        let mut off = vec![];
        for k in 0..200 {
            net.publish(k, &server, &mut copy).expect("the only rank");
            off.push(distance(copy.as_slice(), server.as_slice()));
        }
        assert!(off[199] < 1e-3 && off[199] < off[0], "{config}: {} to {}", off[0], off[199]);
        let dense = (dims().total() * 8 * WORKERS * 200) as u64;
        assert!(net.traffic().download_bytes < dense, "{config}");
    }
}

#[test]
fn every_rank_has_the_copy_of_the_root() {
    let top_k = json!({ "kind": "top-k", "ratio": 0.2 });
    let copies = on_ranks(3, |comm| {
        let mut net = Net::new(comm, setting(WORKERS, dims()), with_difference(&top_k));
        let mut server = Vars::<f64>::zeros(dims());
        let mut copy = Vars::zeros(dims());
        for k in 0..20 {
            // Only the root's is looked at.
            server.as_mut_slice().copy_from_slice(&normal::<f64>(dims().total(), k as u32));
            net.publish(k, &server, &mut copy).expect("no rank is gone");
        }
        copy
    });
    assert!(copies.iter().all(|copy| copy.hash() == copies[0].hash()));
    assert!(copies[0].as_slice().iter().any(|&v| v != 0.0));
}

fn replicated(collective: Collective) -> Links<f64> {
    let all = [(); 3].map(|()| identity());
    let links = links::<f64>(&all, &json!({ "kind": "none" }), dims(), 0..WORKERS);
    Links { down: Downlink::Sum, collective, ..links }
}

#[test]
fn ranks_that_drift_apart_are_told() {
    let results = on_ranks(3, |comm| {
        let rank = comm.rank();
        let mut net = Net::new(comm, setting(WORKERS, dims()), replicated(Collective::Star));
        let mut server = Vars::<f64>::zeros(dims());
        let mut shown = Vars::zeros(dims());
        net.show(0, &server, &mut shown).expect("all ranks hold zeros");
        server.as_mut_slice()[3] = if rank == 1 { 1e-300 } else { 0.0 };
        net.show(1, &server, &mut shown)
    });
    for result in results {
        assert!(matches!(result, Err(NetError::Apart { iteration: 1, rank: 1 })), "{result:?}");
    }
}

#[test]
fn a_worker_that_fails_ends_every_way() {
    let ways: [fn() -> Links<f64>; 5] = [
        || with_difference(&json!({ "kind": "sign" })),
        || replicated(Collective::Star),
        || replicated(Collective::Segments),
        || low_rank(2, "none"),
        || low_rank(2, "residual"),
    ];
    for (way, links) in ways.into_iter().enumerate() {
        // The last rank's worker has a direction that is not finite in iteration 2.
        let results = on_ranks(3, |comm| {
            let links = links();
            let mut net = Net::new(comm, setting(WORKERS, dims()), links);
            let (server, mut copy) = (Vars::zeros(dims()), Vars::zeros(dims()));
            (0..5).try_for_each(|k| {
                net.publish(k, &server, &mut copy)?;
                let compute = |draw: Draw, v: &mut Vars<f64>| {
                    v.as_mut_slice().fill(1.0);
                    if k == 2 && draw.worker == WORKERS - 1 {
                        v.as_mut_slice()[5] = f64::NAN;
                    }
                    Ok(Losses::default())
                };
                net.mean_at_server(k, compute).map(|_| ())
            })
        });
        let Err(NetError::Worker(words)) = &results[0] else { panic!("way {way}: {results:?}") };
        assert!(words.starts_with("rank 2, worker 3, iteration 2: "), "way {way}: {words}");
        for other in &results[1..] {
            assert!(matches!(other, Err(NetError::Elsewhere)), "way {way}: {other:?}");
        }
    }
}

/// Counts the bytes of every collective.
struct Counted<'c> {
    comm: &'c mut dyn Comm,
    /// Of every gather's messages at the root, and of every broadcast.
    gathered: Vec<u64>,
    broadcast: Vec<u64>,
}

impl Comm for Counted<'_> {
    fn rank(&self) -> usize {
        self.comm.rank()
    }
    fn ranks(&self) -> usize {
        self.comm.ranks()
    }
    fn gather(&mut self, mine: &[u8], inbox: &mut Messages) -> Result<Cost, CommError> {
        let cost = self.comm.gather(mine, inbox)?;
        self.gathered.push(inbox.bytes().len() as u64);
        Ok(cost)
    }
    fn broadcast(&mut self, message: &mut Vec<u8>) -> Result<Cost, CommError> {
        let cost = self.comm.broadcast(message)?;
        self.broadcast.push(message.len() as u64);
        Ok(cost)
    }
    fn exchange(
        &mut self,
        outgoing: &Messages,
        lengths: &[usize],
        incoming: &mut Messages,
    ) -> Result<Cost, CommError> {
        self.comm.exchange(outgoing, lengths, incoming)
    }
    fn neighbours(
        &mut self,
        to: &[Peer],
        outgoing: &Messages,
        from: &[Peer],
        incoming: &mut Messages,
        work: Option<Work<'_>>,
    ) -> Result<Cost, CommError> {
        self.comm.neighbours(to, outgoing, from, incoming, work)
    }
}

#[test]
fn traffic_is_what_the_collectives_carried_but_for_envelopes_and_reports() {
    let envelope = 16;
    let scalars = 16 + 4 * PHASES as u64 + 16 * WORKERS as u64;
    let top_k = json!({ "kind": "top-k", "ratio": 0.2 });
    // Links, and the gathers and broadcasts of an iteration.
    let ways: [(Links<f64>, usize, usize); 4] = [
        (low_rank(2, "residual"), 2, 2),
        (low_rank_by(1, "residual", &json!({ "kind": "dithering" })), 2, 2),
        (with_difference(&top_k), 1, 1),
        (replicated(Collective::Star), 1, 1),
    ];
    let directions = matrices(3);
    for (way, (links, gathers, broadcasts)) in ways.into_iter().enumerate() {
        let mut comm = alone();
        let mut comm = Counted { comm: &mut comm, gathered: vec![], broadcast: vec![] };
        let mut net = Net::new(&mut comm, setting(WORKERS, dims()), links);
        let (server, mut copy) = (Vars::zeros(dims()), Vars::zeros(dims()));
        let iterations = 5;
        for k in 0..iterations {
            net.publish(k, &server, &mut copy).expect("the only rank");
            let compute = |draw: Draw, v: &mut Vars<f64>| {
                v.as_mut_slice().fill(1.0);
                v.split_mut().0.copy_from_slice(&directions[draw.worker]);
                Ok(Losses::default())
            };
            net.mean_at_server(k, compute).expect("the only rank");
        }
        let traffic = net.traffic();
        drop(net);
        let counts = (comm.gathered.len() as u64, comm.broadcast.len() as u64);
        assert_eq!(counts, (gathers as u64 * iterations, broadcasts as u64 * iterations));
        let gathered = comm.gathered.iter().sum::<u64>();
        let up = gathered - counts.0 * envelope - iterations * scalars;
        assert_eq!(traffic.upload_bytes, up, "way {way}");
        let down = comm.broadcast.iter().sum::<u64>() - counts.1 * envelope;
        assert_eq!(traffic.download_bytes, down * WORKERS as u64, "way {way}");
    }
}

/// Two rounds of an iteration: y and z on the batches (3, 1), then x.
#[test]
fn a_round_moves_its_variables_alone() {
    let none = || links(&[(); 3].map(|()| identity()), &json!({ "kind": "none" }), dims(), 0..4);
    let ways: [(&str, Links<f64>); 4] = [
        ("dense", none()),
        ("difference", with_difference(&identity())),
        ("sum", replicated(Collective::Star)),
        ("segments", replicated(Collective::Segments)),
    ];
    let packet = |dim: usize| (16 + 8 * dim) as u64 * WORKERS as u64;
    for (way, links) in ways {
        let comm = &mut alone();
        let mut net = Net::new(comm, setting(WORKERS, dims()), links);
        let mut server = Vars::<f64>::zeros(dims());
        let mut copy = Vars::zeros(dims());
        let (mut bytes, mut draws) = (0, vec![]);
        let lower = [Block::Y, Block::Z];
        for (blocks, more, losses) in [
            (&lower[..], 2 * packet(dims().lower), Losses { upper: f64::NAN, lower: 2.0 }),
            (&[Block::X], packet(dims().upper), Losses { upper: 5.0, lower: f64::NAN }),
        ] {
            let round = Round::of(9, Blocks::of(blocks)).lower(3).upper(1);
            let compute = |draw: Draw, v: &mut Vars<f64>| {
                draws.push(draw);
                v.as_mut_slice().fill(draw.worker as f64);
                Ok(losses)
            };
            let mean = net.mean_at_server(round, compute).expect("the only rank");
            let mean = mean.expect("the only rank is the server");
            assert!(blocks.iter().all(|&b| mean.block(b).iter().all(|&v| v == 1.5)), "{way}");
            server.as_mut_slice().fill(1.0);
            net.publish(round, &server, &mut copy).expect("the only rank");
            server.as_mut_slice().copy_from_slice(copy.as_slice());
            bytes += more;
            let traffic = net.traffic();
            assert_eq!((traffic.upload_bytes, traffic.download_bytes), (bytes, bytes), "{way}");
            let arrived = Block::ALL.map(|block| copy.block(block)[0]);
            let expected = if blocks == lower { [0.0, 1.0, 1.0] } else { [1.0; 3] };
            assert_eq!(arrived, expected, "{way}");
        }
        assert_eq!(net.losses(), Losses { upper: 5.0, lower: 2.0 }, "{way}");
        let worker =
            |worker| Draw { seed: crate::common::SEED, worker, iteration: 9, lower: 3, upper: 1 };
        assert!(draws.iter().enumerate().all(|(i, &draw)| draw == worker(i % WORKERS)), "{way}");
        // Losses of another iteration are forgotten.
        net.publish(10, &server, &mut copy).expect("the only rank");
        assert!(net.losses().upper.is_nan() && net.losses().lower.is_nan(), "{way}");
    }
}

/// Random compressors draw anew in each round, and sender and receiver alike.
#[test]
fn rounds_draw_anew() {
    let rand_k = json!({ "kind": "rand-k", "ratio": 0.1 });
    for config in [&rand_k, &json!({ "kind": "multi-step", "rounds": 2, "inner": rand_k })] {
        let all = [(); 3].map(|()| config.clone());
        let links = links::<f64>(&all, &json!({ "kind": "none" }), dims(), 0..WORKERS);
        let comm = &mut alone();
        let mut net = Net::new(comm, setting(WORKERS, dims()), links);
        let mut mean = |lower| {
            let round = Round::of(0, Blocks::of(&[Block::X])).lower(lower);
            let compute = |_: Draw, v: &mut Vars<f64>| {
                v.as_mut_slice().fill(1.0);
                Ok(Losses::default())
            };
            let mean = net.mean_at_server(round, compute).expect("the only rank");
            mean.expect("the server").x().to_vec()
        };
        let means: Vec<_> = [0, 1, 2, 0].into_iter().map(&mut mean).collect();
        assert_eq!(means[0], means[3], "{config}");
        for [a, b] in [[0, 1], [1, 2], [0, 2]] {
            assert_ne!(means[a], means[b], "{config}");
        }
    }
}
