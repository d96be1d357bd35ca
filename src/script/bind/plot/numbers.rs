//! Numbers out of arrays and tensors, as figures want them.

use rhai::{Array, Dynamic, Map};
use rhapsode_plot::Points;
use rhapsode_tensor::Tensor;

use crate::{
    Kind,
    bind::number,
    fault::{Fault, Spot},
    value::type_word,
};

fn wrong(expected: &str, value: &Dynamic, argument: usize) -> Fault {
    Fault::expected(expected, type_word(value.type_name())).at(Spot::Argument(argument))
}

fn tensor_values(tensor: &Tensor) -> Result<Vec<f64>, Fault> {
    tensor.to_vec().map_err(Fault::from)
}

/// An array of numbers or a tensor of any shape, flattened; tensors of one element in an array are numbers too.
pub(super) fn list(value: &Dynamic, argument: usize) -> Result<Vec<f64>, Fault> {
    if let Some(tensor) = value.read_lock::<Tensor>() {
        return tensor_values(&tensor);
    }
    let Some(array) = value.read_lock::<Array>() else {
        return Err(wrong("an array of numbers or a Tensor", value, argument));
    };
    let one = |item: &Dynamic| {
        let element = || item.read_lock::<Tensor>().and_then(|t| t.item().ok());
        number(item)
            .or_else(element)
            .ok_or_else(|| wrong("numbers in the array", item, argument))
    };
    array.iter().map(one).collect()
}

/// Whether an array holds lists rather than numbers.
fn is_nested(array: &Array) -> bool {
    let long = |item: &Dynamic| {
        item.read_lock::<Tensor>()
            .is_some_and(|t| t.rank() > 0 && t.len() != 1)
    };
    array
        .first()
        .is_some_and(|item| item.is_array() || long(item))
}

/// One series, or several: an array of lists, or the columns of a matrix.
pub(super) fn columns(value: &Dynamic, argument: usize) -> Result<Vec<Vec<f64>>, Fault> {
    if let Some(tensor) = value.read_lock::<Tensor>() {
        let values = tensor_values(&tensor)?;
        return match *tensor.dims() {
            [_, k] if k > 0 => Ok((0..k)
                .map(|c| values.iter().skip(c).step_by(k).copied().collect())
                .collect()),
            [_] | [] => Ok(vec![values]),
            _ => {
                let message = format!("expected shape [n] or [n, series], got {:?}", tensor.dims());
                Err(Fault::new(Kind::Shape, message).at(Spot::Argument(argument)))
            }
        };
    }
    match value.read_lock::<Array>() {
        Some(array) if is_nested(&array) => array.iter().map(|item| list(item, argument)).collect(),
        _ => Ok(vec![list(value, argument)?]),
    }
}

/// One sample, or several in an array.
pub(super) fn samples(value: &Dynamic) -> Result<Vec<Vec<f64>>, Fault> {
    match value.read_lock::<Array>() {
        Some(array) if is_nested(&array) => array.iter().map(|item| list(item, 0)).collect(),
        _ => Ok(vec![list(value, 0)?]),
    }
}

/// Points `[n, 2]`, or several groups of them in an array.
pub(super) fn groups(value: &Dynamic) -> Result<Vec<Points>, Fault> {
    if let Some(tensor) = value.read_lock::<Tensor>() {
        return Ok(vec![points(&tensor)?]);
    }
    let Some(array) = value.read_lock::<Array>() else {
        return Err(wrong("a Tensor [n, 2] or an array of those", value, 0));
    };
    if array.first().is_some_and(Dynamic::is_array) {
        // An array of pairs of numbers is one group.
        let (values, shape) = picture(value)?;
        return Ok(vec![points_of(&values, &shape)?]);
    }
    let one = |item: &Dynamic| match item.read_lock::<Tensor>() {
        Some(tensor) => points(&tensor),
        None => Err(wrong("Tensors [n, 2] in the array", item, 0)),
    };
    array.iter().map(one).collect()
}

fn points(tensor: &Tensor) -> Result<Points, Fault> {
    points_of(&tensor_values(tensor)?, tensor.dims())
}

fn points_of(values: &[f64], shape: &[usize]) -> Result<Points, Fault> {
    if !matches!(shape, [_, 2]) {
        let fault = Fault::new(
            Kind::Shape,
            format!("expected points [n, 2], got shape {shape:?}"),
        )
        .at(Spot::Argument(0));
        return Err(fault.hint("give x and y apart: plot::scatter(x, y)"));
    }
    let every = |start: usize| values.iter().skip(start).step_by(2).copied().collect();
    Ok(Points {
        x: every(0),
        y: every(1),
        values: None,
    })
}

/// Points or vectors `[n, 2]`: a Tensor, or an array of pairs.
pub(super) fn pairs(value: &Dynamic, argument: usize) -> Result<Vec<[f64; 2]>, Fault> {
    let (values, shape) = picture(value).map_err(|fault| fault.at(Spot::Argument(argument)))?;
    if !matches!(shape.as_slice(), [_, 2]) {
        let message = format!("expected shape [n, 2], got {shape:?}");
        return Err(Fault::new(Kind::Shape, message).at(Spot::Argument(argument)));
    }
    let (pairs, _) = values.as_chunks::<2>();
    Ok(pairs.to_vec())
}

/// Takes an option out of the map that is no plain value: numbers in an array or a Tensor.
pub(super) fn of_option<T>(
    map: &mut Map,
    key: &str,
    read: impl FnOnce(&Dynamic) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    let Some(value) = map.remove(key).filter(|value| !value.is_unit()) else {
        return Ok(None);
    };
    let told = |fault: Fault| {
        Fault {
            kind: Kind::Option,
            message: format!("option `{key}`: {}", fault.message),
            ..fault
        }
        .at(Spot::Value(vec![key.into()]))
    };
    read(&value).map(Some).map_err(told)
}

/// Values and shape of a tensor or of nested arrays.
pub(super) fn picture(value: &Dynamic) -> Result<(Vec<f64>, Vec<usize>), Fault> {
    if let Some(tensor) = value.read_lock::<Tensor>() {
        return Ok((tensor_values(&tensor)?, tensor.dims().to_vec()));
    }
    let Some(array) = value.read_lock::<Array>() else {
        return Err(wrong("a Tensor or nested arrays of numbers", value, 0));
    };
    if !is_nested(&array) {
        let values = list(value, 0)?;
        let n = values.len();
        return Ok((values, vec![n]));
    }
    let (mut values, mut inner) = (Vec::new(), None);
    for item in array.iter() {
        let (part, shape) = picture(item)?;
        if inner.get_or_insert_with(|| shape.clone()) != &shape {
            return Err(Fault::new(Kind::Shape, "rows of different lengths").at(Spot::Argument(0)));
        }
        values.extend(part);
    }
    let shape = [array.len()]
        .into_iter()
        .chain(inner.unwrap_or_default())
        .collect();
    Ok((values, shape))
}
