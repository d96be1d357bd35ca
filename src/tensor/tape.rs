//! Gradients by reverse accumulation.
//!
//! A `Node` has a number, its parents and a backward that returns one gradient a parent. Numbers
//! rise in the order of making, so a backward pass visits nodes in falling order of number: no
//! recursion, a graph of a million operations is fine. The first gradient of a node is moved, the
//! second makes a buffer that is owned alone, further ones are added to it in place. What only
//! leads to tensors older than every wanted one is never visited.
//!
//! A backward is written in tensor operations, or has a fused form for first derivatives beside
//! such a composition (`Ctx::create_graph` chooses), so that it can itself be differentiated.
//! Closures hold data without history; `Ctx::input` and `Ctx::output` attach the history
//! again when a graph of the gradient is wanted. So there are no cycles, and a long chain is
//! dropped by a loop.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use candle_core::{CpuStorage, InplaceOp1, Layout, WithDType};

use crate::{
    DType, Error, Real, Result, Tensor, interrupt, pool,
    simd::{kernels, math::Float},
    tensor::with_slice,
    with_real,
};

/// One gradient for each parent; `None` where the parent takes none.
pub(crate) type Grads = Vec<Option<Tensor>>;

type Backward = Box<dyn Fn(&Ctx, &Tensor) -> Result<Grads> + Send + Sync>;

/// One recorded operation, or a leaf.
pub(crate) struct Node {
    id: u64,
    op: &'static str,
    /// Of the value, hence of the gradient.
    dtype: DType,
    parents: Vec<Option<Arc<Node>>>,
    backward: Option<Backward>,
    // Of a leaf: its values, so that it can be found from what was made of it.
    values: Option<candle_core::Tensor>,
    label: Option<Box<Label>>,
}

/// What a parameter is called, and what its optimizer should know of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// Dotted name in its network, e.g. `layers.0.weight`.
    pub name: String,
    /// The kind of its layer where optimizers treat it apart: `embedding`; else empty.
    pub kind: String,
    /// Whether its optimizer state keeps 32 bits, whatever the optimizer's `bits`.
    pub keep_32bit: bool,
}

static NEXT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static RECORDING: Cell<bool> = const { Cell::new(true) };
    static WATCHING: Cell<bool> = const { Cell::new(false) };
}

impl Node {
    /// The start of a history of these values.
    pub(crate) fn leaf(values: &candle_core::Tensor, label: Option<Label>) -> Arc<Self> {
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            op: "param",
            dtype: values.dtype().into(),
            parents: Vec::new(),
            backward: None,
            values: Some(values.clone()),
            label: label.map(Box::new),
        })
    }
}

impl Node {
    /// What a parameter is called.
    pub(crate) fn label(&self) -> Option<&Label> {
        self.label.as_deref()
    }

    /// Whether it is the start of a history.
    pub(crate) fn is_leaf(&self) -> bool {
        self.backward.is_none()
    }
}

impl Drop for Node {
    /// A chain of a million nodes must not be dropped by recursion.
    fn drop(&mut self) {
        let mut queue: Vec<Arc<Node>> = self.parents.drain(..).flatten().collect();
        while let Some(next) = queue.pop() {
            if let Some(mut last) = Arc::into_inner(next) {
                queue.extend(last.parents.drain(..).flatten());
            }
        }
    }
}

/// What a backward sees besides the gradient of its output.
pub(crate) struct Ctx<'a> {
    node: &'a Arc<Node>,
    oldest: u64,
    create_graph: bool,
}

