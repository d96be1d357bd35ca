//! Ctrl-C and its relatives: the running cell is asked to stop, the program stays in charge.
//!
//! The signals are blocked in every thread and taken by one that waits for them, so no code runs in
//! a signal handler. Call [`block`] before any other thread starts: threads inherit what is blocked.

/// What a signal means to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Ctrl-C stops the cell, never the program (the REPL).
    Cell,
    /// Ctrl-C, a polite kill (as from a cluster's scheduler) and a closed terminal stop the script, so that
    /// what was learned is saved; a second one within two seconds ends the program at once (the runner).
    Script,
}

#[cfg(unix)]
mod unix {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicI32, Ordering},
        },
        thread,
        time::{Duration, Instant},
    };

    use nix::sys::{
        signal::{SigSet, Signal},
        termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr},
    };
    use nix::unistd::{getpgrp, tcgetpgrp};

    use super::Policy;

    /// The terminal without `^C` on the line where the user types it; as before when dropped. The mark
    /// would break a line that is as wide as the terminal, and a progress bar could not take it away.
    pub struct Unmarked(Option<Termios>);

    /// Takes the marks away, where standard input is a terminal.
    pub fn unmarked() -> Unmarked {
        let before = tcgetattr(std::io::stdin()).ok().filter(|_| in_front());
        if let Some(before) = &before {
            let mut quiet = before.clone();
            quiet.local_flags.remove(LocalFlags::ECHOCTL);
            // A terminal that refuses shows the mark: no harm.
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &quiet);
        }
        Unmarked(before)
    }

    /// Whether the terminal listens to this program: the system stops one in the background that
    /// changes its terminal.
    fn in_front() -> bool {
        tcgetpgrp(std::io::stdin()).is_ok_and(|group| group == getpgrp())
    }

    impl Drop for Unmarked {
        fn drop(&mut self) {
            if let Some(before) = self.0.as_ref().filter(|_| in_front()) {
                let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, before);
            }
        }
    }

    /// A second signal within this time ends the program.
    const TWICE: Duration = Duration::from_secs(2);

    /// Signals that are blocked and not yet answered by anyone.
    pub struct Blocked(SigSet, Policy);

    /// The last signal that came, as the shell counts it.
    #[derive(Clone, Default)]
    pub struct Last(Arc<AtomicI32>);

    impl Last {
        /// The exit code of a program ended by that signal (130 for Ctrl-C, also when nothing came).
        pub fn exit_code(&self) -> u8 {
            let number = match self.0.load(Ordering::SeqCst) {
                0 => Signal::SIGINT as i32,
                number => number,
            };
            u8::try_from(128 + number).unwrap_or(1)
        }
    }

    /// Blocks the policy's signals in this thread and all that it starts.
    pub fn block(policy: Policy) -> Blocked {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        if policy == Policy::Script {
            signals.add(Signal::SIGTERM);
            signals.add(Signal::SIGHUP);
        }
        // Fails only for numbers that are no signals; then the signals keep their usual effect.
        let _ = signals.thread_block();
        Blocked(signals, policy)
    }

    impl Blocked {
        /// From now on the signals stop the running cell.
        pub fn watch(self, stop: impl Fn() + Send + 'static) -> Last {
            let last = Last::default();
            let seen = last.clone();
            let Blocked(signals, policy) = self;
            thread::spawn(move || {
                let mut before: Option<Instant> = None;
                while let Ok(signal) = signals.wait() {
                    seen.0.store(signal as i32, Ordering::SeqCst);
                    let again = before.is_some_and(|at| at.elapsed() < TWICE);
                    if policy == Policy::Script && again {
                        std::process::exit(seen.exit_code().into());
                    }
                    before = Some(Instant::now());
                    stop();
                }
            });
            last
        }
    }
}

#[cfg(unix)]
pub use unix::{Last, Unmarked, block, unmarked};

#[cfg(not(unix))]
mod other {
    use super::Policy;

    /// Elsewhere nothing is marked.
    pub struct Unmarked;

    /// Changes nothing.
    pub fn unmarked() -> Unmarked {
        Unmarked
    }

    /// Elsewhere the system's own effect of Ctrl-C stays.
    pub struct Blocked;

    /// Nothing is caught here.
    #[derive(Clone, Default)]
    pub struct Last;

    impl Last {
        /// The exit code of a program ended by Ctrl-C.
        pub fn exit_code(&self) -> u8 {
            130
        }
    }

    /// Blocks nothing.
    pub fn block(_: Policy) -> Blocked {
        Blocked
    }

    impl Blocked {
        /// Watches nothing.
        pub fn watch(self, _: impl Fn() + Send + 'static) -> Last {
            Last
        }
    }
}

#[cfg(not(unix))]
pub use other::{Last, Unmarked, block, unmarked};
