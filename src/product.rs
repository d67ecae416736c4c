//! The matrix product.
//!
//! Measured on one core for the shapes of hyper-representation (docs/speed.md): a system OpenBLAS of
//! 2022 does not know newer processors and falls back to its oldest kernels there, at a sixth of the
//! speed; this one asks the processor what it can do.

use ndarray::{ArrayView2, ArrayViewMut2};

use crate::scalar::Scalar;

/// out = A B, or out += A B. Shapes [m x k], [k x n], [m x n], any strides.
///
/// # Panics
/// If the shapes do not fit.
pub fn product<F: Scalar>(
    a: ArrayView2<'_, F>,
    b: ArrayView2<'_, F>,
    add: bool,
    out: ArrayViewMut2<'_, F>,
) {
    assert_eq!((a.ncols(), a.nrows(), b.ncols()), (b.nrows(), out.nrows(), out.ncols()));
    #[cfg(target_arch = "x86_64")]
    if let Some(instructions) = x86::instructions() {
        return x86::product(instructions, a, b, add, out);
    }
    let keep = if add { F::one() } else { F::zero() };
    let mut out = out;
    ndarray::linalg::general_mat_mul(F::one(), &a, &b, keep, &mut out);
}

/// Name of the kernels that this processor gets. The bits of a run depend on it.
pub fn kernels() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    match x86::instructions() {
        Some(private_gemm_x86::InstrSet::Avx512) => return "private-gemm-x86 AVX-512",
        Some(private_gemm_x86::InstrSet::Avx256) => return "private-gemm-x86 AVX2",
        None => {}
    }
    "matrixmultiply"
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use ndarray::{ArrayView2, ArrayViewMut2};
    use private_gemm_x86::{Accum, DType, DstKind, IType, InstrSet, gemm};

    use crate::scalar::Scalar;

    pub fn instructions() -> Option<InstrSet> {
        // The levels x86-64-v4 and v3: AVX-512F alone, as on Xeon Phi, would not do.
        if pulp::x86::V4::try_new().is_some() {
            Some(InstrSet::Avx512)
        } else if pulp::x86::V3::try_new().is_some() {
            Some(InstrSet::Avx256)
        } else {
            None
        }
    }

    pub fn product<F: Scalar>(
        instructions: InstrSet,
        a: ArrayView2<'_, F>,
        b: ArrayView2<'_, F>,
        add: bool,
        mut out: ArrayViewMut2<'_, F>,
    ) {
        if out.is_empty() || a.is_empty() {
            // The sum over nothing; the kernels leave `out` alone then.
            if !add {
                out.fill(F::zero());
            }
            return;
        }
        let one = F::one();
        // SAFETY: the pointers and strides are those of live views of the type that `DType` names,
        // whose shapes the caller has compared; `out` is borrowed mutably, so it overlaps neither.
        // The instructions were detected. Null index and diagonal pointers mean that there are none.
        unsafe {
            gemm(
                if F::BYTES == 4 { DType::F32 } else { DType::F64 },
                IType::U64,
                instructions,
                out.nrows(),
                out.ncols(),
                a.ncols(),
                out.as_mut_ptr().cast(),
                out.strides()[0],
                out.strides()[1],
                std::ptr::null(),
                std::ptr::null(),
                DstKind::Full,
                if add { Accum::Add } else { Accum::Replace },
                a.as_ptr().cast(),
                a.strides()[0],
                a.strides()[1],
                false,
                std::ptr::null(),
                0,
                b.as_ptr().cast(),
                b.strides()[0],
                b.strides()[1],
                false,
                (&raw const one).cast(),
                1,
            );
            // The kernels leave the upper halves of the vector registers in use, which on Intel
            // processors slows down every scalar instruction that follows. AVX was detected.
            std::arch::x86_64::_mm256_zeroupper();
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use super::*;

    fn matrix<F: Scalar>(rows: usize, columns: usize, seed: usize) -> Array2<F> {
        Array2::from_shape_fn((rows, columns), |(i, j)| {
            F::lit(((i * 31 + j * 17 + seed * 7) % 23) as f64 / 8.0 - 1.4)
        })
    }

    /// Against the definition, on all layouts: as stored, transposed, and parts of larger matrices.
    fn agrees<F: Scalar>(tolerance: f64) {
        for (m, k, n) in
            [(1, 1, 1), (3, 5, 7), (17, 33, 20), (128, 65, 31), (2, 0, 3), (20, 300, 10)]
        {
            let a = matrix::<F>(m + 1, k + 2, 1);
            let b_transposed = matrix::<F>(n, k, 2);
            let mut out = matrix::<F>(m, n + 3, 3);
            let (a, b) = (a.slice(s![1.., 2..]), b_transposed.t());
            for add in [false, true] {
                let before = out.clone();
                product(a, b, add, out.slice_mut(s![.., ..n]));
                for i in 0..m {
                    for j in 0..n {
                        let mut expected = if add { before[(i, j)].wide() } else { 0.0 };
                        expected +=
                            (0..k).map(|l| a[(i, l)].wide() * b[(l, j)].wide()).sum::<f64>();
                        let off = (out[(i, j)].wide() - expected).abs();
                        assert!(
                            off <= tolerance * (1.0 + k as f64),
                            "{m} {k} {n} ({i}, {j}) {off}"
                        );
                    }
                }
                assert_eq!(out.slice(s![.., n..]), before.slice(s![.., n..]));
            }
        }
    }

    #[test]
    fn products_agree_with_the_definition() {
        agrees::<f32>(1e-6);
        agrees::<f64>(1e-15);
    }

    #[test]
    fn bits_do_not_depend_on_where_the_matrices_lie() {
        let (a, b) = (matrix::<f32>(61, 130, 1), matrix::<f32>(130, 45, 2));
        let mut expected = Array2::zeros((61, 45));
        product(a.view(), b.view(), false, expected.view_mut());
        for shift in 1..17 {
            let mut room = vec![0.0; a.len() + shift];
            room[shift..].copy_from_slice(a.as_slice().expect("contiguous"));
            let moved = ArrayView2::from_shape((61, 130), &room[shift..]).expect("fits");
            let mut out = vec![0.0; expected.len() + shift];
            let mut view = ArrayViewMut2::from_shape((61, 45), &mut out[shift..]).expect("fits");
            product(moved, b.view(), false, view.view_mut());
            assert_eq!(view, expected);
        }
    }
}
