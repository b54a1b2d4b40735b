//! Log records go to the SDK's `wm_log_printf`, in its line format.

use std::ffi::{c_char, c_int};
use std::io::{Cursor, Write};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::port::Port;

unsafe extern "C" {
    fn wm_log_printf(level: c_int, tag: *const c_char, format: *const c_char, ...) -> c_int;
}

/// Longer lines are cut; no heap, because "out of memory" must be logged too.
const LINE: usize = 256;

struct WmLog;

impl Log for WmLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // wm_log_printf has its own level. Crates under us log too, whole frames with their passwords among it.
        metadata.target() == "mqtt"
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let (level, letter) = match record.level() {
            Level::Error => (1, 'E'),
            Level::Warn => (2, 'W'),
            Level::Info => (3, 'I'),
            Level::Debug => (4, 'D'),
            Level::Trace => (5, 'V'),
        };
        let mut line = Cursor::new([0; LINE]);
        // An error means that the line was cut.
        let _ = write!(line, "[{letter}] ({}) mqtt: {}", super::Host::now().as_millis(), record.args());
        let len = line.position() as c_int;
        let line = line.into_inner();
        // SAFETY: NUL-terminated tag and format; "%.*s" reads at most `len` bytes of the line, which has them.
        unsafe { wm_log_printf(level, c"mqtt".as_ptr(), c"%.*s\r\n".as_ptr(), len, line.as_ptr()) };
    }

    fn flush(&self) {}
}

/// Sends this library's log records to `wm_log_printf`, unless the program has set a logger of its own.
pub fn init() {
    if log::set_logger(&WmLog).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}
