//! Gossip without correction, adapt then combine: `s+ = W (s - a D)`.

use super::{Strategy, Turn};
use crate::archive::Archive;
use crate::net::{Net, NetError, Site};
use crate::scalar::Scalar;
use crate::vars::add_scaled;

pub struct Gossip;

impl<F: Scalar> Strategy<F> for Gossip {
    fn send(&mut self, turn: &mut Turn<'_, F>, net: &mut Net<'_, F>) -> Result<(), NetError> {
        let Turn { k, block, agent, step, ref mut s, d, .. } = *turn;
        add_scaled(s, -step, d);
        net.put(k, Site::iterate(block), agent, s)
    }

    fn receive(&mut self, turn: &mut Turn<'_, F>, net: &mut Net<'_, F>) -> Result<(), NetError> {
        let Turn { k, block, agent, ref mut s, .. } = *turn;
        net.take(k, Site::iterate(block), agent, s)
    }

    fn state(&mut self, _place: usize, _archive: &mut Archive<'_>) {}
}
