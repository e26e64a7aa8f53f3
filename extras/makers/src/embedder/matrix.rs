//! Matrix products on row-major slices, on the calling thread only.

/// How a product is written into its destination.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Into {
    Replace,
    Add,
}

/// One operand: its values and the distances between rows and columns.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    values: &'a [f32],
    row: isize,
    column: isize,
}

/// A row-major matrix with `columns` columns.
pub fn plain(values: &[f32], columns: usize) -> Side<'_> {
    Side {
        values,
        row: columns as isize,
        column: 1,
    }
}

/// The transpose of a row-major matrix that has `columns` columns.
pub fn turned(values: &[f32], columns: usize) -> Side<'_> {
    Side {
        values,
        row: 1,
        column: columns as isize,
    }
}

/// `out[m, n] = a[m, k] · b[k, n]`, or added to it; rows of `out` are `n` long.
pub fn product(
    m: usize,
    k: usize,
    n: usize,
    a: Side<'_>,
    b: Side<'_>,
    out: &mut [f32],
    into: Into,
) {
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    let last = |rows: usize, columns: usize, side: &Side<'_>| {
        (rows - 1) * side.row as usize + (columns - 1) * side.column as usize
    };
    assert!(
        last(m, k, &a) < a.values.len() && last(k, n, &b) < b.values.len() && m * n <= out.len()
    );
    // SAFETY: the assertion above keeps every access of the three operands
    // inside its slice, and `out` is borrowed exclusively.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            into == Into::Add,
            a.values.as_ptr(),
            a.column,
            a.row,
            b.values.as_ptr(),
            b.column,
            b.row,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
