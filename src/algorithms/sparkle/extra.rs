//! EXTRA (Shi, Ling, Wu, Yin 2015).
//!
//! ```text
//! s_1 = W s_0 - a D_0;   s_{k+2} = 2 W s_{k+1} - W s_k - a (D_{k+1} - D_k)
//! ```
//!
//! which is, with e the sum of (W - I) s over the iterations after the first,
//!
//! ```text
//! s+ = M s - a D + e,   M s = s + eta (W - I) s~;   e grows by eta_dual (W - I) s~ before, but for s_0
//! ```
//!
//! (W - I) s~ is (M s - s) / eta. Uncompressed, eta = eta_dual = 1 and s~ = s.

use super::{Strategy, Turn};
use crate::archive::Archive;
use crate::net::{Net, NetError, Site};
use crate::scalar::Scalar;
use crate::vars::add_scaled;

pub struct Extra<F> {
    /// e of each hosted agent.
    pub e: Vec<Vec<F>>,
}

impl<F: Scalar> Strategy<F> for Extra<F> {
    fn sends_before(&self) -> bool {
        true
    }

    fn send(&mut self, turn: &mut Turn<'_, F>, net: &mut Net<'_, F>) -> Result<(), NetError> {
        let Turn { k, block, agent, ref s, .. } = *turn;
        net.put(k, Site::iterate(block), agent, s)
    }

    fn receive(&mut self, turn: &mut Turn<'_, F>, net: &mut Net<'_, F>) -> Result<(), NetError> {
        let Turn { k, block, agent, place, step, ref mut s, d } = *turn;
        let e = &mut self.e[place];
        let rate = if k == 0 { F::zero() } else { F::lit(net.dual_rate(block)) };
        add_scaled(e, -rate, s);
        net.take_estimates(k, Site::iterate(block), agent, s)?;
        add_scaled(e, rate, s);
        add_scaled(s, F::one(), e);
        add_scaled(s, -step, d);
        Ok(())
    }

    fn state(&mut self, place: usize, archive: &mut Archive<'_>) {
        archive.vector(&mut self.e[place]);
    }
}
