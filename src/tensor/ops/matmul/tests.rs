//! Products against the plain triple loop in f64, at every level that the machine has.

use std::ops::Range;

use super::{
    Matrix, Source,
    blocked::{Operands, Target, product},
    gemm_into, gemm_of, gemm_parallel,
};
use crate::{
    Real,
    pool::Ptr,
    simd::{Level, level, math::Float},
};

/// Numbers in [-1/2, 1/2), the same for the same seed.
fn numbers<T: Real>(count: usize, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        T::of((state >> 40) as f64 / (1u64 << 24) as f64 - 0.5)
    };
    (0..count).map(next).collect()
}

/// The steps between rows and columns, and the length in memory, of an operand with so many rows and columns.
type Layout = fn(usize, usize) -> (usize, usize, usize);

/// By rows, by columns, by rows that lie apart, or with steps in both directions.
const LAYOUTS: [Layout; 4] = [
    |rows, columns| (columns, 1, rows * columns),
    |rows, columns| (1, rows, rows * columns),
    |rows, columns| (columns + 3, 1, rows * (columns + 3)),
    |rows, columns| (2 * columns + 1, 2, rows * (2 * columns + 1)),
];

struct Case<T> {
    sizes: [usize; 3],
    steps: [(usize, usize); 2],
    values: [Vec<T>; 2],
}

impl<T: Real> Case<T> {
    fn new([m, k, n]: [usize; 3], layouts: [usize; 2]) -> Self {
        let (a, b) = (LAYOUTS[layouts[0]](m, k), LAYOUTS[layouts[1]](k, n));
        Self {
            sizes: [m, k, n],
            steps: [(a.0, a.1), (b.0, b.1)],
            values: [numbers(a.2, 1 + m as u64), numbers(b.2, 99 + n as u64)],
        }
    }

    fn operand(&self, i: usize) -> Matrix<'_, T> {
        let ((row, column), values) = (self.steps[i], &self.values[i]);
        Matrix {
            values,
            row,
            column,
        }
    }

    /// The product of the absolute values too: the scale of the error.
    fn expected(&self, row: usize, column: usize) -> (f64, f64) {
        let (a, b) = (self.operand(0), self.operand(1));
        let term = |p: usize| {
            let x = Float::to_f64(a.values[row * a.row + p * a.column]);
            x * Float::to_f64(b.values[p * b.row + column * b.column])
        };
        let terms = (0..self.sizes[1]).map(term);
        terms.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()))
    }

    /// The product by the kernels of a level; at the scalar level as [`gemm_into`] has it.
    fn product_at(&self, level: Level, out: &mut [T], step: usize, add: bool) {
        let ([m, k, n], a, b) = (self.sizes, self.operand(0), self.operand(1));
        let target = Target {
            out: Ptr(out.as_mut_ptr()),
            step,
            add,
        };
        let Some(kernels) = T::at(level).filter(|_| m * k * n > 0) else {
            // SAFETY: `out` holds `m` rows `step` apart.
            return unsafe { gemm_into(m, k, n, a, b, target.out, step, add) };
        };
        let by_columns = a.row == 1 && a.column != 1;
        let left = if by_columns { a.turned() } else { a };
        let operands = Operands {
            left: &left,
            by_columns,
            right: &b,
            lies: (b.column == 1).then_some((b.values.as_ptr(), b.row)),
        };
        // SAFETY: as above, and the level was detected.
        unsafe { product(kernels, [m, k, n], operands, target) };
    }
}

fn levels() -> impl Iterator<Item = Level> {
    [Level::Scalar, Level::Avx2, Level::Avx512]
        .into_iter()
        .filter(|l| *l <= level())
}

fn check<T: Real>(case: &Case<T>, level: Level, add: bool) {
    let [m, _, n] = case.sizes;
    let step = n + 2;
    let before = numbers::<T>(m * step, 7);
    let mut out = before.clone();
    case.product_at(level, &mut out, step, add);
    let unit = epsilon::<T>();
    for row in 0..m {
        for column in 0..step {
            let (got, old) = (out[row * step + column], before[row * step + column]);
            let old = Float::to_f64(old);
            let (sum, size) = if column < n {
                case.expected(row, column)
            } else {
                (0.0, 0.0)
            };
            let want = if column >= n || add { old + sum } else { sum };
            let error = (Float::to_f64(got) - want).abs();
            let bound = unit * (size + old.abs()) * (4.0 + case.sizes[1] as f64).sqrt();
            let bound = if column < n { bound } else { 0.0 };
            assert!(
                error <= bound,
                "{level:?} {:?} {:?} at {row}, {column}: {got:?}, {want}",
                case.sizes,
                case.steps
            );
        }
    }
}

/// The spacing of the numbers at 1.
fn epsilon<T: Real>() -> f64 {
    match size_of::<T>() {
        4 => f64::from(f32::EPSILON),
        _ => f64::EPSILON,
    }
}

/// Sizes about the edges of tiles: of rows 6 and 14, of columns 8 to 32.
const EDGES: [usize; 16] = [1, 2, 3, 5, 6, 7, 8, 13, 14, 15, 16, 17, 29, 31, 33, 65];

