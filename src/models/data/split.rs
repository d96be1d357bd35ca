//! Splitting data into parts, e.g. for training and for judging.

use std::collections::BTreeMap;

use rhapsode_tensor::{Tensor, random::Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The sizes of the parts of a split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Parts {
    /// Two parts: this share of the rows (between 0 and 1, rounded to whole rows), and the rest.
    Fraction(f64),
    /// Parts of so many rows; rows that are left over are in none.
    Counts(Vec<usize>),
}

/// Shuffles rows and deals them out into parts.
///
/// `tensors` belong together, e.g. images `[n, 64]` and labels `[n]`: their rows (places of the first axis)
/// are permuted alike. Gives, for every part, its tensors in the order of `tensors`.
///
/// Errors: no tensor, a scalar, numbers of rows that differ, a fraction outside of (0, 1), counts that
/// together exceed the rows.
pub fn split(tensors: &[&Tensor], parts: &Parts, stream: Stream) -> Result<Vec<Vec<Tensor>>> {
    let rows = common_rows(tensors)?;
    let counts = counts(parts, rows)?;
    let order = stream.permutation(rows);
    let mut rest = order.as_slice();
    let deal = |count: usize| {
        let (part, others) = rest.split_at(count);
        rest = others;
        let indices = part.iter().map(|&i| i as i64).collect();
        let indices = Tensor::from_vec(indices, &[count])?;
        let select = |x: &&Tensor| Ok(x.index_select(0, &indices)?);
        tensors.iter().map(select).collect()
    };
    counts.into_iter().map(deal).collect()
}

/// As [`split`], with nearly the same share of every class in every part: `labels` are the classes `[n]` of the rows,
/// whole numbers.
///
/// The rows of a class, shuffled, are spread evenly over the unit interval; dealt in that order, any stretch of rows has of
/// each class its share, up to one row. Rows of a part are shuffled at the end.
pub fn stratified(
    tensors: &[&Tensor],
    parts: &Parts,
    labels: &Tensor,
    stream: Stream,
) -> Result<Vec<Vec<Tensor>>> {
    let rows = common_rows(tensors)?;
    if labels.dims() != [rows] {
        return Err(shape(format!("labels of shape [{rows}]"), labels));
    }
    let counts = counts(parts, rows)?;
    let classes = labels.to_ints("split")?;
    let mut sizes: BTreeMap<i64, (usize, usize)> = BTreeMap::new();
    for class in &classes {
        sizes.entry(*class).or_default().0 += 1;
    }
    let mut placed: Vec<(f64, usize)> = Vec::with_capacity(rows);
    for row in stream.permutation(rows) {
        if let Some((size, seen)) = classes.get(row).and_then(|class| sizes.get_mut(class)) {
            placed.push(((*seen as f64 + 0.5) / *size as f64, row));
            *seen += 1;
        }
    }
    // Stable: equal places stay shuffled.
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let seed = stream.seed();
    let mut rest = placed.as_slice();
    let deal = |(number, count): (u64, usize)| {
        let (part, others) = rest.split_at(count);
        rest = others;
        let order = Stream::new(seed, "part").at(number).permutation(count);
        let shuffled = order.iter().filter_map(|i| part.get(*i));
        let indices = shuffled.map(|(_, row)| *row as i64).collect();
        let indices = Tensor::from_vec(indices, &[count])?;
        let select = |x: &&Tensor| Ok(x.index_select(0, &indices)?);
        tensors.iter().map(select).collect()
    };
    (0..).zip(counts).map(deal).collect()
}

/// The number of rows that all tensors have.
fn common_rows(tensors: &[&Tensor]) -> Result<usize> {
    let Some(first) = tensors.first() else {
        return Err(value("expected at least one tensor, got none".into()));
    };
    let Some(&rows) = first.dims().first() else {
        return Err(shape("at least one axis".into(), first));
    };
    match tensors.iter().find(|x| x.dims().first() != Some(&rows)) {
        Some(other) => Err(shape(format!("{rows} rows like the first tensor"), other)),
        None => Ok(rows),
    }
}

/// Rows of every part; together at most `rows`.
fn counts(parts: &Parts, rows: usize) -> Result<Vec<usize>> {
    match parts {
        Parts::Fraction(share) if *share > 0.0 && *share < 1.0 => {
            let first = (share * rows as f64).round() as usize;
            Ok(vec![first, rows - first])
        }
        Parts::Fraction(share) => Err(value(format!(
            "expected a fraction between 0 and 1, got {share}"
        ))),
        Parts::Counts(counts) => {
            let total = counts.iter().fold(0usize, |sum, &c| sum.saturating_add(c));
            if total > rows {
                let message =
                    format!("expected counts of at most {rows} rows together, got {total}");
                return Err(value(message));
            }
            Ok(counts.clone())
        }
    }
}

fn value(message: String) -> Error {
    Error::Value {
        what: "split",
        message,
    }
}

fn shape(expected: String, got: &Tensor) -> Error {
    Error::Shape {
        what: "split",
        expected,
        got: got.dims().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhapsode_tensor::DType;

    fn pair(n: usize) -> (Tensor, Tensor) {
        let x = Tensor::arange(0.0, 0.5, 2 * n, DType::F32).unwrap();
        let labels = Tensor::arange(0.0, 1.0, n, DType::I64).unwrap();
        (x.reshape(&[n, 2]).unwrap(), labels)
    }

    #[test]
    fn parts_cover_the_rows_once_and_keep_pairs_together() {
        let (x, labels) = pair(101);
        let stream = Stream::new(0, "split");
        let parts = split(&[&x, &labels], &Parts::Counts(vec![70, 0, 31]), stream).unwrap();
        assert_eq!(parts.len(), 3);
        let mut seen = Vec::new();
        for (part, rows) in parts.iter().zip([70, 0, 31]) {
            assert_eq!(part[0].dims(), [rows, 2]);
            let labels = part[1].to_ints("labels").unwrap();
            for (row, &label) in part[0]
                .to_vec()
                .unwrap()
                .as_chunks::<2>()
                .0
                .iter()
                .zip(&labels)
            {
                assert_eq!(*row, [label as f64, label as f64 + 0.5]);
            }
            seen.extend(labels);
        }
        assert!(!seen.is_sorted(), "rows must be shuffled");
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..101));
    }

    #[test]
    fn a_fraction_gives_two_parts_and_a_stream_decides() {
        let (x, _) = pair(10);
        let rows = |share, stream| {
            let parts = split(&[&x], &Parts::Fraction(share), stream).unwrap();
            let [a, b] = [0, 1].map(|i: usize| parts[i][0].to_vec().unwrap());
            (a, b)
        };
        let stream = Stream::new(1, "split");
        let (train, test) = rows(0.75, stream);
        assert_eq!((train.len(), test.len()), (16, 4));
        assert_eq!(rows(0.75, stream), (train.clone(), test));
        assert_ne!(rows(0.75, stream.at(1)).0, train);
        // What is left over is in no part.
        let some = split(&[&x], &Parts::Counts(vec![3]), stream).unwrap();
        assert_eq!((some.len(), some[0][0].dims()), (1, &[3, 2][..]));
    }

    #[test]
    fn stratified_parts_have_every_class_in_its_share() {
        // 100 rows: 80 of class 5, 15 of class 2, 5 of class 9.
        let class = |i: usize| match i % 20 {
            0 => 9,
            1..=3 => 2,
            _ => 5,
        };
        let labels = Tensor::from_vec((0..100).map(class).collect::<Vec<i64>>(), &[100]).unwrap();
        let rows = Tensor::arange(0.0, 1.0, 100, DType::I64).unwrap();
        let stream = Stream::new(0, "split");
        let parts = stratified(
            &[&rows, &labels],
            &Parts::Counts(vec![60, 40]),
            &labels,
            stream,
        )
        .unwrap();
        let mut seen = Vec::new();
        for (part, share) in parts.iter().zip([0.6, 0.4]) {
            let got = part[1].to_ints("labels").unwrap();
            for (label, all) in [(5, 80.0), (2, 15.0), (9, 5.0)] {
                let count = got.iter().filter(|l| **l == label).count() as f64;
                assert!((count - share * all).abs() <= 1.0, "{label}: {count}");
            }
            let rows = part[0].to_ints("rows").unwrap();
            assert!(
                rows.iter().zip(&got).all(|(r, l)| class(*r as usize) == *l),
                "rows stay together"
            );
            assert!(!rows.is_sorted());
            seen.extend(rows);
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..100));
        let short = labels.narrow(0, 0, 9).unwrap();
        let error = stratified(&[&rows], &Parts::Fraction(0.5), &short, stream)
            .err()
            .unwrap();
        assert_eq!(
            error.to_string(),
            "split: expected labels of shape [100], got [9]"
        );
    }

    #[test]
    fn options_read_a_number_or_a_list() {
        let read = |text| serde_json::from_str::<Parts>(text).unwrap();
        assert_eq!(read("0.8"), Parts::Fraction(0.8));
        assert_eq!(read("[8, 2]"), Parts::Counts(vec![8, 2]));
    }

    #[test]
    fn impossible_splits_are_errors() {
        let (x, labels) = pair(10);
        let stream = Stream::new(0, "split");
        let message =
            |tensors: &[&Tensor], parts| split(tensors, &parts, stream).err().unwrap().to_string();
        for share in [0.0, 1.0, -1.0, f64::NAN] {
            assert_eq!(
                message(&[&x], Parts::Fraction(share)),
                format!("split: expected a fraction between 0 and 1, got {share}")
            );
        }
        assert_eq!(
            message(&[&x], Parts::Counts(vec![usize::MAX, 2])),
            format!(
                "split: expected counts of at most 10 rows together, got {}",
                usize::MAX
            )
        );
        let short = labels.narrow(0, 0, 9).unwrap();
        assert_eq!(
            message(&[&x, &short], Parts::Fraction(0.5)),
            "split: expected 10 rows like the first tensor, got [9]"
        );
        let scalar = Tensor::scalar(1.0, DType::F32).unwrap();
        assert_eq!(
            message(&[&scalar], Parts::Fraction(0.5)),
            "split: expected at least one axis, got []"
        );
        assert_eq!(
            message(&[], Parts::Fraction(0.5)),
            "split: expected at least one tensor, got none"
        );
    }
}
