//! A panic in a native function is a defect of ours, not the end of the program: it is caught,
//! kept quiet, and reported as an error with its message.

use std::{any::Any, cell::RefCell, panic, sync::Once};

use crate::{Kind, fault::Fault};

/// What a caught panic said, and where.
pub(crate) struct Message(String);

thread_local! {
    // `None` where panics are reported as usual; else the last one caught here.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps panics on this thread quiet while `work` runs.
pub(crate) fn quietly<R>(work: impl FnOnce() -> R) -> R {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let quiet = CAUGHT.with_borrow_mut(|caught| {
                caught.as_mut().map(|slot| {
                    *slot = info.location().map_or(String::new(), |at| {
                        format!(" at {}:{}", at.file(), at.line())
                    })
                })
            });
            if quiet.is_none() {
                usual(info);
            }
        }));
    });
    struct Restore(Option<String>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let former = self.0.take();
            CAUGHT.with_borrow_mut(|caught| *caught = former);
        }
    }
    let _restore = Restore(CAUGHT.with_borrow_mut(|caught| caught.replace(String::new())));
    work()
}

/// The message of a caught panic.
pub(crate) fn message(payload: &(dyn Any + Send)) -> Message {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_string());
    let text = text
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into());
    let place = CAUGHT.with_borrow(|caught| caught.clone().unwrap_or_default());
    Message(format!("{text}{place}"))
}

impl From<Message> for Fault {
    fn from(message: Message) -> Self {
        Fault::new(
            Kind::Internal,
            format!("a defect of Rhapsode: {}", message.0),
        )
        .hint("the session goes on; please report this with the code that led to it")
    }
}
