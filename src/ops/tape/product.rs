//! Matrix products into memory that exists already.

use super::math::kernel;

/// A matrix whose elements lie at regular distances.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `rows × columns`, row after row.
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns);
        Self {
            values,
            rows,
            columns,
            row_stride: columns,
            column_stride: 1,
        }
    }

    pub fn rows(self) -> usize {
        self.rows
    }

    pub fn columns(self) -> usize {
        self.columns
    }

    /// The same elements with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// `out = a·b`, or `out += a·b` with `add`; `out` is row after row. Every element
/// is summed in an order that does not depend on the number of threads.
pub(super) fn product(out: &mut [f32], a: Matrix<'_>, b: Matrix<'_>, add: bool) {
    let (rows, columns, depth) = (a.rows, b.columns, a.columns);
    assert!(out.len() == rows * columns && b.rows == depth);
    if out.is_empty() {
        return;
    }
    if depth == 0 {
        if !add {
            out.fill(0.0);
        }
        return;
    }
    // SAFETY: `Matrix` covers rows × columns elements of its slice, and the
    // lengths checked above those of `out`.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            out.as_mut_ptr(),
            1,
            columns as isize,
            add,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::Rayon(rayon::current_num_threads()),
        );
    }
}

kernel! {
    /// Adds the rows of `x` to `sums`.
    pub(super) fn add_rows(sums: &mut [f32], x: &[f32]) {
        for row in x.chunks_exact(sums.len().max(1)) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_replace_or_add() {
        let a: Vec<f32> = (0..6).map(|i| i as f32).collect(); // 2 × 3
        let b: Vec<f32> = (0..12).map(|i| (i * i) as f32).collect(); // 4 × 3
        let mut out = vec![f32::NAN; 8];
        let (a, b) = (Matrix::new(&a, 2, 3), Matrix::new(&b, 4, 3).transposed());
        product(&mut out, a, b, false);
        let expected = [9.0, 66.0, 177.0, 342.0, 24.0, 216.0, 624.0, 1248.0];
        assert_eq!(out, expected);
        product(&mut out, a, b, true);
        assert_eq!(out, expected.map(|v| 2.0 * v));
        product(
            &mut out,
            Matrix::new(&[], 2, 0),
            Matrix::new(&[], 0, 4),
            false,
        );
        assert_eq!(out, [0.0; 8]);
    }
}
