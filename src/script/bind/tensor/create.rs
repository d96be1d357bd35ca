//! Making tensors: `tensor zeros ones full eye arange linspace`, and those like another one.

use rhai::{Array, Dynamic, Map, NativeCallContext};
use rhapsode_tensor::{DType, Tensor, memory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shape;
use crate::{
    Kind,
    bind::{
        Outcome,
        draw::{next_stream, session_dtype},
        number, raise,
        session::device_named,
    },
    fault::{Fault, Spot},
    library::Library,
    options,
    value::type_word,
};

/// Element types.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Elements {
    F32,
    F64,
    Bf16,
    I64,
    U8,
    Bool,
}

/// How a tensor is made.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Creation {
    /// The element type; without it that of the session, see `dtype`.
    dtype: Option<Elements>,
    /// Where the tensor lies; without it that of the session, see `device`.
    device: Option<String>,
}

/// Where and in what a tensor is made.
pub(super) struct Target {
    /// Wanted by an option.
    asked: Option<DType>,
    /// The session's float dtype.
    float: DType,
}

impl Target {
    pub fn new(call: &NativeCallContext, map: &Map) -> Outcome<Self> {
        let options: Creation = options::read(map)?;
        if let Some(device) = &options.device {
            device_named(device).map_err(|fault| fault.at(Spot::Value(vec!["device".into()])))?;
        }
        let asked = options.dtype.map(|dtype| match dtype {
            Elements::F32 => DType::F32,
            Elements::F64 => DType::F64,
            Elements::Bf16 => DType::BF16,
            Elements::I64 => DType::I64,
            Elements::U8 => DType::U8,
            Elements::Bool => DType::Bool,
        });
        Ok(Self {
            asked,
            float: session_dtype(call)?,
        })
    }

    pub fn of_session(call: &NativeCallContext) -> Outcome<Self> {
        Self::new(call, &Map::new())
    }

    /// The dtype for floats.
    pub fn floats(&self) -> DType {
        self.asked.unwrap_or(self.float)
    }
}

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    from_values(library);
    filled(library);
    alike(library);
    ranges(library);
}

fn from_values(library: &mut Library) {
    library
        .function(
            "tensor",
            "(values: number | array, options?: map) -> Tensor",
            r#"
            A tensor from a number or nested arrays: of ints i64, of bools bool, of floats the session's dtype.
            An array of tensors is stacked.

            ```rhai
            tensor([[1, 2], [3, 4]]).shape // => [2, 2]
            ```
            "#,
        )
        .options::<Creation>()
        .call(|call: NativeCallContext, values: Dynamic| tensor(&Target::of_session(&call)?, &values))
        .call(|call: NativeCallContext, values: Dynamic, options: Map| tensor(&Target::new(&call, &options)?, &values));
}

fn filled(library: &mut Library) {
    for (name, value, text) in [
        (
            "zeros",
            0.0,
            "A tensor of zeros.\n\n```rhai\nzeros([2, 3]).sum().item() // => 0.0\n```",
        ),
        (
            "ones",
            1.0,
            "A tensor of ones.\n\n```rhai\nones([2, 3]).sum().item() // => 6.0\n```",
        ),
    ] {
        let make = move |target: Target, size: &Dynamic| full(&target, size, value);
        library
            .function(name, "(shape: array | int, options?: map) -> Tensor", text)
            .options::<Creation>()
            .call(move |call: NativeCallContext, size: Dynamic| {
                make(Target::of_session(&call)?, &size)
            })
            .call(
                move |call: NativeCallContext, size: Dynamic, options: Map| {
                    make(Target::new(&call, &options)?, &size)
                },
            );
    }
    library
        .function(
            "full",
            "(shape: array | int, value: number, options?: map) -> Tensor",
            r#"
            A tensor filled with one value.

            ```rhai
            full([3], 2.5).to_array() // => [2.5, 2.5, 2.5]
            ```
            "#,
        )
        .options::<Creation>()
        .call(|call: NativeCallContext, size: Dynamic, value: Dynamic| {
            full(&Target::of_session(&call)?, &size, filling(&value)?)
        })
        .call(
            |call: NativeCallContext, size: Dynamic, value: Dynamic, options: Map| {
                full(&Target::new(&call, &options)?, &size, filling(&value)?)
            },
        );
    library
        .function(
            "eye",
            "(n: int, options?: map) -> Tensor",
            r#"
            The identity matrix.

            ```rhai
            eye(2).to_array() // => [[1.0, 0.0], [0.0, 1.0]]
            ```
            "#,
        )
        .options::<Creation>()
        .call(|call: NativeCallContext, n: i64| {
            raise(Tensor::eye(count(n)?, Target::of_session(&call)?.floats()))
        })
        .call(|call: NativeCallContext, n: i64, options: Map| {
            raise(Tensor::eye(
                count(n)?,
                Target::new(&call, &options)?.floats(),
            ))
        });
}

