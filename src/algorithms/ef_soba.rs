//! EF-SOBA (He, Hu, Huang, Lu, Wang, Yuan: Distributed bilevel optimization with communication
//! compression, ICML 2024): error feedback on all three directions.
//!
//! ```text
//! worker i, for each of x, y, z:  c_i = C(D_i - m_i);  m_i += delta c_i;  send c_i
//! server:    D^ = m + mean_i c_i;  m += delta mean_i c_i           all memories 0 at the start;
//!                                                                  see feedback/memory.rs
//!            h+ = (1 - theta) h + theta D^_x                       h = 0 at the start
//!            x+ = x - alpha h+
//!            y+ = y - beta D^_y
//!            z+ = Clip(z - gamma D^_z; rho)
//!            broadcast (x+, y+, z+)
//! ```
//!
//! With momentum "worker" the average is taken before compression:
//!
//! ```text
//! worker i:  h_i+ = (1 - theta) h_i + theta D_x,i;   c_x,i = C(h_i+ - m_i)
//! server:    x+ = x - alpha D^_x
//! ```
//!
//! The memories may be those of another feedback (EF21, DIANA, EControl ...).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Algorithm, AlgorithmContext, AlgorithmFacts, AlgorithmKind, descend_lower};
use crate::archive::{Archive, Holder};
use crate::config::{KeyError, Positive, Ratio};
use crate::net::{Net, NetError};
use crate::problems::{Draw, ProblemFacts};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::vars::{Blocks, Vars, add_scaled, average_in};
use crate::workers::Workers;

/// Who averages the hypergradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Momentum {
    /// The server, after decompression.
    #[default]
    Server,
    /// Each worker, before compression.
    Worker,
}

/// Parameters of EF-SOBA.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EfSoba {
    /// Step size of x.
    alpha: Positive,
    /// Step size of y.
    beta: Positive,
    /// Step size of z.
    gamma: Positive,
    /// Weight of the newest direction in the moving average.
    #[serde(default = "default_theta")]
    theta: Ratio,
    /// Clip radius of z; left out: no clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rho: Option<Positive>,
    #[serde(default)]
    momentum: Momentum,
}

fn default_theta() -> Ratio {
    Ratio::constant(0.1)
}

impl Kind for EfSoba {
    const KIND: &'static str = "ef-soba";
    const SUMMARY: &'static str =
        "SOBA with error feedback on all three directions, momentum at the server or the workers";
    const SOURCE: &'static str = "He et al., ICML 2024";
}

impl AlgorithmKind for EfSoba {
    const FACTS: AlgorithmFacts = AlgorithmFacts {
        compressed: true,
        feedback: &["memory", "ef21", "diana", "ef21-momentum", "econtrol"],
        auxiliary: true,
        neighbours: false,
    };

    fn suits(&self, problem: ProblemFacts) -> Result<(), KeyError> {
        if problem.sparse_upper && self.momentum == Momentum::Worker {
            let words = "the workers' averages have an entry for each of their samples, while this \
                         problem's workers send those of the mini-batch alone; use \"server\"";
            return Err(KeyError::value("momentum", words.into()));
        }
        Ok(())
    }

    fn build<F: Scalar>(&self, context: AlgorithmContext<F>) -> Box<dyn Algorithm<F>> {
        let AlgorithmContext { start, hosted, .. } = context;
        let average = vec![F::zero(); start.dims().upper];
        let averages = match self.momentum {
            Momentum::Server => 1,
            Momentum::Worker => hosted.len(),
        };
        Box::new(State {
            alpha: F::lit(self.alpha.get()),
            beta: F::lit(self.beta.get()),
            gamma: F::lit(self.gamma.get()),
            theta: F::lit(self.theta.get()),
            rho: self.rho.map(Positive::get),
            momentum: self.momentum,
            first: hosted.start,
            h: vec![average; averages],
            v: start.clone(),
            server: start,
        })
    }
}

struct State<F> {
    alpha: F,
    beta: F,
    gamma: F,
    theta: F,
    rho: Option<f64>,
    momentum: Momentum,
    /// First hosted worker.
    first: usize,
    /// (x, y, z) at the server.
    server: Vars<F>,
    /// Moving averages [p]: the server's one, or h_i of each hosted worker.
    h: Vec<Vec<F>>,
    /// (x, y, z) as the workers hold it.
    v: Vars<F>,
}

impl<F: Scalar> Algorithm<F> for State<F> {
    fn step(
        &mut self,
        k: u64,
        workers: &mut Workers<F>,
        net: &mut Net<'_, F>,
    ) -> Result<(), NetError> {
        net.publish(k, &self.server, &mut self.v)?;
        let directions = |draw: Draw, d: &mut Vars<F>| {
            let losses = workers.directions(draw, Blocks::ALL, &self.v, d)?;
            if self.momentum == Momentum::Worker {
                let h = &mut self.h[draw.worker - self.first];
                let (dx, ..) = d.split_mut();
                average_in(h, self.theta, dx);
                dx.copy_from_slice(h);
            }
            Ok(losses)
        };
        if let Some(d) = net.mean_at_server(k, directions)? {
            let (x, ..) = self.server.split_mut();
            match self.momentum {
                Momentum::Server => {
                    let h = &mut self.h[0];
                    average_in(h, self.theta, d.x());
                    add_scaled(x, -self.alpha, h);
                }
                Momentum::Worker => add_scaled(x, -self.alpha, d.x()),
            }
            descend_lower(&mut self.server, d, self.beta, self.gamma, self.rho);
        }
        Ok(())
    }

    fn iterate(&self) -> &Vars<F> {
        &self.server
    }

    fn state(&mut self, of: Holder, archive: &mut Archive<'_>) {
        if of == Holder::Server {
            archive.vector(self.server.as_mut_slice());
            archive.vector(self.v.as_mut_slice());
        }
        match (self.momentum, of) {
            (Momentum::Server, Holder::Server) => archive.vector(&mut self.h[0]),
            (Momentum::Worker, Holder::Worker(i)) => archive.vector(&mut self.h[i - self.first]),
            _ => {}
        }
    }
}
