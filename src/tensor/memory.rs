//! Memory is checked before it is taken: a tensor of 10 TB is an error, not the end of the process.

use crate::{Error, Result};

/// Below this many bytes nothing is asked: the question itself costs some 20 microseconds.
const ASK_FROM: u64 = 64 << 20;

/// What is left to the rest of the machine.
const RESERVE: u64 = 256 << 20;

/// Bytes that this process can still take, with the limit of its control group.
pub fn available() -> u64 {
    // Where the system does not tell, nothing is refused.
    let Ok(mut system) = sysinfo::System::new() else {
        return u64::MAX;
    };
    system.refresh_memory();
    let free = system.available_memory();
    match system.cgroup_limits() {
        Some(limits) if limits.total_memory > 0 => free.min(limits.free_memory),
        _ => free,
    }
}

/// Refuses `elements * size` bytes when they are not there.
pub fn ensure(elements: usize, size: usize) -> Result<()> {
    let needed = (elements as u64).saturating_mul(size as u64);
    if needed < ASK_FROM {
        return Ok(());
    }
    let available = available().saturating_sub(RESERVE);
    if needed > available {
        Err(Error::Memory { needed, available })
    } else {
        Ok(())
    }
}

/// The number of elements of a shape, or an error where it does not fit the machine's word.
pub fn count(op: &'static str, shape: &[usize]) -> Result<usize> {
    let product = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    product
        .filter(|&n| n <= isize::MAX as usize / 8)
        .ok_or_else(|| Error::Value {
            op,
            detail: format!("shape {shape:?} has more elements than memory can address"),
        })
}
