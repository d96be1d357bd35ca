//! Einstein sums: `einsum("bij,bjk->bik", a, b)`.
//!
//! A letter names an axis; axes of one name run together, and a name that is not in the result is summed over. Without
//! `->` the result has the letters that occur once, in alphabetical order, after the axes of `...`. A letter twice in one operand takes its
//! diagonal. Operands are joined from the left, two at a time, each time through one product of matrices: what is summed over
//! goes as soon as no later operand has it.

use std::collections::BTreeMap;

use super::{ANY, Op};
use crate::{DType, Error, Result, Tensor};

const OP: &str = "einsum";

/// The name of an axis: a letter, or a place of `...` counted from its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Ellipsis(usize),
    Letter(char),
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Name::Letter(letter) => write!(f, "{letter}"),
            Name::Ellipsis(at) => write!(f, "axis -{} of ...", at + 1),
        }
    }
}

/// A tensor whose axes have names, each once.
struct Named {
    x: Tensor,
    names: Vec<Name>,
}

impl Tensor {
    /// The sum that `equation` describes.
    pub fn einsum(equation: &str, operands: &[&Tensor]) -> Result<Tensor> {
        if operands.len() > 2 && operands.iter().all(|x| x.dtype() == DType::BF16) {
            // Pairs are joined one after another: rounded once, at the end.
            let wide: Vec<Tensor> = operands
                .iter()
                .map(|x| x.to_dtype(DType::F32))
                .collect::<Result<_>>()?;
            let wide: Vec<&Tensor> = wide.iter().collect();
            return Self::einsum(equation, &wide)?.to_dtype(DType::BF16);
        }
        let compact: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = match compact.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (compact.as_str(), None),
        };
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != operands.len() {
            return Err(wrong(format!(
                "{equation:?} names {} operands, got {}",
                terms.len(),
                operands.len()
            )));
        }
        let names = terms
            .iter()
            .zip(operands)
            .enumerate()
            .map(|(i, (term, x))| names_of(term, i, x))
            .collect::<Result<Vec<_>>>()?;
        let sizes = sizes(&names, operands)?;
        let out = match right {
            Some(right) => output(right, &names)?,
            None => implicit(&names),
        };
        let mut rest = operands
            .iter()
            .zip(names)
            .map(|(x, names)| Named::of(x, names, &sizes))
            .collect::<Result<Vec<_>>>()?
            .into_iter();
        let Some(mut left) = rest.next() else {
            return Err(wrong("needs at least one operand".into()));
        };
        while let Some(right) = rest.next() {
            let wanted = |name: &Name| {
                out.contains(name) || rest.as_slice().iter().any(|t| t.names.contains(name))
            };
            left = join(left, right, wanted)?;
        }
        left.summed(|name| out.contains(name))?.ordered(&out)
    }
}

fn wrong(detail: String) -> Error {
    Error::Value { op: OP, detail }
}

/// The names of the axes of operand `i`.
fn names_of(term: &str, i: usize, x: &Tensor) -> Result<Vec<Name>> {
    let (before, after) = match term.split_once("...") {
        Some((before, after)) => (before, Some(after)),
        None => (term, None),
    };
    let mut names = letters(before)?;
    let last = letters(after.unwrap_or(""))?;
    let given = names.len() + last.len();
    let fits = if after.is_some() {
        given <= x.rank()
    } else {
        given == x.rank()
    };
    if !fits {
        let detail = format!(
            "{term:?} names {given} axes, operand {i} has shape {:?}",
            x.dims()
        );
        return Err(Error::Shape { op: OP, detail });
    }
    names.extend((0..x.rank() - given).rev().map(Name::Ellipsis));
    names.extend(last);
    Ok(names)
}

fn letters(text: &str) -> Result<Vec<Name>> {
    let letter = |c: char| {
        if c.is_ascii_alphabetic() {
            Ok(Name::Letter(c))
        } else {
            Err(wrong(format!(
                "{c:?} is not a letter (axes are letters, operands are separated by `,`, the result follows `->`)"
            )))
        }
    };
    text.chars().map(letter).collect()
}

