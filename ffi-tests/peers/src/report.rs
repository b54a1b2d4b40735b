//! Lines for the test that started the program.

use std::io::{self, Write};
use std::sync::mpsc::{self, Sender};
use std::thread;

/// Where a relay says what it sees. Clones write to the same place.
#[derive(Clone)]
pub struct Report(Option<Sender<String>>);

impl Report {
    /// To standard output, each line flushed. A thread of its own writes them: a test that does not read its pipe must
    /// not stop the connections.
    pub fn stdout() -> Self {
        let (sender, lines) = mpsc::channel::<String>();
        thread::spawn(move || {
            for line in lines {
                let mut out = io::stdout().lock();
                // Nobody reads any more: the program is about to be ended.
                let _ = writeln!(out, "{line}").and_then(|()| out.flush());
            }
        });
        Report(Some(sender))
    }

    /// To nowhere.
    pub fn silent() -> Self {
        Report(None)
    }

    pub fn line(&self, line: impl Into<String>) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(line.into());
        }
    }
}
