//! Wakes the wire thread out of its poll: a pair of sockets, one byte for any number of messages.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::UnixStream,
    },
    sync::atomic::{AtomicBool, Ordering},
};

/// A flag that a poll can wait for.
pub struct Waker {
    read: UnixStream,
    write: UnixStream,
    // Whether a byte is on its way: further wakes write nothing.
    pending: AtomicBool,
}

impl Waker {
    /// A waker that nobody has woken.
    pub fn new() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        Ok(Self {
            read,
            write,
            pending: AtomicBool::new(false),
        })
    }

    /// Ends the poll, or the next one.
    pub fn wake(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            // Fails only when the buffer is full of wakes, and then the poll ends as well.
            let _ = (&self.write).write(&[1]);
        }
    }

    /// Takes the wakes so far; what is queued must be looked at after this, not before.
    pub fn clear(&self) {
        let mut bytes = [0; 64];
        // Nothing to read is no error here.
        let _ = (&self.read).read(&mut bytes);
        self.pending.store(false, Ordering::Release);
    }

    /// What to poll.
    pub fn fd(&self) -> RawFd {
        self.read.as_raw_fd()
    }
}
