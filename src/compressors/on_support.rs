//! Vectors that are zero outside a support which sender and receiver derive from the key: their values
//! there, as they are. Nothing is lost, and no index travels.

use super::{Bound, Compressor, NotFinite};
use crate::key::{Key, Support};
use crate::packet::{self, DecodeError, HEADER, Header, Packet};
use crate::scalar::Scalar;

const WIRE: u8 = 11;
/// The receiver derives the positions from the key.
const FROM_KEY: u8 = 3;

/// C(v) = v for every v [dim] that is zero outside the support.
pub struct OnSupport {
    dim: usize,
    support: Box<dyn Support>,
    positions: Vec<u32>,
}

impl OnSupport {
    /// For vectors of length `dim` with this support.
    pub fn new(dim: usize, support: Box<dyn Support>) -> Self {
        Self { dim, support, positions: vec![] }
    }

    fn header<F: Scalar>(&self) -> Header {
        Header {
            compressor: WIRE,
            index_code: FROM_KEY,
            value_code: packet::raw_value_code::<F>(),
            dim: self.dim,
            count: self.positions.len(),
        }
    }
}

impl<F: Scalar> Compressor<F> for OnSupport {
    fn bound(&self) -> Bound {
        Bound::Unbiased { omega: 0.0 }
    }

    fn encode(&mut self, v: &[F], key: Key, out: &mut Vec<u8>) -> Result<(), NotFinite> {
        self.support.positions(key, &mut self.positions);
        let values = self.positions.iter().map(|&j| v[j as usize]);
        if !values.clone().all(|v| v.is_finite()) {
            return Err(NotFinite);
        }
        packet::write(out, self.header::<F>(), |out| {
            values.for_each(|v| out.extend_from_slice(bytemuck::bytes_of(&v)));
        });
        Ok(())
    }

    fn decode_add(
        &mut self,
        packet: Packet<'_>,
        key: Key,
        scale: F,
        out: &mut [F],
    ) -> Result<(), DecodeError> {
        self.support.positions(key, &mut self.positions);
        let Packet { header, payload } = packet;
        header.expect(self.header::<F>())?;
        let values = packet::values::<F>(payload, header.count)?;
        for (&j, v) in self.positions.iter().zip(values) {
            out[j as usize] += scale * v;
        }
        Ok(())
    }

    fn max_packet(&self) -> usize {
        HEADER + self.support.most() * F::BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Stream;

    /// Every `worker`-th coordinate.
    struct Every(u32);

    impl Support for Every {
        fn positions(&self, key: Key, out: &mut Vec<u32>) {
            out.clear();
            out.extend((0..self.0).step_by(key.worker as usize));
        }
        fn most(&self) -> usize {
            self.0 as usize
        }
    }

    #[test]
    fn values_on_the_support_arrive_as_they_are() {
        let key = Key::shared(1, Stream::CompressX);
        let mut coder = OnSupport::new(10, Box::new(Every(10)));
        let v: Vec<f32> = (0..10).map(|j| if j % 3 == 0 { j as f32 } else { 0.0 }).collect();
        let mut bytes = vec![];
        coder.encode(&v, key.worker(3), &mut bytes).unwrap();
        assert_eq!(bytes.len(), HEADER + 4 * 4);
        let (packet, _) = Packet::split(&bytes).unwrap();
        let mut out = vec![1.0f32; 10];
        coder.decode_add(packet, key.worker(3), 2.0, &mut out).unwrap();
        assert!(out.iter().zip(&v).all(|(out, v)| *out == 1.0 + 2.0 * v));
        // A receiver that derives another support notices.
        let wrong = coder.decode_add(packet, key.worker(4), 1.0, &mut out);
        assert!(matches!(wrong, Err(DecodeError::Field { .. })), "{wrong:?}");
        assert_eq!(coder.encode(&[f32::NAN; 10], key.worker(9), &mut bytes), Err(NotFinite));
    }
}
