//! Memories: each worker sends the difference from a memory m_i, which both sides follow.
//!
//! ```text
//! worker i:  c_i = C(D_i - m_i);  m_i += rate c_i;  sends c_i            m_i = 0 at the start
//! server:    D^ = m + mean_i c_i;  m += rate mean_i c_i                  m = mean_i m_i
//! ```
//!
//! EF-SOBA's own (He et al., ICML 2024) takes rate = 1/(1 + omega) for an unbiased C, as DIANA does
//! (Mishchenko, Gorbunov, Takac, Richtarik 2019), and 1 for a contractive C, as EF21 does (Richtarik,
//! Sokolov, Fatkhullin, NeurIPS 2021). `diana.rs` and `ef21.rs` set the rate otherwise.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Feedback, FeedbackContext, FeedbackFacts, FeedbackKind, Needs, PerWorker, Sent};
use crate::archive::{Archive, Holder};
use crate::compressors::Bound;
use crate::packet::DecodeError;
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::vars::{Block, Vars, add_scaled};

/// EF-SOBA's memories.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Memory {}

impl Kind for Memory {
    const KIND: &'static str = "memory";
    const SUMMARY: &'static str =
        "differences from a memory that follows at 1/(1+omega), or at 1 for a contraction";
    const SOURCE: &'static str = "He et al., ICML 2024";
}

impl FeedbackKind for Memory {
    const FACTS: FeedbackFacts = Needs::AnyCompressor.facts();

    fn build<F: Scalar>(&self, context: FeedbackContext) -> Box<dyn Feedback<F>> {
        let rates = context.bounds.map(Bound::contraction);
        Box::new(Memories::<F>::new(&context, rates))
    }
}

/// m_i of the hosted workers and m of the server.
pub(super) struct Memories<F> {
    workers: PerWorker<F>,
    server: Vars<F>,
    /// For x, y and z.
    rates: [F; 3],
}

impl<F: Scalar> Memories<F> {
    pub fn new(context: &FeedbackContext, rates: [f64; 3]) -> Self {
        Self {
            workers: PerWorker::zeros(context),
            server: Vars::zeros(context.dims),
            rates: rates.map(F::lit),
        }
    }
}

impl<F: Scalar> Feedback<F> for Memories<F> {
    fn target(&mut self, worker: usize, block: Block, v: &mut [F]) {
        add_scaled(v, -F::one(), self.workers.of(worker, block));
    }

    fn follow(
        &mut self,
        worker: usize,
        block: Block,
        _v: &[F],
        sent: Option<Sent<'_, F>>,
    ) -> Result<(), DecodeError> {
        match sent {
            Some(sent) => sent(self.rates[block as usize], self.workers.of_mut(worker, block)),
            Option::None => Ok(()),
        }
    }

    fn estimate(&mut self, block: Block, mean: &mut [F]) {
        let memory = self.server.block_mut(block);
        let rate = self.rates[block as usize];
        for (memory, mean) in memory.iter_mut().zip(mean) {
            let sent = *mean;
            *mean = *memory + sent;
            *memory += rate * sent;
        }
    }

    fn state(&mut self, of: Holder, archive: &mut Archive<'_>) {
        self.workers.state(of, archive);
        if of == Holder::Server {
            archive.vector(self.server.as_mut_slice());
        }
    }

    fn numbers(&self) -> [usize; 2] {
        [self.server.dims().total(); 2]
    }
}
