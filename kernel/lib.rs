//! The Jupyter kernel: the wire protocol over a [`rhapsode_script::Session`], and the kernelspec.
//!
//! It knows sockets and messages and no Rhai type. libzmq by `zmq2`, the wire format by hand, no async runtime;
//! of all that was tried only this passes every test, a client that stops reading included. Threads:
//!
//! - the **wire** thread alone touches the sockets (`wire.rs`); interrupt, shutdown and subshells are done there;
//! - every **shell** has a thread for its cells (`execute.rs`), which write through one ordered `outbox.rs`;
//! - **answers** about code come from a thread of their own (`answers.rs`), also while a cell trains;
//! - the **heartbeat** echoes.
//!
//! Nothing sleeps, and nothing waits for a client.

mod answers;
mod comm;
mod connection;
mod control;
mod crash;
mod curve;
mod error;
mod execute;
mod frontend;
mod history;
mod info;
mod message;
mod outbox;
mod page;
mod parent;
mod progress;
pub mod spec;
mod stdin;
mod waker;
mod wire;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::channel,
    },
};

use rhapsode_script::{Glance, InterruptHandle, Session};

pub use error::Error;
/// What a notebook without a kernel needs, too.
pub use frontend::bundle;
pub use progress::{Bars, Shown};

use connection::{Connection, Sockets};
use execute::{Interrupts, Shell, Start};
use message::{Message, Signer};
use outbox::{Content, Outbox};

/// Where the kernel tells what its developer may want to know.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// What all threads of a kernel share.
struct Kernel {
    outbox: Arc<Outbox>,
    questions: Arc<stdin::Questions>,
    history: history::History,
    comms: comm::Comms,
    /// The number of the last cell.
    count: AtomicUsize,
    /// Answers at any time; there as soon as the session is.
    glance: OnceLock<Glance>,
    interrupts: Mutex<Interrupts>,
    shells: AtomicU64,
    prefix: String,
    /// Whether the user must still be told that the former kernel is gone.
    crashed: AtomicBool,
    log: Log,
}

impl Kernel {
    fn interrupts(&self) -> MutexGuard<'_, Interrupts> {
        self.interrupts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn interrupt(&self) {
        self.interrupts().interrupt();
    }

    fn new_shell(&self) -> u64 {
        self.shells.fetch_add(1, Ordering::Relaxed)
    }

    fn add_interrupt(&self, shell: u64, handle: InterruptHandle) {
        self.interrupts().add(shell, handle);
    }

    fn remove_interrupt(&self, shell: u64) -> Option<InterruptHandle> {
        self.interrupts().remove(shell)
    }

    /// What the ids of displays begin with: no other kernel's do.
    fn display_prefix(&self) -> String {
        self.prefix.clone()
    }

    /// Says once, with the first cell, that the former kernel is gone.
    fn tell_of_crash(&self, message: &Message) {
        if self.crashed.swap(false, Ordering::SeqCst) {
            let text = "The kernel had ended unexpectedly and was started again: variables and functions are gone.\n";
            let content = Content::Text("stderr", text.into());
            self.outbox.output("stream", &message.header, content);
        }
    }
}

/// What a kernel starts with.
pub struct Options<'a> {
    /// The connection file that the client wrote.
    pub connection_file: &'a Path,
    /// Where the history is kept; nowhere when `None`.
    pub history: Option<PathBuf>,
    /// Where the kernel tells what its developer may want to know.
    pub log: Log,
}

/// A kernel that listens, but does nothing yet.
pub struct Server {
    kernel: Arc<Kernel>,
    context: zmq::Context,
    sockets: Sockets,
    heartbeat: zmq::Socket,
    signer: Signer,
    mark: crash::Mark,
}

impl Server {
    /// Listens where the connection file says.
    pub fn bind(options: Options) -> Result<Self, Error> {
        let connection = Connection::read(options.connection_file)?;
        let context = zmq::Context::new();
        let (sockets, heartbeat) = Sockets::bind(&connection, &context)?;
        let outbox = Outbox::new().map_err(|source| Error::System {
            what: "pipe",
            source,
        })?;
        let mark = crash::Mark::set(options.connection_file);
        let kernel = Kernel {
            outbox: Arc::new(outbox),
            questions: Arc::default(),
            history: history::History::new(options.history, Arc::clone(&options.log)),
            comms: comm::Comms::default(),
            count: AtomicUsize::new(0),
            glance: OnceLock::new(),
            interrupts: Mutex::default(),
            shells: AtomicU64::new(0),
            prefix: message::fresh_id(),
            crashed: AtomicBool::new(mark.found),
            log: options.log,
        };
        Ok(Self {
            kernel: Arc::new(kernel),
            context,
            sockets,
            heartbeat,
            signer: Signer::new(&connection.key),
            mark,
        })
    }

    /// Stops whatever runs, from any thread: for Ctrl-C.
    pub fn interrupter(&self) -> impl Fn() + Send + 'static {
        let kernel = Arc::clone(&self.kernel);
        move || kernel.interrupt()
    }

    /// Works until a client wants the kernel to end, or the process that started it is gone. The session is made
    /// by `make` on the thread of its cells. Cells that do not stop within half a second are left behind: the
    /// process is expected to end.
    pub fn serve(self, make: impl FnOnce() -> Session + Send + 'static) -> Result<(), Error> {
        let Self {
            kernel,
            mut context,
            sockets,
            heartbeat,
            signer,
            mark,
        } = self;
        let no_thread = |source| Error::System {
            what: "thread",
            source,
        };
        wire::spawn("heartbeat", move || connection::echo(&heartbeat)).map_err(no_thread)?;
        let main = Shell::start(&kernel, None, Start::Main(Box::new(make))).map_err(no_thread)?;
        let (answers, requests) = channel();
        let shared = Arc::clone(&kernel);
        wire::spawn("answers", move || answers::run(&shared, &requests)).map_err(no_thread)?;
        kernel.outbox.status(&message::no_parent(), "starting");
        let wire = wire::Wire {
            sockets,
            signer,
            outbox: Arc::clone(&kernel.outbox),
            questions: Arc::clone(&kernel.questions),
            log: Arc::clone(&kernel.log),
            control: control::Control::new(kernel, main, answers),
            parent: parent::ParentProcess::watched(),
        };
        wire.run();
        mark.clear();
        // Waits until the last reply has left, a second at most; the heartbeat ends by it.
        if let Err(error) = context.destroy() {
            return Err(Error::System {
                what: "farewell",
                source: error.into(),
            });
        }
        Ok(())
    }
}