impl Ctx<'_> {
    /// Whether parent `i` wants a gradient.
    pub(crate) fn needs(&self, i: usize) -> bool {
        self.node
            .parents
            .get(i)
            .is_some_and(|p| p.as_ref().is_some_and(|p| p.id >= self.oldest))
    }

    /// Whether the gradient will itself be differentiated: then only tensor operations will do.
    pub(crate) fn create_graph(&self) -> bool {
        self.create_graph
    }

    /// Input `i`, whose data the closure kept, with its history when it is wanted.
    pub(crate) fn input(&self, i: usize, data: &candle_core::Tensor) -> Tensor {
        let parent = self.node.parents.get(i).cloned().flatten();
        Tensor {
            data: data.clone(),
            node: parent.filter(|_| self.create_graph),
            mask: false,
        }
    }

    /// The operation's own output, whose data the closure kept, with its history when it is wanted.
    pub(crate) fn output(&self, data: &candle_core::Tensor) -> Tensor {
        Tensor {
            data: data.clone(),
            node: self.create_graph.then(|| self.node.clone()),
            mask: false,
        }
    }
}

/// Makes the result of an operation: records it when an input is tracked and recording is on.
///
/// Here a result computed in f32 from bf16 inputs alone is rounded to bf16, and what an operation
/// moves about in a tensor of bools stays bools (see [`DType`]).
pub(crate) fn record(
    op: &'static str,
    data: candle_core::Tensor,
    inputs: &[&Tensor],
    backward: impl Fn(&Ctx, &Tensor) -> Result<Grads> + Send + Sync + 'static,
) -> Result<Tensor> {
    let data = match DType::from(data.dtype()) {
        DType::F32 if all_bf16(inputs) => data.to_dtype(DType::BF16.storage())?,
        DType::U8 if inputs.iter().all(|t| t.mask) && !inputs.is_empty() => {
            return Ok(Tensor::from_mask(data));
        }
        _ => data,
    };
    record_as_is(op, data, inputs, backward)
}

fn all_bf16(inputs: &[&Tensor]) -> bool {
    let floats = || inputs.iter().map(|t| t.dtype()).filter(|d| d.is_float());
    floats().next().is_some() && floats().all(|d| d == DType::BF16)
}

/// [`record`] for an operation that chooses the dtype of its result.
pub(crate) fn record_as_is(
    op: &'static str,
    data: candle_core::Tensor,
    inputs: &[&Tensor],
    backward: impl Fn(&Ctx, &Tensor) -> Result<Grads> + Send + Sync + 'static,
) -> Result<Tensor> {
    watch(op, "the value", &data)?;
    let tracked = inputs.iter().any(|t| t.node.is_some());
    if !tracked || !RECORDING.get() {
        return Ok(Tensor::from_candle(data));
    }
    let parents = inputs.iter().map(|t| t.node.clone()).collect();
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let node = Arc::new(Node {
        id,
        op,
        dtype: data.dtype().into(),
        parents,
        backward: Some(Box::new(backward)),
        values: None,
        label: None,
    });
    Ok(Tensor {
        data,
        node: Some(node),
        mask: false,
    })
}

/// Runs `f` without recording: results have no history.
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    scoped(&RECORDING, false, f)
}

/// Runs `f` with recording on, also inside of a backward pass or [`no_grad`]: for a method that needs derivatives of
/// its own.
pub fn enable_grad<R>(f: impl FnOnce() -> R) -> R {
    scoped(&RECORDING, true, f)
}

/// The parameters on which a tensor depends, in the order of their making.
pub fn leaves(y: &Tensor) -> Vec<Tensor> {
    let mut found = BTreeMap::new();
    let mut seen = HashSet::new();
    let mut queue: Vec<&Arc<Node>> = y.node.iter().collect();
    while let Some(node) = queue.pop() {
        if !seen.insert(node.id) {
            continue;
        }
        if let Some(values) = &node.values {
            let id = node.id;
            let (data, node) = (values.clone(), Some(Arc::clone(node)));
            found.insert(
                id,
                Tensor {
                    data,
                    node,
                    mask: false,
                },
            );
        }
        queue.extend(node.parents.iter().flatten());
    }
    found.into_values().collect()
}

/// Whether two tensors are one parameter, or results of one operation.
pub fn same_history(a: &Tensor, b: &Tensor) -> bool {
    match (&a.node, &b.node) {
        (Some(a), Some(b)) => a.id == b.id,
        _ => false,
    }
}

