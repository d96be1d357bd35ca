//! Tables: columns with names, of numbers or of text, as they come out of CSV and Parquet files.

use rhapsode_tensor::{DType, Tensor, memory};

use crate::{Error, Result};

/// The values of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Numbers; a missing one is NaN.
    Float(Vec<f64>),
    /// Whole numbers (also true and false, as 1 and 0), none missing.
    Int(Vec<i64>),
    /// Text: the place of each in `categories`, -1 where it is missing.
    Text {
        /// Places in `categories`.
        codes: Vec<i64>,
        /// The different texts in the order of their first appearance.
        categories: Vec<String>,
    },
}

impl Values {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Values::Float(v) => v.len(),
            Values::Int(v) => v.len(),
            Values::Text { codes, .. } => codes.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What they are, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Values::Float(_) => "float",
            Values::Int(_) => "int",
            Values::Text { .. } => "text",
        }
    }

    /// How many are missing.
    pub fn missing(&self) -> usize {
        match self {
            Values::Float(v) => v.iter().filter(|v| v.is_nan()).count(),
            Values::Int(_) => 0,
            Values::Text { codes, .. } => codes.iter().filter(|c| **c < 0).count(),
        }
    }

    /// One value as text; empty where it is missing.
    pub fn text(&self, row: usize) -> String {
        match self {
            Values::Float(v) => v
                .get(row)
                .filter(|v| !v.is_nan())
                .map_or(String::new(), |v| format!("{v:?}")),
            Values::Int(v) => v.get(row).map_or(String::new(), ToString::to_string),
            Values::Text { codes, categories } => {
                let code = codes.get(row).and_then(|c| usize::try_from(*c).ok());
                code.and_then(|c| categories.get(c))
                    .cloned()
                    .unwrap_or_default()
            }
        }
    }
}

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its values.
    pub values: Values,
}

/// Columns of equal length with different names.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    columns: Vec<Column>,
}

impl Table {
    /// A table of columns. Errors: no column, lengths that differ, a name that is there twice.
    pub fn new(columns: Vec<Column>) -> Result<Self> {
        let Some(first) = columns.first() else {
            return Err(value("expected at least one column, got none".into()));
        };
        if let Some(other) = columns
            .iter()
            .find(|c| c.values.len() != first.values.len())
        {
            return Err(value(format!(
                "column `{}` has {} rows, column `{}` {}",
                first.name,
                first.values.len(),
                other.name,
                other.values.len()
            )));
        }
        let twice = columns
            .iter()
            .enumerate()
            .find(|(i, c)| columns.iter().take(*i).any(|d| d.name == c.name));
        match twice {
            Some((_, column)) => Err(value(format!("there are two columns `{}`", column.name))),
            None => Ok(Self { columns }),
        }
    }

    /// A table of a tensor `[n, k]`, whose columns are called `x0`, `x1`, ..., or `[n]`, called `x`.
    pub fn of_tensor(x: &Tensor) -> Result<Self> {
        let (n, k, name): (usize, usize, fn(usize) -> String) = match *x.dims() {
            [n] => (n, 1, |_| "x".into()),
            [n, k] if k > 0 => (n, k, |i| format!("x{i}")),
            _ => {
                return Err(Error::Shape {
                    what: "table",
                    expected: "a tensor of shape [n] or [n, columns]".into(),
                    got: x.dims().to_vec(),
                });
            }
        };
        let by_column = x.reshape(&[n, k])?.t()?.contiguous()?;
        let columns = (0..k).map(|i| {
            let values = values_of(&by_column.narrow(0, i, 1)?.reshape(&[n])?)?;
            Ok(Column {
                name: name(i),
                values,
            })
        });
        Self::new(columns.collect::<Result<_>>()?)
    }

    /// A table of named tensors `[n]`.
    pub fn of_named(tensors: &[(String, Tensor)]) -> Result<Self> {
        let column = |(name, tensor): &(String, Tensor)| {
            if tensor.rank() != 1 {
                return Err(Error::Shape {
                    what: "table",
                    expected: format!("column `{name}` of shape [n]"),
                    got: tensor.dims().to_vec(),
                });
            }
            Ok(Column {
                name: name.clone(),
                values: values_of(tensor)?,
            })
        };
        Self::new(tensors.iter().map(column).collect::<Result<_>>()?)
    }