fn check_all<T: Real>() {
    let mut seen = 0;
    for level in levels() {
        for (i, m) in EDGES.into_iter().enumerate() {
            for (j, n) in EDGES.into_iter().enumerate() {
                let k = EDGES[(3 * i + 5 * j) % EDGES.len()];
                let layouts = [(i + 2 * j) % 4, (i + j / 4) % 4];
                check(&Case::<T>::new([m, k, n], layouts), level, (i + j) % 2 == 0);
                seen += 1;
            }
        }
        for layouts in (0..16).map(|i| [i / 4, i % 4]) {
            for add in [false, true] {
                check(&Case::<T>::new([29, 131, 47], layouts), level, add);
                // Several blocks of k.
                check(&Case::<T>::new([17, 1103, 35], layouts), level, add);
            }
        }
        for sizes in [[0, 3, 4], [3, 0, 4], [3, 4, 0], [0, 0, 0]] {
            for add in [false, true] {
                check(&Case::<T>::new(sizes, [0, 0]), level, add);
            }
        }
    }
    assert!(seen >= EDGES.len() * EDGES.len());
}

#[test]
fn f32_products_are_those_of_the_triple_loop() {
    check_all::<f32>();
}

#[test]
fn f64_products_are_those_of_the_triple_loop() {
    check_all::<f64>();
}

#[test]
fn several_blocks_of_columns_and_far_operands() {
    for level in levels() {
        for layouts in [[0, 0], [0, 1], [1, 2], [3, 3]] {
            check(&Case::<f32>::new([45, 530, 613], layouts), level, true);
        }
    }
}

fn bits<T: Real>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| Float::to_f64(*x).to_bits()).collect()
}

fn check_cuts<T: Real>(layouts: [usize; 2]) {
    let case = Case::<T>::new([41, 701, 77], layouts);
    let [m, k, n] = case.sizes;
    let mut reference: Option<Vec<u64>> = None;
    for level in levels().filter(|l| T::at(*l).is_some()) {
        let mut whole = vec![T::ZERO; m * n];
        case.product_at(level, &mut whole, n, false);
        // The instruction set does not show either.
        assert_eq!(*reference.get_or_insert_with(|| bits(&whole)), bits(&whole));
    }
    let Some(reference) = reference else { return };
    for (height, width) in [(1, 77), (2, 5), (8, 77), (13, 32), (41, 1), (3, 33)] {
        let mut out = vec![T::ZERO; m * n];
        for top in (0..m).step_by(height) {
            for left in (0..n).step_by(width) {
                let (rows, columns) = (height.min(m - top), width.min(n - left));
                let (a, b) = (case.operand(0).from(top, 0), case.operand(1).from(0, left));
                let place = Ptr(out[top * n + left..].as_mut_ptr());
                // SAFETY: a block of `out`.
                unsafe { gemm_into(rows, k, columns, a, b, place, n, false) };
            }
        }
        assert_eq!(reference, bits(&out), "{height} x {width}, {layouts:?}");
    }
}

#[test]
fn how_a_product_is_cut_shows_in_no_bit() {
    for layouts in (0..16).map(|i| [i / 4, i % 4]) {
        check_cuts::<f32>(layouts);
        check_cuts::<f64>(layouts);
    }
}

#[test]
fn zero_times_infinity_is_not_skipped() {
    for level in levels() {
        let mut case = Case::<f32>::new([19, 23, 37], [0, 0]);
        case.values[0][5 * 23 + 4] = 0.0;
        case.values[1][4 * 37 + 7] = f32::INFINITY;
        case.values[0][9 * 23] = f32::NAN;
        let mut out = vec![0.0; 19 * 37];
        case.product_at(level, &mut out, 37, false);
        assert!(out[5 * 37 + 7].is_nan());
        assert!(out[3 * 37 + 7].is_infinite());
        for row in 0..19 {
            for column in 0..37 {
                let is_plain = row != 9 && column != 7;
                assert_eq!(
                    out[row * 37 + column].is_finite(),
                    is_plain,
                    "{row}, {column}"
                );
            }
        }
    }
}

/// A matrix that lays itself out.
struct Counted<T>(usize, std::marker::PhantomData<T>);

impl<T: Real> Source<T> for Counted<T> {
    fn block(&self, rows: Range<usize>, columns: Range<usize>, out: &mut [T], step: usize) {
        for (i, row) in rows.enumerate() {
            for (j, column) in columns.clone().enumerate() {
                out[i * step + j] = T::of(((row * self.0 + column * 7) % 11) as f64);
            }
        }
    }
}

#[test]
fn operands_lay_themselves_out() {
    let ([m, k, n], make) = ([37, 600, 41], |c| {
        Counted::<f64>(c, std::marker::PhantomData)
    });
    let (a, b) = (make(3), make(5));
    let mut out = vec![1.0; m * n];
    // SAFETY: `out` has `m` rows of `n`.
    unsafe { gemm_of([m, k, n], &a, &b, Ptr(out.as_mut_ptr()), n, true) };
    for row in 0..m {
        for column in 0..n {
            let term = |p: usize| ((row * 3 + p * 7) % 11 * ((p * 5 + column * 7) % 11)) as f64;
            assert_eq!(out[row * n + column], 1.0 + (0..k).map(term).sum::<f64>());
        }
    }
}

#[test]
fn products_on_all_threads_are_those_of_one() {
    for [m, k, n] in [
        [1, 700, 300],
        [300, 700, 1],
        [64, 64, 64],
        [9, 600, 40],
        [200, 30, 90],
        [33, 90, 500],
    ] {
        for layouts in [[0, 0], [0, 1], [1, 0], [1, 1]] {
            let case = Case::<f32>::new([m, k, n], layouts);
            let mut out = vec![0.0; m * n];
            gemm_parallel(m, k, n, case.operand(0), case.operand(1), &mut out).unwrap();
            for (at, got) in out.iter().enumerate() {
                let (sum, size) = case.expected(at / n, at % n);
                assert!(
                    (f64::from(*got) - sum).abs() <= 30.0 * epsilon::<f32>() * size,
                    "{m} {k} {n} {layouts:?} {at}"
                );
            }
        }
    }
}