/// Tensors of the shape, and without an option of the dtype, of another one.
fn alike(library: &mut Library) {
    type Make = fn(&NativeCallContext, DType, &[usize]) -> Outcome<Tensor>;
    for (name, make, text) in [
        (
            "zeros_like",
            (|_, dtype, shape| raise(Tensor::zeros(shape, dtype))) as Make,
            "Zeros of the shape and dtype of another tensor.\n\n```rhai\nzeros_like(ones([2])).to_array() // => [0.0, 0.0]\n```",
        ),
        (
            "ones_like",
            |_, dtype, shape| raise(Tensor::ones(shape, dtype)),
            "Ones of the shape and dtype of another tensor.\n\n```rhai\nones_like(tensor([5, 6])).to_array() // => [1, 1]\n```",
        ),
        (
            "rand_like",
            |call, dtype, shape| raise(next_stream(call, "script")?.rand(shape, dtype.float())),
            "Uniform random numbers in [0, 1) in the shape of another tensor; of its dtype where that is a float's.\n\n```rhai\nrand_like(zeros([2, 3])).shape // => [2, 3]\n```",
        ),
        (
            "randn_like",
            |call, dtype, shape| raise(next_stream(call, "script")?.randn(shape, dtype.float())),
            "Standard normal random numbers in the shape of another tensor; of its dtype where that is a float's.\n\n```rhai\nrandn_like(zeros([2, 3])).shape // => [2, 3]\n```",
        ),
    ] {
        library
            .function(name, "(x: Tensor, options?: map) -> Tensor", text)
            .options::<Creation>()
            .call(move |call: NativeCallContext, x: Tensor| make(&call, x.dtype(), x.dims()))
            .call(move |call: NativeCallContext, x: Tensor, options: Map| {
                let target = Target::new(&call, &options)?;
                make(&call, target.asked.unwrap_or(x.dtype()), x.dims())
            });
    }
    let full_like = |call: &NativeCallContext, x: &Tensor, value: &Dynamic, options: &Map| {
        let dtype = Target::new(call, options)?.asked.unwrap_or(x.dtype());
        raise(Tensor::full(filling(value)?, x.dims(), dtype))
    };
    library
        .function(
            "full_like",
            "(x: Tensor, value: number, options?: map) -> Tensor",
            r#"
            One value in the shape and dtype of another tensor.

            ```rhai
            full_like(zeros([2]), 2.5).to_array() // => [2.5, 2.5]
            ```
            "#,
        )
        .options::<Creation>()
        .call(move |call: NativeCallContext, x: Tensor, value: Dynamic| {
            full_like(&call, &x, &value, &Map::new())
        })
        .call(
            move |call: NativeCallContext, x: Tensor, value: Dynamic, options: Map| {
                full_like(&call, &x, &value, &options)
            },
        );
}

