//! What the log says meanwhile.

use std::cell::RefCell;
use std::sync::Once;

/// What the log says, on each thread.
struct Lines;

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target() == "mqtt" {
            LINES.with_borrow_mut(|lines| lines.push(format!("{}: {}", record.level(), record.args())));
        }
    }

    fn flush(&self) {}
}

/// What the log says meanwhile: warnings and worse.
pub(crate) fn logged<R>(work: impl FnOnce() -> R) -> (R, Vec<String>) {
    static BEGIN: Once = Once::new();
    BEGIN.call_once(|| {
        log::set_logger(&Lines).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
    });
    LINES.take();
    let result = work();
    (result, LINES.take())
}
