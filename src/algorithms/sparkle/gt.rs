//! Gradient tracking (Xu, Zhu, Soh, Xie 2015; Di Lorenzo, Scutari 2016; Nedic, Olshevsky, Shi 2017): t
//! follows the mean of the agents' directions.
//!
//! ```text
//! atc-gt        s+ = W (s - a t);   t+ = W (t + D+ - D),   t = W D at the start
//! semi-atc-gt   s+ = W (s - a t);   t+ = W t + D+ - D,     t = D at the start
//! non-atc-gt    s+ = W s - a t;     t+ = W t + D+ - D,     t = D at the start
//! ```
//!
//! An iteration makes the t of its own D. In semi-atc-gt W t for the next one travels together with s; in
//! non-atc-gt the t of the iteration before does (0 in the first), so that nothing that travels needs D; in
//! atc-gt the tracker's exchange goes before.

use super::{Strategy, Turn};
use crate::archive::Archive;
use crate::net::{Net, NetError, Site};
use crate::scalar::Scalar;
use crate::vars::add_scaled;

/// When s and t are combined with those of the neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Both after they are adapted.
    Atc,
    /// s after, t before.
    SemiAtc,
    /// Both before.
    NonAtc,
}

pub struct Gt<F> {
    form: Form,
    /// Between iterations t, for semi-atc W t; of each hosted agent.
    t: Vec<Vec<F>>,
    /// D of the iteration before.
    previous: Vec<Vec<F>>,
}

impl<F: Scalar> Gt<F> {
    pub fn new(form: Form, zeros: Vec<Vec<F>>) -> Self {
        Self { form, t: zeros.clone(), previous: zeros }
    }

    /// t += D - D of the iteration before.
    fn follow(&mut self, place: usize, d: &[F]) {
        let (t, previous) = (&mut self.t[place], &mut self.previous[place]);
        add_scaled(t, F::one(), d);
        add_scaled(t, -F::one(), previous);
        previous.copy_from_slice(d);
    }
}

impl<F: Scalar> Strategy<F> for Gt<F> {
    fn sends_before(&self) -> bool {
        self.form == Form::NonAtc
    }

    fn has_prelude(&self) -> bool {
        self.form == Form::Atc
    }

    fn send_prelude(&mut self, turn: &Turn<'_, F>, net: &mut Net<'_, F>) -> Result<(), NetError> {
        if self.form != Form::Atc {
            return Ok(());
        }
        let Turn { k, block, agent, place, d, .. } = *turn;
        self.follow(place, d);
        net.put(k, Site::tracker(block), agent, &self.t[place])
    }

    fn receive_prelude(
        &mut self,
        turn: &Turn<'_, F>,
        net: &mut Net<'_, F>,
    ) -> Result<(), NetError> {
        if self.form != Form::Atc {
            return Ok(());
        }
        let Turn { k, block, agent, place, .. } = *turn;
        net.take(k, Site::tracker(block), agent, &mut self.t[place])
    }

    fn send(&mut self, turn: &mut Turn<'_, F>, net: &mut Net<'_, F>) -> Result<(), NetError> {
        let Turn { k, block, agent, place, step, ref mut s, d } = *turn;
        if self.form == Form::SemiAtc {
            self.follow(place, d);
        }
        if self.form != Form::Atc {
            net.put(k, Site::tracker(block), agent, &self.t[place])?;
        }
        if self.form != Form::NonAtc {
            add_scaled(s, -step, &self.t[place]);
        }
        net.put(k, Site::iterate(block), agent, s)
    }

    fn receive(&mut self, turn: &mut Turn<'_, F>, net: &mut Net<'_, F>) -> Result<(), NetError> {
        let Turn { k, block, agent, place, step, ref mut s, d } = *turn;
        net.take(k, Site::iterate(block), agent, s)?;
        if self.form != Form::Atc {
            net.take(k, Site::tracker(block), agent, &mut self.t[place])?;
        }
        if self.form == Form::NonAtc {
            self.follow(place, d);
            add_scaled(s, -step, &self.t[place]);
        }
        Ok(())
    }

    fn state(&mut self, place: usize, archive: &mut Archive<'_>) {
        archive.vector(&mut self.t[place]);
        archive.vector(&mut self.previous[place]);
    }

    fn vectors(&self) -> u64 {
        2
    }
}
