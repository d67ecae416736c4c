//! C-SOBA (He, Hu, Huang, Lu, Wang, Yuan: Distributed bilevel optimization with communication
//! compression, ICML 2024).
//!
//! ```text
//! worker i:  send C_x(D_x,i), C_y(D_y,i), C_z(D_z,i)
//! server:    x+ = x - alpha mean_i C_x(D_x,i)
//!            y+ = y - beta  mean_i C_y(D_y,i)
//!            z+ = Clip(z - gamma mean_i C_z(D_z,i); rho)
//!            broadcast (x+, y+, z+)
//! ```
//!
//! With residual feedback (EF14) what was not sent is added to the next direction and any compressor
//! that contracts will do. Without, it requires unbiased compressors for its guarantee, and on
//! heterogeneous workers it stalls where the D_i do not vanish although their mean does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Algorithm, AlgorithmContext, AlgorithmFacts, AlgorithmKind, descend_lower};
use crate::archive::{Archive, Holder};
use crate::config::Positive;
use crate::net::{Net, NetError};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::vars::{Blocks, Vars, add_scaled};
use crate::workers::Workers;

/// Parameters of C-SOBA.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CSoba {
    /// Step size of x.
    pub(super) alpha: Positive,
    /// Step size of y.
    pub(super) beta: Positive,
    /// Step size of z.
    pub(super) gamma: Positive,
    /// Clip radius of z; left out: no clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rho: Option<Positive>,
}

impl Kind for CSoba {
    const KIND: &'static str = "c-soba";
    const SUMMARY: &'static str = "SOBA with compressed directions";
    const SOURCE: &'static str = "He et al., ICML 2024";
}

impl AlgorithmKind for CSoba {
    const FACTS: AlgorithmFacts = AlgorithmFacts {
        compressed: true,
        feedback: &["none", "residual"],
        auxiliary: true,
        neighbours: false,
    };

    fn build<F: Scalar>(&self, context: AlgorithmContext<F>) -> Box<dyn Algorithm<F>> {
        Box::new(State {
            alpha: F::lit(self.alpha.get()),
            beta: F::lit(self.beta.get()),
            gamma: F::lit(self.gamma.get()),
            rho: self.rho.map(Positive::get),
            v: context.start.clone(),
            server: context.start,
        })
    }
}

struct State<F> {
    alpha: F,
    beta: F,
    gamma: F,
    rho: Option<f64>,
    /// (x, y, z) at the server.
    server: Vars<F>,
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
        let directions = |draw, d: &mut _| workers.directions(draw, Blocks::ALL, &self.v, d);
        if let Some(d) = net.mean_at_server(k, directions)? {
            let (x, ..) = self.server.split_mut();
            add_scaled(x, -self.alpha, d.x());
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
    }
}
