//! CM-SOBA (He, Hu, Huang, Lu, Wang, Yuan: Distributed bilevel optimization with communication
//! compression, ICML 2024): C-SOBA with a moving average of the hypergradient at the server.
//!
//! ```text
//! worker i:  send C_x(D_x,i), C_y(D_y,i), C_z(D_z,i)
//! server:    h+ = (1 - theta) h + theta mean_i C_x(D_x,i)         h = 0 at the start
//!            x+ = x - alpha h+
//!            y+ = y - beta  mean_i C_y(D_y,i)
//!            z+ = Clip(z - gamma mean_i C_z(D_z,i); rho)
//!            broadcast (x+, y+, z+)
//! ```
//!
//! With the identity this is MA-SOBA; see `ma_soba.rs`. Without feedback it
//! requires unbiased compressors for its guarantee; with residual feedback any that contracts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Algorithm, AlgorithmContext, AlgorithmFacts, AlgorithmKind, descend_lower};
use crate::archive::{Archive, Holder};
use crate::config::{Positive, Ratio};
use crate::net::{Net, NetError};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::vars::{Blocks, Vars, add_scaled, average_in};
use crate::workers::Workers;

/// Parameters of CM-SOBA.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CmSoba {
    /// Step size of x.
    pub(super) alpha: Positive,
    /// Step size of y.
    pub(super) beta: Positive,
    /// Step size of z.
    pub(super) gamma: Positive,
    /// Weight of the newest direction in the moving average.
    pub(super) theta: Ratio,
    /// Clip radius of z; left out: no clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rho: Option<Positive>,
}

impl Kind for CmSoba {
    const KIND: &'static str = "cm-soba";
    const SUMMARY: &'static str = "C-SOBA with a moving average of the hypergradient at the server";
    const SOURCE: &'static str = "He et al., ICML 2024";
}

impl AlgorithmKind for CmSoba {
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
            theta: F::lit(self.theta.get()),
            rho: self.rho.map(Positive::get),
            h: vec![F::zero(); context.start.dims().upper],
            v: context.start.clone(),
            server: context.start,
        })
    }
}

struct State<F> {
    alpha: F,
    beta: F,
    gamma: F,
    theta: F,
    rho: Option<f64>,
    /// (x, y, z) at the server.
    server: Vars<F>,
    /// The moving average at the server [p].
    h: Vec<F>,
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
            average_in(&mut self.h, self.theta, d.x());
            let (x, ..) = self.server.split_mut();
            add_scaled(x, -self.alpha, &self.h);
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
            archive.vector(&mut self.h);
            archive.vector(self.v.as_mut_slice());
        }
    }
}
