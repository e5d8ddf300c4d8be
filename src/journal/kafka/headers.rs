//! Headers of a message as they are, whatever their names' bytes. The binding ends the thread with a panic
//! where a name is not UTF-8; anybody who may write to staging can send one, and it must stop nobody. They are
//! kept by copying all headers as a whole, which looks into none.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers, Message, OwnedHeaders};

/// A header: name and value.
pub type Header<'a> = (&'a str, Option<&'a [u8]>);

thread_local! {
    /// Whether this thread is reading names, so that a panic is an answer.
    static READING: Cell<bool> = const { Cell::new(false) };
}

/// All headers of a message, with room for more behind them: byte for byte what was received.
pub fn kept(message: &BorrowedMessage<'_>) -> OwnedHeaders {
    message.headers().map_or_else(|| OwnedHeaders::new_with_capacity(3), BorrowedHeaders::detach)
}

/// The headers in their order; `None` for one whose name cannot be read.
pub fn read<'m>(message: &'m BorrowedMessage<'_>) -> Vec<Option<Header<'m>>> {
    let Some(headers) = message.headers() else { return Vec::new() };
    let all = || headers.iter().map(|header| Some((header.key, header.value))).collect();
    let each = || (0..headers.count()).map(|at| readable(|| one(headers, at)).flatten()).collect();
    readable(all).unwrap_or_else(each)
}

/// Whether a header of this name is among the message's, or may be: names that cannot be read may be any.
pub fn may_carry(message: &BorrowedMessage<'_>, name: &str) -> bool {
    message
        .headers()
        .is_some_and(|headers| readable(|| headers.iter().any(|header| header.key == name)).unwrap_or(true))
}

fn one(headers: &BorrowedHeaders, at: usize) -> Option<Header<'_>> {
    headers.try_get(at).map(|header| (header.key, header.value))
}

/// What `read` gives, or `None` when the binding cannot read a name.
fn readable<T>(read: impl FnOnce() -> T) -> Option<T> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let told = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !READING.get() {
                told(panic);
            }
        }));
    });
    READING.set(true);
    // Nothing is left half done: names are only looked at.
    let read = panic::catch_unwind(AssertUnwindSafe(read));
    READING.set(false);
    read.ok()
}