/// A tensor of these values whose gradients come from `backward`: given the gradient of the value, one for
/// each input, or `None` where an input takes none. For what is no composition of operations (the adjoint of a
/// differential equation); its gradients cannot be differentiated again.
pub fn custom(
    op: &'static str,
    value: &Tensor,
    inputs: &[&Tensor],
    backward: impl Fn(&Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static,
) -> Result<Tensor> {
    record(op, value.data.clone(), inputs, move |ctx, g| {
        if ctx.create_graph() {
            let detail = "its gradient cannot be differentiated again";
            return Err(Error::NoGradient { op, detail });
        }
        backward(g)
    })
}

/// Whether operations on tracked tensors are recorded at the moment.
pub fn is_recording() -> bool {
    RECORDING.get()
}

/// Whether [`watch_finite`] is at work: then operations are not fused further than their names tell.
pub(crate) fn is_watching() -> bool {
    WATCHING.get()
}

/// Runs `f` and makes the first operation whose value or gradient is NaN or infinite an error
/// that names it. Slow: for finding the place after something went wrong.
pub fn watch_finite<R>(f: impl FnOnce() -> R) -> R {
    scoped(&WATCHING, true, f)
}

fn scoped<R>(
    flag: &'static std::thread::LocalKey<Cell<bool>>,
    value: bool,
    f: impl FnOnce() -> R,
) -> R {
    struct Restore(&'static std::thread::LocalKey<Cell<bool>>, bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            self.0.set(self.1);
        }
    }
    let _restore = Restore(flag, flag.replace(value));
    f()
}

fn watch(op: &'static str, what: &'static str, data: &candle_core::Tensor) -> Result<()> {
    if WATCHING.get()
        && let Some(value) = non_finite(data)?
    {
        return Err(Error::NonFinite { op, what, value });
    }
    Ok(())
}

/// What the first non-finite element is, if there is one.
pub(crate) fn non_finite(data: &candle_core::Tensor) -> Result<Option<&'static str>> {
    fn first<T: Float>(x: &[T]) -> Option<&'static str> {
        // One sum decides in one fast pass: it is finite only if every element is (or it
        // overflowed, which the slow pass sorts out).
        if kernels::sum(x).is_finite() {
            return None;
        }
        x.iter()
            .map(|v| v.to_f64())
            .find(|v| !v.is_finite())
            .map(|v| match v {
                v if v.is_nan() => "NaN",
                v if v > 0.0 => "inf",
                _ => "-inf",
            })
    }
    match DType::from(data.dtype()) {
        dtype if dtype.is_float() => {
            with_real!("is_finite", dtype, T => with_slice("is_finite", data, first::<T>))
        }
        _ => Ok(None),
    }
}

/// Gradients of a scalar: `d loss / d x` for each `x`, of the shape of `x`.
///
/// `create_graph` keeps the history of the gradients themselves, for higher derivatives.
/// Errors when `loss` has more than one element or does not depend on one of `xs`.
pub fn grad(loss: &Tensor, xs: &[&Tensor], create_graph: bool) -> Result<Vec<Tensor>> {
    let seed = scalar_seed(loss)?;
    let found = backward(loss.clone(), seed, xs, create_graph)?;
    found.into_iter().map(|g| g.ok_or(NO_PATH)).collect()
}

/// Like [`grad`], consumes the history on the way (memory falls as it goes), and gives `None`
/// where the loss does not depend on `x`: for training, where a parameter may be idle in a step.
pub fn grad_or_zero(loss: Tensor, xs: &[&Tensor]) -> Result<Vec<Option<Tensor>>> {
    let seed = scalar_seed(&loss)?;
    backward(loss, seed, xs, false)
}