fn ranges(library: &mut Library) {
    library
        .function(
            "arange",
            "(start?: number, end: number, step?: number) -> Tensor",
            r#"
            Numbers from `start` (0) up to but without `end`; of ints i64, else floats.

            ```rhai
            arange(4).to_array() // => [0, 1, 2, 3]
            arange(0.0, 1.0, 0.5).to_array() // => [0.0, 0.5]
            ```
            "#,
        )
        .call(|call: NativeCallContext, end: Dynamic| {
            arange(&call, &Dynamic::from(0_i64), &end, &Dynamic::from(1_i64))
        })
        .call(|call: NativeCallContext, start: Dynamic, end: Dynamic| {
            arange(&call, &start, &end, &Dynamic::from(1_i64))
        })
        .call(
            |call: NativeCallContext, start: Dynamic, end: Dynamic, step: Dynamic| {
                arange(&call, &start, &end, &step)
            },
        );
    library
        .function(
            "linspace",
            "(start: number, end: number, n: int, options?: map) -> Tensor",
            r#"
            `n` numbers from `start` to `end`, both included, at equal distances.

            ```rhai
            linspace(0, 1, 3).to_array() // => [0.0, 0.5, 1.0]
            ```
            "#,
        )
        .options::<Creation>()
        .call(
            |call: NativeCallContext, start: Dynamic, end: Dynamic, n: i64| {
                linspace(&Target::of_session(&call)?, &start, &end, n)
            },
        )
        .call(
            |call: NativeCallContext, start: Dynamic, end: Dynamic, n: i64, options: Map| {
                linspace(&Target::new(&call, &options)?, &start, &end, n)
            },
        );
}

fn full(target: &Target, size: &Dynamic, value: f64) -> Outcome<Tensor> {
    let size = shape(size).map_err(|fault| fault.at(Spot::Argument(0)))?;
    raise(Tensor::full(value, &size, target.floats()))
}

fn filling(value: &Dynamic) -> Result<f64, Fault> {
    number(value).ok_or_else(|| {
        Fault::expected("int or float", type_word(value.type_name())).at(Spot::Argument(1))
    })
}

fn count(n: i64) -> Result<usize, Fault> {
    usize::try_from(n)
        .map_err(|_| Fault::value(format!("a size must be >= 0, got {n}")).at(Spot::Argument(0)))
}

fn arange(
    call: &NativeCallContext,
    start: &Dynamic,
    end: &Dynamic,
    step: &Dynamic,
) -> Outcome<Tensor> {
    let all_ints = start.is_int() && end.is_int() && step.is_int();
    let expected = |value: &Dynamic| {
        number(value).ok_or_else(|| Fault::expected("int or float", type_word(value.type_name())))
    };
    let (start, end, step) = (expected(start)?, expected(end)?, expected(step)?);
    if step == 0.0 || !(start.is_finite() && end.is_finite() && step.is_finite()) {
        return Err(Fault::value(format!(
            "no range goes from {start} to {end} in steps of {step}"
        ))
        .into());
    }
    let n = ((end - start) / step).ceil().max(0.0);
    raise(memory::ensure(n as usize, 8))?;
    let dtype = if all_ints {
        DType::I64
    } else {
        Target::of_session(call)?.floats()
    };
    raise(Tensor::arange(start, step, n as usize, dtype))
}

fn linspace(target: &Target, start: &Dynamic, end: &Dynamic, n: i64) -> Outcome<Tensor> {
    let expected = |value: &Dynamic, i: usize| {
        number(value).ok_or_else(|| {
            Fault::expected("int or float", type_word(value.type_name())).at(Spot::Argument(i))
        })
    };
    let (start, end) = (expected(start, 0)?, expected(end, 1)?);
    let n = usize::try_from(n)
        .map_err(|_| Fault::value(format!("a size must be >= 0, got {n}")).at(Spot::Argument(2)))?;
    raise(memory::ensure(n, 16))?;
    let step = if n > 1 {
        (end - start) / (n as f64 - 1.0)
    } else {
        0.0
    };
    let values: Vec<f64> = (0..n)
        .map(|i| {
            if i + 1 == n && n > 1 {
                end
            } else {
                start + step * i as f64
            }
        })
        .collect();
    raise(Tensor::from_vec(values, &[n]).and_then(|x| x.to_dtype(target.floats())))
}

