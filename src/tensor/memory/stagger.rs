//! Large buffers whose distances are no multiples of 128 MiB.
//!
//! An allocator places buffers beyond some size at multiples of a power of two, mimalloc at multiples of 32 MiB. Four buffers of
//! 100 MB then lie 128 MiB apart, and a pass that walks them side by side, as an optimizer's step walks parameters,
//! gradient and moments, finds its lines in one set of every cache, where they push each other out: on a Zen 4 it took
//! 11.6 ms, with 64 KiB more between them 6.8 (64 bytes more: 9.6; from 8 KiB on there was no difference to any other
//! distance).

use std::alloc::{GlobalAlloc, Layout};

/// From this many bytes on a buffer is shifted.
const LARGE: usize = 16 << 20;

/// What a large buffer takes more. It begins within as many bytes from a multiple of it.
const ROOM: usize = 64 << 10;

/// How far a buffer is shifted that was given this address: by another 8 KiB for each of the eight places 128 MiB apart in one
/// GiB, and another one for each of eight GiB.
fn shift(base: usize) -> usize {
    ((base >> 27 & 7) << 13) + ((base >> 30 & 7) << 10)
}

/// An allocator whose large buffers are shifted.
pub struct Staggered<A>(pub A);

/// What is asked of the inner allocator for a large buffer; `None` for others, and where no address could be as large.
fn widened(layout: Layout) -> Option<Layout> {
    let large = layout.size() >= LARGE && layout.align() <= 1 << 10;
    let size = layout.size().checked_add(ROOM).filter(|_| large)?;
    Layout::from_size_align(size, ROOM).ok()
}

/// The shifted place in a large buffer of the inner allocator.
fn place(base: *mut u8) -> *mut u8 {
    match base.is_null() {
        true => base,
        false => base.wrapping_add(shift(base.addr())),
    }
}

/// Where the inner allocator's buffer begins, and how far behind it the place lies.
fn base(place: *mut u8) -> (*mut u8, usize) {
    let shift = place.addr() % ROOM;
    (place.wrapping_sub(shift), shift)
}

// SAFETY: a large buffer lies in one of the inner allocator that has ROOM more bytes and begins at a multiple of ROOM; it is shifted
// by less than ROOM, so this begin is found again. All else is the inner allocator's.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Staggered<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match widened(layout) {
            // SAFETY: promised by the caller.
            None => unsafe { self.0.alloc(layout) },
            // SAFETY: the size is not 0.
            Some(wide) => place(unsafe { self.0.alloc(wide) }),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match widened(layout) {
            // SAFETY: promised by the caller.
            None => unsafe { self.0.alloc_zeroed(layout) },
            // SAFETY: the size is not 0.
            Some(wide) => place(unsafe { self.0.alloc_zeroed(wide) }),
        }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        match widened(layout) {
            // SAFETY: promised by the caller.
            None => unsafe { self.0.dealloc(place, layout) },
            // SAFETY: this is what the inner allocator gave.
            Some(wide) => unsafe { self.0.dealloc(base(place).0, wide) },
        }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(size, layout.align()) else {
            return std::ptr::null_mut();
        };
        match (widened(layout), widened(new)) {
            // SAFETY: promised by the caller.
            (None, None) => unsafe { self.0.realloc(place, layout, size) },
            (Some(old), Some(wide)) => {
                // The shift stays what it was, wherever the buffer goes: so it can also stay.
                let (base, shift) = base(place);
                // SAFETY: this is what the inner allocator gave, and the new size is not 0.
                let base = unsafe { self.0.realloc(base, old, wide.size()) };
                match base.is_null() {
                    true => base,
                    false => base.wrapping_add(shift),
                }
            }
            // SAFETY: promised by the caller; both hold what is copied, and the old one is given back once.
            _ => unsafe {
                let to = self.alloc(new);
                if !to.is_null() {
                    std::ptr::copy_nonoverlapping(place, to, layout.size().min(size));
                    self.dealloc(place, layout);
                }
                to
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::System;

    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 64).unwrap()
    }

    #[test]
    fn places_128_mib_apart_are_shifted_apart() {
        let mut shifts: Vec<usize> = (0..64).map(|i| shift(i << 27)).collect();
        shifts.sort_unstable();
        assert!(shifts.windows(2).all(|pair| pair[1] - pair[0] >= 1 << 10));
        assert!(shifts.iter().all(|shift| shift % 64 == 0 && *shift < ROOM));
        let near: Vec<usize> = (0..8).map(|i| shift(i << 27)).collect();
        assert!(near.windows(2).all(|pair| pair[1] - pair[0] == 8 << 10));
    }

    #[test]
    fn buffers_keep_what_they_hold_when_they_grow_and_shrink() {
        let allocator = Staggered(System);
        let sizes = [
            LARGE,
            3 * LARGE,
            LARGE + 5,
            LARGE / 2,
            1000,
            LARGE - 1,
            2 * LARGE,
        ];
        // SAFETY: the buffer is read and written within its size, and given back with its layout.
        unsafe {
            let mut size = LARGE + 100;
            let mut place = allocator.alloc_zeroed(layout(size));
            assert_eq!((*place, *place.add(size - 1)), (0, 0));
            for (i, next) in sizes.into_iter().enumerate() {
                let marks = [0, size.min(next) / 2, size.min(next) - 1];
                for (k, mark) in marks.into_iter().enumerate() {
                    *place.add(mark) = (10 * i + k) as u8;
                }
                place = allocator.realloc(place, layout(size), next);
                assert!(place.addr().is_multiple_of(64));
                for (k, mark) in marks.into_iter().enumerate() {
                    assert_eq!(*place.add(mark), (10 * i + k) as u8);
                }
                size = next;
            }
            allocator.dealloc(place, layout(size));
        }
    }
}