/// Vector-Jacobian product `v^T dy/dx` for each `x`; `v` has the shape of `y`.
pub fn vjp(y: &Tensor, xs: &[&Tensor], v: &Tensor, create_graph: bool) -> Result<Vec<Tensor>> {
    if y.dims() != v.dims() {
        let detail = format!(
            "the vector of shape {:?} does not match the output of shape {:?}",
            v.dims(),
            y.dims()
        );
        return Err(Error::Shape { op: "vjp", detail });
    }
    let found = backward(y.clone(), v.clone(), xs, create_graph)?;
    found.into_iter().map(|g| g.ok_or(NO_PATH)).collect()
}

/// Jacobian-vector product `(df/dx) t` at `x`, with `f(x)`: the reverse of the reverse pass, which is
/// linear in its vector. Every operation of `f` must have a second derivative.
pub fn jvp(
    f: impl FnOnce(&Tensor) -> Result<Tensor>,
    x: &Tensor,
    t: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let x = x.detach().param()?;
    let y = f(&x)?;
    if !y.is_tracked() {
        // A constant function.
        let product = Tensor::zeros(y.dims(), y.dtype())?;
        return Ok((y, product));
    }
    let v = Tensor::zeros(y.dims(), y.dtype())?.param()?;
    let pulled = vjp(&y, &[&x], &v, true)?.remove(0);
    let forward = match vjp(&pulled, &[&v], t, false) {
        Ok(mut g) => g.remove(0),
        // The pulled-back gradient does not depend on v only where the Jacobian is zero.
        Err(Error::NoGradient { .. }) => Tensor::zeros(y.dims(), y.dtype())?,
        Err(other) => return Err(other),
    };
    Ok((y.detach(), forward))
}

const NO_PATH: Error = Error::NoGradient {
    op: "grad",
    detail: "the loss does not depend on this tensor (was it made by param(..)?)",
};

fn scalar_seed(loss: &Tensor) -> Result<Tensor> {
    if loss.len() != 1 {
        let detail = format!(
            "the loss must have one element, got shape {:?} (take .sum() or .mean())",
            loss.dims()
        );
        return Err(Error::Shape { op: "grad", detail });
    }
    if loss.node.is_none() {
        return Err(NO_PATH);
    }
    Tensor::ones(loss.dims(), loss.dtype())
}

/// A gradient on its way: shared with whoever made it, or owned alone and added to in place.
struct Pending {
    node: Arc<Node>,
    grad: Tensor,
    owned: bool,
}

fn backward(
    root: Tensor,
    seed: Tensor,
    xs: &[&Tensor],
    create_graph: bool,
) -> Result<Vec<Option<Tensor>>> {
    let wanted: Vec<Option<u64>> = xs.iter().map(|x| x.node.as_ref().map(|n| n.id)).collect();
    let oldest = wanted.iter().flatten().min().copied().unwrap_or(u64::MAX);
    let mut found: BTreeMap<u64, Tensor> = BTreeMap::new();
    let mut pending: BTreeMap<u64, Pending> = BTreeMap::new();
    let Tensor { node, data, .. } = root;
    drop(data);
    if let Some(node) = node {
        pending.insert(
            node.id,
            Pending {
                node,
                grad: seed,
                owned: false,
            },
        );
    }
    let mut visited = 0u64;
    while let Some((id, Pending { node, grad, .. })) = pending.pop_last() {
        visited += 1;
        if visited.is_multiple_of(64) {
            interrupt::check()?;
        }
        if wanted.contains(&Some(id)) {
            found.insert(id, grad.clone());
        }
        let Some(backward) = &node.backward else {
            continue;
        };
        let ctx = Ctx {
            node: &node,
            oldest,
            create_graph,
        };
        if !(0..node.parents.len()).any(|i| ctx.needs(i)) {
            continue;
        }
        let grads = scoped(&RECORDING, create_graph, || backward(&ctx, &grad))?;
        drop(grad);
        for (i, grad) in grads.into_iter().enumerate() {
            if let (true, Some(grad), Some(Some(parent))) =
                (ctx.needs(i), grad, node.parents.get(i))
            {
                watch(node.op, "the gradient", &grad.data)?;
                // A gradient has the dtype of its tensor, whatever the operation computed in.
                let grad = scoped(&RECORDING, create_graph, || grad.to_dtype(parent.dtype))?;
                accumulate(&mut pending, parent, grad, create_graph)?;
            }
        }
    }
    Ok(wanted
        .into_iter()
        .map(|id| id.and_then(|id| found.get(&id).cloned()))
        .collect())
}

