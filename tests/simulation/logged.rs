//! What the library logs: for a human who looks at a failing seed, and for tests that ask what it has said.

use std::cell::RefCell;

use super::memory;
use super::world::with_if_any;

thread_local! {
    /// Lines so far, while somebody asks for them.
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let _world = memory::world();
        LINES.with_borrow_mut(|lines| lines.iter_mut().for_each(|lines| lines.push(record.args().to_string())));
        with_if_any(|w| w.note(|| format!("    {}", record.args())));
    }

    fn flush(&self) {}
}

/// A world begins. Who looks at what happens in it sees more than warnings and errors.
pub(crate) fn begin(trace: bool) {
    if log::set_logger(&Log).is_ok() {
        log::set_max_level(if trace { log::LevelFilter::Debug } else { log::LevelFilter::Warn });
    }
}

/// What the library says meanwhile that is no mere detail.
pub(crate) fn logged<R>(work: impl FnOnce() -> R) -> (R, Vec<String>) {
    LINES.set(Some(Vec::new()));
    let result = work();
    (result, LINES.take().unwrap_or_default())
}
