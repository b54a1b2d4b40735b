//! Messages for which there was no memory, and how many connections have ended for them.

/// So many messages at a time are counted; others are when these are gone.
const MISSED: usize = 4;

/// After so many connections in a row that have ended for it, a message is given up.
const TRIES: u16 = 3;

/// A message that found no memory.
#[derive(Clone, Copy)]
struct Entry {
    /// What it is recognised by: a hash of what it says.
    mark: u32,
    /// The connection on which it was last missed, and how many there were in a row.
    connection: u32,
    row: u16,
    /// The packet identifier that it had there.
    id: u16,
}

/// The table of them.
pub(super) struct Missed([Entry; MISSED]);

impl Missed {
    /// None. Connections are numbered from 2.
    pub(super) const fn new() -> Self {
        Self([Entry { mark: 0, connection: 0, row: 0, id: 0 }; MISSED])
    }

    /// The message with this identifier is kept: no row of misses goes on with it.
    pub(super) fn kept(&mut self, id: u16) {
        self.0.iter_mut().filter(|m| id > 0 && m.id == id).for_each(|m| m.row = 0);
    }

    /// A new session begins, in which their identifiers are those of others.
    pub(super) fn forget_ids(&mut self) {
        self.0.iter_mut().for_each(|m| m.id = 0);
    }

    /// Enters a message that is missed; whether connections enough have ended for it.
    pub(super) fn is_hopeless(&mut self, mark: u32, id: u16, connection: u32) -> bool {
        // In a row: also on the last connection, if not on this one before.
        let is_current = |m: &Entry| connection.wrapping_sub(m.connection) <= 1;
        let known = self.0.iter().position(|m| m.mark == mark && is_current(m));
        let Some(at) = known.or_else(|| self.0.iter().position(|m| !is_current(m))) else { return false };
        let entry = &mut self.0[at];
        if known.is_none() {
            *entry = Entry { mark, connection: 0, row: 0, id };
        }
        if entry.connection != connection {
            entry.row = entry.row.saturating_add(1);
        }
        (entry.connection, entry.id) = (connection, id);
        entry.row > TRIES
    }
}
