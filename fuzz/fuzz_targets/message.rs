//! What the server gathers from a rank: envelope, report, losses, packets.

#![no_main]

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use sobaya::comm::{Comm, CommError, Cost, Messages};
use sobaya::compressors::{self, Site};
use sobaya::feedback::{self, FeedbackContext};
use sobaya::net::{Collective, Downlink, Links, Net, Setting, Uplink};
use sobaya::problems::Losses;
use sobaya::vars::{Dims, Layout};
use sobaya_fuzz::{allocated, seeds_folder};

const DIMS: Dims = Dims { upper: 30, lower: 20 };
/// Bytes of an input that say which part of a true message the others replace.
const PLACE: usize = 3;

/// The root of two ranks, the other of which says what it is told to.
#[derive(Clone, Default)]
struct Forger {
    /// What rank 1 sends.
    forged: Rc<RefCell<Vec<u8>>>,
    /// What rank 0 sent.
    honest: Rc<RefCell<Vec<u8>>>,
}

impl Comm for Forger {
    fn rank(&self) -> usize {
        0
    }

    fn ranks(&self) -> usize {
        2
    }

    fn gather(&mut self, mine: &[u8], inbox: &mut Messages) -> Result<Cost, CommError> {
        self.honest.replace(mine.to_vec());
        inbox.clear();
        inbox.push(|bytes| bytes.extend_from_slice(mine));
        inbox.push(|bytes| bytes.extend_from_slice(&self.forged.borrow()));
        Ok(Cost::default())
    }

    fn broadcast(&mut self, _: &mut Vec<u8>) -> Result<Cost, CommError> {
        Ok(Cost::default())
    }

    fn exchange(&mut self, _: &Messages, _: &[usize], _: &mut Messages) -> Result<Cost, CommError> {
        Err(CommError::Gone(1))
    }
}

struct Server {
    net: Net<'static, f32>,
    forger: Forger,
}

impl Server {
    fn new() -> Self {
        let forger = Forger::default();
        let setting = Setting { workers: 2, dims: DIMS, seed: 7, fingerprint: 5 };
        let net = Net::new(Box::leak(Box::new(forger.clone())), setting, links());
        let mut server = Self { net, forger };
        // The ranks' workers have the same vectors, and these compressors draw alike.
        server.gather(&[]);
        let honest = server.forger.honest.borrow().clone();
        assert!(server.gather(&honest), "a message as the root's own");
        server
    }

    /// One iteration with this message of rank 1; whether it was taken.
    fn gather(&mut self, message: &[u8]) -> bool {
        let mut forged = self.forger.forged.borrow_mut();
        forged.clear();
        forged.extend_from_slice(message);
        drop(forged);
        let before = allocated();
        let taken = (self.net)
            .mean_at_server(3, |_, v| {
                v.as_mut_slice().iter_mut().zip(0u8..).for_each(|(v, j)| *v = f32::from(j) - 30.0);
                Ok(Losses::default())
            })
            .is_ok();
        let allocated = allocated() - before;
        assert!(allocated <= 8 * message.len() + 8192, "{allocated} bytes");
        taken
    }

    /// Tries bytes as a message, then as a part of a true one.
    fn try_all(&mut self, bytes: &[u8]) {
        self.gather(bytes);
        if let Some((&[low, high, cut], bytes)) = bytes.split_first_chunk::<PLACE>() {
            let mut message = self.forger.honest.borrow().clone();
            let start = usize::from(u16::from_le_bytes([low, high])) % message.len();
            let end = message.len().min(start + bytes.len());
            message[start..end].copy_from_slice(&bytes[..end - start]);
            // Too long or too short by a few bytes, or as it was.
            message.resize(message.len() + usize::from(cut % 8 / 6), cut);
            message.truncate(message.len() - usize::from(cut / 8 / 30));
            self.gather(&message);
        }
    }

    fn write_seeds(&self, folder: &Path) {
        std::fs::create_dir_all(folder).expect("the folder can be made");
        let honest = self.forger.honest.borrow();
        let part = [&[0; PLACE], &honest[..16]].concat();
        for (name, seed) in [("message", &honest[..]), ("part", &part)] {
            std::fs::write(folder.join(name), seed).expect("a seed can be written");
        }
    }
}

/// x is summed as numbers, y and z are decoded.
fn links() -> Links<f32> {
    let up = [
        json!({ "kind": "rand-k", "ratio": 0.3, "shared": true }),
        json!({ "kind": "top-k", "ratio": 0.3, "bits": 4, "index": "rice" }),
        json!({ "kind": "dithering", "norm": "l2", "bucket": 9 }),
    ];
    let up = std::array::from_fn(|b| uplink(&up[b], DIMS.blocks()[b]));
    let bounds = up.each_ref().map(|link: &Uplink<f32>| link.coder.bound());
    let context = FeedbackContext { dims: DIMS, hosted: 0..1, bounds };
    let none = feedback::registry().build(&json!({ "kind": "none" }), context);
    let feedback = none.unwrap_or_else(|e| panic!("{e}"));
    Links { up, feedback, down: Downlink::Dense, collective: Collective::Star }
}

fn uplink(config: &Value, dim: usize) -> Uplink<f32> {
    let layout = Layout::flat(dim);
    let coder = compressors::coders().build(config, Site::new(&layout));
    Uplink { coder: *coder.unwrap_or_else(|e| panic!("{e}")), gain: 1.0, every: 1, fed: true }
}

thread_local! {
    static SERVER: RefCell<Server> = RefCell::new(Server::new());
}

fuzz_target!(
    init: {
        if let Some(folder) = seeds_folder() {
            SERVER.with_borrow(|server| server.write_seeds(&folder));
        }
    },
    |bytes: &[u8]| SERVER.with_borrow_mut(|server| server.try_all(bytes))
);