fn accumulate(
    pending: &mut BTreeMap<u64, Pending>,
    parent: &Arc<Node>,
    grad: Tensor,
    create_graph: bool,
) -> Result<()> {
    match pending.get_mut(&parent.id) {
        None => {
            pending.insert(
                parent.id,
                Pending {
                    node: parent.clone(),
                    grad,
                    owned: false,
                },
            );
        }
        Some(slot) if slot.owned && !create_graph => add_in_place(&slot.grad.data, &grad.data)?,
        Some(slot) => {
            slot.grad = scoped(&RECORDING, create_graph, || slot.grad.add(&grad))?;
            slot.owned = true;
        }
    }
    Ok(())
}

/// `target += other` in the storage of `target`, which must be contiguous and owned alone.
fn add_in_place(target: &candle_core::Tensor, other: &candle_core::Tensor) -> Result<()> {
    with_real!("grad", target.dtype(), T => {
        with_slice::<T, _>("grad", other, |y| {
            update_in_place::<T>(target, |x| {
                pool::for_each_piece(x, 1024, |start, x| kernels::add_assign(&y[start..start + x.len()], x));
            })
        })?
    })
}

/// The values of a contiguous CPU tensor changed in place by `f`; views of the same storage see it.
pub(crate) fn update_in_place<T: Real>(
    target: &candle_core::Tensor,
    f: impl FnOnce(&mut [T]),
) -> Result<()> {
    struct Update<F>(Cell<Option<F>>);
    impl<F: FnOnce(&mut CpuStorage, &Layout) -> candle_core::Result<()>> InplaceOp1 for Update<F> {
        fn name(&self) -> &'static str {
            "update_in_place"
        }
        fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
            self.0.take().map_or(Ok(()), |f| f(storage, layout))
        }
    }
    let run = |storage: &mut CpuStorage, layout: &Layout| {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("expected contiguous data");
        };
        if let CpuStorage::BF16(values) = storage {
            // bf16 is changed in the precision it is computed in, and rounded once.
            let values = &mut values[start..end];
            let mut wide: Vec<T> = values.iter().map(|v| T::of(v.to_f64())).collect();
            f(&mut wide);
            for (value, wide) in values.iter_mut().zip(wide) {
                *value = WithDType::from_f64(Float::to_f64(wide));
            }
            return Ok(());
        }
        f(&mut T::slice_mut(storage)?[start..end]);
        Ok(())
    };
    target.inplace_op1(&Update(Cell::new(Some(run))))?;
    Ok(())
}

/// The backward of a fused operation by its plain composition, for higher derivatives: `f` is the
/// composition of the inputs whose data were `saved`.
pub(crate) fn through(
    ctx: &Ctx,
    saved: &[candle_core::Tensor],
    g: &Tensor,
    f: impl FnOnce(&[Tensor]) -> Result<Tensor>,
) -> Result<Grads> {
    // Aliases are younger than everything upstream, so the inner pass ends at them.
    let alias = |(i, data): (usize, &candle_core::Tensor)| {
        let input = ctx.input(i, data);
        record("alias", input.data.clone(), &[&input], |_, g| {
            Ok(vec![Some(g.clone())])
        })
    };
    let inputs = saved
        .iter()
        .enumerate()
        .map(alias)
        .collect::<Result<Vec<_>>>()?;
    let y = f(&inputs)?;
    backward(
        y,
        g.clone(),
        &inputs.iter().collect::<Vec<_>>(),
        ctx.create_graph,
    )
}