/// The size of each name; axes of `...` broadcast.
fn sizes(names: &[Vec<Name>], operands: &[&Tensor]) -> Result<BTreeMap<Name, usize>> {
    let mut sizes = BTreeMap::new();
    for (i, (names, x)) in names.iter().zip(operands).enumerate() {
        for (&name, &size) in names.iter().zip(x.dims()) {
            let known = *sizes.entry(name).or_insert(size);
            let broadcasts = matches!(name, Name::Ellipsis(_)) && (known == 1 || size == 1);
            if known != size && !broadcasts {
                let detail = format!(
                    "{name} has size {known}, but {size} in operand {i} of shape {:?}",
                    x.dims()
                );
                return Err(Error::Shape { op: OP, detail });
            }
            if known == 1 {
                sizes.insert(name, size);
            }
        }
    }
    Ok(sizes)
}

/// The names of the result as written.
fn output(right: &str, names: &[Vec<Name>]) -> Result<Vec<Name>> {
    let (before, after) = match right.split_once("...") {
        Some((before, after)) => (before, Some(after)),
        None => (right, None),
    };
    let mut out = letters(before)?;
    if after.is_some() {
        out.extend(ellipsis(names));
    }
    out.extend(letters(after.unwrap_or(""))?);
    for (i, name) in out.iter().enumerate() {
        if out[..i].contains(name) {
            return Err(wrong(format!(
                "{name} stands twice in the result {right:?}"
            )));
        }
        if !names.iter().flatten().any(|n| n == name) {
            return Err(wrong(format!(
                "{name} of the result {right:?} is in no operand"
            )));
        }
    }
    Ok(out)
}

/// The axes of the longest `...`.
fn ellipsis(names: &[Vec<Name>]) -> Vec<Name> {
    let mut found: Vec<Name> = names
        .iter()
        .flatten()
        .copied()
        .filter(|n| matches!(n, Name::Ellipsis(_)))
        .collect();
    found.sort_unstable();
    found.dedup();
    found.reverse();
    found
}

/// The names of a result that is not written: `...`, then what occurs once.
fn implicit(names: &[Vec<Name>]) -> Vec<Name> {
    let all: Vec<Name> = names.iter().flatten().copied().collect();
    let mut once: Vec<Name> = all
        .iter()
        .copied()
        .filter(|n| matches!(n, Name::Letter(_)) && all.iter().filter(|m| *m == n).count() == 1)
        .collect();
    once.sort_unstable();
    let mut out = ellipsis(names);
    out.extend(once);
    out
}

impl Named {
    /// With diagonals taken and axes of `...` in their broadcast size.
    fn of(x: &Tensor, names: Vec<Name>, sizes: &BTreeMap<Name, usize>) -> Result<Self> {
        let shape: Vec<usize> = names.iter().map(|name| sizes[name]).collect();
        let mut this = Self {
            x: if shape == x.dims() {
                x.clone()
            } else {
                x.broadcast_to(&shape)?
            },
            names,
        };
        let mut i = 0;
        while i < this.names.len() {
            match this.names[i + 1..].iter().position(|n| *n == this.names[i]) {
                Some(j) => this = this.diagonal(i, i + 1 + j)?,
                None => i += 1,
            }
        }
        Ok(this)
    }

    /// Axes `i < j` of one name become one, at `i`.
    fn diagonal(self, i: usize, j: usize) -> Result<Self> {
        let rank = self.x.rank();
        let order: Vec<i64> = (0..rank)
            .filter(|&a| a != i && a != j)
            .chain([i, j])
            .map(|a| a as i64)
            .collect();
        let x = self.x.permute(&order)?.diagonal()?.move_last_to(i)?;
        let mut names = self.names;
        names.remove(j);
        Ok(Self { x, names })
    }

    /// Summed over what is not wanted.
    fn summed(self, wanted: impl Fn(&Name) -> bool) -> Result<Self> {
        let axes: Vec<i64> = (0..self.names.len())
            .filter(|&i| !wanted(&self.names[i]))
            .map(|i| i as i64)
            .collect();
        Ok(Self {
            x: self.x.sum(&axes)?,
            names: self.names.into_iter().filter(wanted).collect(),
        })
    }

    /// Its axes in the order of `names`, which are all of its own.
    fn ordered(&self, names: &[Name]) -> Result<Tensor> {
        let place = |name: &Name| self.names.iter().position(|n| n == name).map(|i| i as i64);
        let order: Vec<i64> = names.iter().filter_map(place).collect();
        if order.iter().enumerate().all(|(i, &a)| a == i as i64) {
            return Ok(self.x.clone());
        }
        self.x.permute(&order)
    }