    /// The columns in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |c| c.values.len())
    }

    /// A column by name; the error lists the names.
    pub fn column(&self, name: &str) -> Result<&Column> {
        self.columns.iter().find(|c| c.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.columns.iter().map(|c| c.name.as_str()).collect();
            value(format!(
                "there is no column `{name}`, but {}",
                names.join(", ")
            ))
        })
    }

    /// The names of the columns of numbers, in order.
    pub fn numeric(&self) -> Vec<&str> {
        let numeric = self
            .columns
            .iter()
            .filter(|c| !matches!(c.values, Values::Text { .. }));
        numeric.map(|c| c.name.as_str()).collect()
    }

    /// All columns of numbers, `[rows, columns]`, f32 or f64; missing ones are NaN.
    pub fn numbers(&self, dtype: DType) -> Result<Tensor> {
        let numeric: Vec<&Values> = self
            .columns
            .iter()
            .map(|c| &c.values)
            .filter(|v| !matches!(v, Values::Text { .. }))
            .collect();
        let (rows, k) = (self.rows(), numeric.len());
        memory::ensure(memory::count("table", &[rows, k])?, 2 * size_of::<f64>())?;
        let mut flat = vec![0.0; rows * k];
        for (at, values) in numeric.into_iter().enumerate() {
            let places = flat.iter_mut().skip(at).step_by(k.max(1));
            match values {
                Values::Float(v) => places.zip(v).for_each(|(to, from)| *to = *from),
                Values::Int(v) => places.zip(v).for_each(|(to, from)| *to = *from as f64),
                Values::Text { .. } => {}
            }
        }
        Ok(Tensor::from_vec(flat, &[rows, k])?.to_dtype(dtype)?)
    }

    /// One column `[rows]`: numbers in `dtype`, whole numbers and the codes of text as i64.
    pub fn tensor(&self, name: &str, dtype: DType) -> Result<Tensor> {
        let rows = self.rows();
        Ok(match &self.column(name)?.values {
            Values::Float(v) => Tensor::from_vec(v.clone(), &[rows])?.to_dtype(dtype)?,
            Values::Int(v) => Tensor::from_vec(v.clone(), &[rows])?,
            Values::Text { codes, .. } => Tensor::from_vec(codes.clone(), &[rows])?,
        })
    }
}

/// The elements of a tensor `[n]`.
fn values_of(x: &Tensor) -> Result<Values> {
    Ok(match x.dtype() {
        DType::F32 | DType::F64 | DType::BF16 => Values::Float(x.to_vec()?),
        _ => Values::Int(x.to_ints("table")?),
    })
}

pub(super) fn value(message: String) -> Error {
    Error::Value {
        what: "table",
        message,
    }
}

/// Different texts in the order of their first appearance.
#[derive(Default)]
pub(super) struct Categories {
    places: std::collections::HashMap<String, i64>,
    names: Vec<String>,
}

impl Categories {
    /// The code of a text.
    pub fn code(&mut self, text: &str) -> i64 {
        if let Some(code) = self.places.get(text) {
            return *code;
        }
        let code = self.names.len() as i64;
        self.places.insert(text.to_string(), code);
        self.names.push(text.to_string());
        code
    }

    /// The texts.
    pub fn names(&self) -> Vec<String> {
        self.names.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, values: Values) -> Column {
        Column {
            name: name.into(),
            values,
        }
    }

    #[test]
    fn numbers_and_codes_become_tensors() {
        let text = Values::Text {
            codes: vec![0, -1],
            categories: vec!["a".into()],
        };
        let table = Table::new(vec![
            column("i", Values::Int(vec![3, 4])),
            column("t", text),
            column("f", Values::Float(vec![0.5, f64::NAN])),
        ])
        .unwrap();
        assert_eq!((table.rows(), table.numeric()), (2, vec!["i", "f"]));
        let x = table.numbers(DType::F64).unwrap();
        assert_eq!(x.dims(), [2, 2]);
        let x = x.to_vec().unwrap();
        assert_eq!(x[..3], [3.0, 0.5, 4.0]);
        assert!(x[3].is_nan());
        let codes = table.tensor("t", DType::F32).unwrap();
        assert_eq!(
            (codes.dtype(), codes.to_vec().unwrap()),
            (DType::I64, vec![0.0, -1.0])
        );
        assert_eq!(table.columns()[1].values.text(1), "");
        let message = table.column("x").err().unwrap().to_string();
        assert_eq!(message, "table: there is no column `x`, but i, t, f");
    }

    #[test]
    fn columns_that_do_not_fit_are_errors() {
        let message = |columns| Table::new(columns).err().unwrap().to_string();
        let of = |name, n: usize| column(name, Values::Int(vec![0; n]));
        assert_eq!(
            message(vec![of("a", 2), of("b", 3)]),
            "table: column `a` has 2 rows, column `b` 3"
        );
        assert_eq!(
            message(vec![of("a", 2), of("a", 2)]),
            "table: there are two columns `a`"
        );
        assert_eq!(
            message(vec![]),
            "table: expected at least one column, got none"
        );
    }
}
