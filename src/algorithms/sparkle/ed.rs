//! Exact diffusion (Yuan, Ying, Zhao, Sayed 2019; the D2 of Tang et al. 2018).
//!
//! ```text
//! psi = s - a D;   phi = psi + s - psi_previous (at first: phi = psi);   s+ = W phi
//! ```
//!
//! with e = s - psi_previous kept in place of psi_previous, which compression changes least:
//!
//! ```text
//! phi = s - a D + e;   s+ = M phi = phi + eta (W - I) phi~;   e+ = e + eta_dual (W - I) phi~     e = 0 at the start
//! ```
//!
//! (W - I) phi~ is (s+ - phi) / eta. Uncompressed, eta = eta_dual = 1 and phi~ = phi. (LEAD: Liu, Li, Wang,
//! Tang, Yan, ICLR 2021.)

use super::{Strategy, Turn};
use crate::archive::Archive;
use crate::net::{Net, NetError, Site};
use crate::scalar::Scalar;
use crate::vars::add_scaled;

pub struct Ed<F> {
    /// e of each hosted agent.
    pub e: Vec<Vec<F>>,
}

impl<F: Scalar> Strategy<F> for Ed<F> {
    fn send(&mut self, turn: &mut Turn<'_, F>, net: &mut Net<'_, F>) -> Result<(), NetError> {
        let Turn { k, block, agent, place, step, ref mut s, d } = *turn;
        let e = &mut self.e[place];
        add_scaled(s, -step, d);
        add_scaled(s, F::one(), e);
        add_scaled(e, -F::lit(net.dual_rate(block)), s);
        net.put(k, Site::iterate(block), agent, s)
    }

    fn receive(&mut self, turn: &mut Turn<'_, F>, net: &mut Net<'_, F>) -> Result<(), NetError> {
        let Turn { k, block, agent, place, ref mut s, .. } = *turn;
        net.take_estimates(k, Site::iterate(block), agent, s)?;
        add_scaled(&mut self.e[place], F::lit(net.dual_rate(block)), s);
        Ok(())
    }

    fn state(&mut self, place: usize, archive: &mut Archive<'_>) {
        archive.vector(&mut self.e[place]);
    }
}