    fn size(&self, name: &Name) -> usize {
        self.names
            .iter()
            .zip(self.x.dims())
            .find(|(n, _)| *n == name)
            .map_or(1, |(_, &size)| size)
    }
}

/// The sum over the names that both have and nobody wants, of the product of two tensors.
fn join(a: Named, b: Named, wanted: impl Fn(&Name) -> bool) -> Result<Named> {
    let a_names = a.names.clone();
    let b = b.summed(|n| a_names.contains(n) || wanted(n))?;
    let a = a.summed(|n| b.names.contains(n) || wanted(n))?;
    let pick = |from: &Named, keep: &dyn Fn(&Name) -> bool| -> Vec<Name> {
        from.names.iter().copied().filter(|n| keep(n)).collect()
    };
    let both = pick(&a, &|n| b.names.contains(n) && wanted(n));
    let inner = pick(&a, &|n| b.names.contains(n) && !wanted(n));
    let left = pick(&a, &|n| !b.names.contains(n));
    let right = pick(&b, &|n| !a.names.contains(n));
    let sizes =
        |of: &Named, names: &[Name]| -> Vec<usize> { names.iter().map(|n| of.size(n)).collect() };
    let (batch, k) = (sizes(&a, &both), sizes(&a, &inner));
    let (m, n) = (sizes(&a, &left), sizes(&b, &right));
    let flat = |sizes: &[usize]| sizes.iter().product::<usize>();
    let names = [both.clone(), left.clone(), right.clone()].concat();
    let shape = [batch.clone(), m.clone(), n.clone()].concat();
    let x = a.ordered(&[both.clone(), left, inner.clone()].concat())?;
    if inner.is_empty() {
        // Nothing to sum: a product of elements.
        let x = x.reshape(&[flat(&batch), flat(&m), 1])?;
        let y = b
            .ordered(&[both, right].concat())?
            .reshape(&[flat(&batch), 1, flat(&n)])?;
        return Ok(Named {
            x: x.mul(&y)?.reshape(&shape)?,
            names,
        });
    }
    let x = x.reshape(&[flat(&batch), flat(&m), flat(&k)])?;
    let y =
        b.ordered(&[both, inner, right].concat())?
            .reshape(&[flat(&batch), flat(&k), flat(&n)])?;
    let product = if batch.is_empty() {
        x.squeeze(0)?.matmul(&y.squeeze(0)?)?
    } else {
        x.matmul(&y)?
    };
    Ok(Named {
        x: product.reshape(&shape)?,
        names,
    })
}

/// What the contract holds.
pub(super) const EINSUM_BATCHED: Op = Op {
    name: "einsum, batched product",
    apply: |x| Tensor::einsum("bij,bjk->bik", &[&x[0], &x[1]]),
    shapes: &[
        &[&[2, 3, 4], &[2, 4, 5]],
        &[&[1, 3, 67], &[1, 67, 2]],
        &[&[0, 3, 4], &[0, 4, 5]],
    ],
    domain: ANY,
};
/// See [`EINSUM_BATCHED`].
pub(super) const EINSUM_THREE: Op = Op {
    name: "einsum of three",
    apply: |x| Tensor::einsum("ij, kj, lkm -> ml", &[&x[0], &x[1], &x[2]]),
    shapes: &[&[&[3, 5], &[4, 5], &[2, 4, 3]]],
    domain: ANY,
};
/// See [`EINSUM_BATCHED`].
pub(super) const EINSUM_DIAGONAL: Op = Op {
    name: "einsum, diagonal",
    apply: |x| Tensor::einsum("iji,j->i", &[&x[0], &x[1]]),
    shapes: &[&[&[3, 4, 3], &[4]]],
    domain: ANY,
};
/// See [`EINSUM_BATCHED`].
pub(super) const EINSUM_ELLIPSIS: Op = Op {
    name: "einsum, ellipsis",
    apply: |x| Tensor::einsum("...ij,j...->i...", &[&x[0], &x[1]]),
    shapes: &[&[&[2, 3, 4], &[4, 2]], &[&[2, 1, 3, 4], &[4, 5]]],
    domain: ANY,
};