/// Takes a tensor out of an option map, if it is there and not `()`; nested arrays of numbers are one too.
pub(crate) fn take_tensor(
    call: &NativeCallContext,
    map: &mut Map,
    key: &str,
    expected: &str,
) -> Outcome<Option<Tensor>> {
    match map.get(key).filter(|value| value.is_array()) {
        Some(values) => {
            let spot = Spot::Value(vec![key.into()]);
            let made = from_nested(&Target::of_session(call)?, values, spot)?;
            map.remove(key);
            Ok(Some(made))
        }
        None => Ok(options::take::<Tensor>(map, key, expected)?),
    }
}

fn tensor(target: &Target, values: &Dynamic) -> Outcome<Tensor> {
    from_nested(target, values, Spot::Argument(0))
}

/// A tensor from nested arrays; what is none is told at `spot`.
fn from_nested(target: &Target, values: &Dynamic, spot: Spot) -> Outcome<Tensor> {
    if let Some(ready) = values.read_lock::<Tensor>() {
        return raise(ready.to_dtype(target.asked.unwrap_or(ready.dtype())));
    }
    if let Some(parts) = values
        .read_lock::<Array>()
        .filter(|parts| !parts.is_empty() && parts.iter().all(|part| part.is::<Tensor>()))
    {
        let parts: Vec<Tensor> = parts
            .iter()
            .filter_map(|part| part.clone().try_cast::<Tensor>())
            .collect();
        return raise(Tensor::stack(&parts.iter().collect::<Vec<_>>(), 0));
    }
    let mut flat = Flat::default();
    flat.add(values, 0).map_err(|fault| fault.at(spot))?;
    let natural = if flat.has_floats || flat.values.is_empty() {
        target.float
    } else if flat.flags == flat.values.len() {
        DType::Bool
    } else {
        DType::I64
    };
    let dtype = target.asked.unwrap_or(natural);
    // Whole numbers beyond 2^53 do not survive a detour over f64.
    let made = match dtype {
        DType::I64 if !flat.has_floats => Tensor::from_vec(flat.ints, &flat.shape),
        _ => Tensor::from_vec(flat.values, &flat.shape).and_then(|x| x.to_dtype(dtype)),
    };
    raise(made)
}

/// Nested arrays in row-major order.
#[derive(Default)]
struct Flat {
    values: Vec<f64>,
    ints: Vec<i64>,
    has_floats: bool,
    flags: usize,
    shape: Vec<usize>,
    known: usize,
}

impl Flat {
    fn add(&mut self, value: &Dynamic, depth: usize) -> Result<(), Fault> {
        if let Some(items) = value.read_lock::<Array>() {
            self.expect_size(depth, items.len())?;
            return items.iter().try_for_each(|item| self.add(item, depth + 1));
        }
        if depth < self.known || (self.known == 0 && depth < self.shape.len()) {
            return Err(Fault::new(
                Kind::Shape,
                format!("a number stands beside an array at depth {depth}"),
            ));
        }
        self.known = depth;
        if let Ok(int) = value.as_int() {
            self.values.push(int as f64);
            self.ints.push(int);
        } else if let Ok(float) = value.as_float() {
            self.values.push(float);
            self.has_floats = true;
        } else if let Ok(flag) = value.as_bool() {
            self.flags += 1;
            self.values.push(f64::from(u8::from(flag)));
            self.ints.push(i64::from(flag));
        } else {
            return Err(Fault::expected(
                "numbers or nested arrays of numbers",
                type_word(value.type_name()),
            ));
        }
        Ok(())
    }

    /// All arrays of one depth have one length.
    fn expect_size(&mut self, depth: usize, size: usize) -> Result<(), Fault> {
        match self.shape.get(depth) {
            Some(&known) if known == size => Ok(()),
            Some(&known) => Err(Fault::new(
                Kind::Shape,
                format!("the arrays at depth {depth} have {known} and {size} items"),
            )),
            None if self.known > 0 || !self.values.is_empty() => Err(Fault::new(
                Kind::Shape,
                format!("an array stands beside a number at depth {depth}"),
            )),
            None => {
                self.shape.push(size);
                Ok(())
            }
        }
    }
}
