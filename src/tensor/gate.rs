//! One gate for all values that are changed in place: parameters, which one shell may train while another one reads them.
//!
//! candle keeps the data of a tensor behind a lock, and the parameters of a model are views of one buffer. An operation reads several
//! of them, so its thread takes that one lock more than once; and a lock that a writer waits for lets no reader in, not
//! even one who is in already. Reader and writer then wait for each other for ever. So whoever reads passes this
//! gate first, which lets readers in beside readers whoever waits, and who changes parameters has it for himself.
//!
//! It is one gate for all tensors: a training in one shell waits at most for the operation that another one is in.
//!
//! Threads of the pool that work for a reader may read too. For a writer they may not: what he needs to read he reads himself.

use std::cell::Cell;

use parking_lot::RwLock;

static GATE: RwLock<()> = RwLock::new(());

thread_local! {
    /// Whether this thread is within the gate: as a reader or as the writer.
    static WITHIN: Cell<bool> = const { Cell::new(false) };
}

/// Within the gate until it is dropped, also by a panic.
struct Within;

impl Within {
    fn enter() -> Self {
        WITHIN.set(true);
        Self
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        WITHIN.set(false);
    }
}

/// Calls `f`, which reads values of tensors.
#[inline]
pub(crate) fn reading<R>(f: impl FnOnce() -> R) -> R {
    if WITHIN.get() {
        return f();
    }
    let _guard = GATE.read_recursive();
    let _within = Within::enter();
    f()
}

/// Calls `f`, which changes values that other threads may read. Called by who reads already it goes ahead without the gate,
/// for it would wait for itself, and is as unprotected as without one: so a writer that reads as well begins with writing.
pub(crate) fn writing<R>(f: impl FnOnce() -> R) -> R {
    if WITHIN.get() {
        return f();
    }
    let _guard = GATE.write();
    let _within = Within::enter();
    f()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::{
        DType, Tensor,
        ops::{
            linear::Activation,
            mlp::{Layer, forward},
        },
        params::Params,
    };

    /// Without the gate this waits for ever.
    #[test]
    fn two_threads_train_what_two_read() {
        let named = |(name, shape): (&str, &[usize])| {
            let values = Tensor::full(0.01, shape, DType::F32)?.param()?;
            Ok((name.to_string(), values))
        };
        let shapes: [(&str, &[usize]); 4] = [
            ("0.weight", &[8, 2]),
            ("0.bias", &[8]),
            ("1.weight", &[2, 8]),
            ("1.bias", &[2]),
        ];
        let named = shapes.into_iter().map(named).collect::<crate::Result<_>>();
        let params = Params::new(named.unwrap()).unwrap();
        let layers = |p: &[Tensor]| -> crate::Result<Tensor> {
            let layer = |i: usize| Layer {
                weight: &p[2 * i],
                bias: &p[2 * i + 1],
                act: Activation::Identity,
            };
            let x = Tensor::full(1.0, &[4, 2], DType::F32)?;
            crate::no_grad(|| forward(&x, &[layer(0), layer(1)]))
        };
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        layers(params.tensors()).unwrap();
                    }
                });
            }
            let writers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..5_000 {
                            let add = |p: &mut [f32]| p.iter_mut().for_each(|v| *v += 1.0);
                            params.update::<f32>(add).unwrap();
                        }
                    })
                })
                .collect();
            writers.into_iter().for_each(|w| w.join().unwrap());
            done.store(true, Ordering::Relaxed);
        });
        let values = params.flat().to_vec().unwrap();
        assert!(values.iter().all(|v| (*v - 10_000.0).abs() < 1.0));
    }

    #[test]
    fn a_panic_within_the_gate_leaves_it_open() {
        let broken = std::panic::catch_unwind(|| writing(|| panic!("within")));
        assert!(broken.is_err());
        assert_eq!(reading(|| writing(|| 1)), 1);
        assert_eq!(writing(|| reading(|| 2)), 2);
    }
}
