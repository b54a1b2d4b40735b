//! How a broker behaves.

/// Manners. Permille or milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    /// An answer comes after this long; whatever else is to be said by then goes with it.
    pub(crate) reply: (u64, u64),
    /// Closes when DISCONNECT comes.
    pub(crate) closes: u64,
    /// Refuses a CONNECT.
    pub(crate) refuses: u64,
    /// Never answers a CONNECT.
    pub(crate) ignores: u64,
    /// Refuses a SUBSCRIBE, or never answers it.
    pub(crate) refuses_subscription: u64,
    pub(crate) ignores_subscription: u64,
    /// Unacknowledged messages to a client; 0: any number.
    pub(crate) window: usize,
    /// Reads at all; answers PUBLISH and PUBREL; answers PINGREQ.
    pub(crate) reads: bool,
    pub(crate) acknowledges: bool,
    pub(crate) pongs: bool,
    /// Breaks rules without harm: flags, codes and acknowledgements that there should not be.
    pub(crate) sloppy: bool,
    /// Says an acknowledgement twice; says later what may come in any order; says a part of something, and the rest later.
    pub(crate) twice: u64,
    pub(crate) late: u64,
    pub(crate) pieces: u64,
    /// Says what it likes, and does not wonder about the answers.
    pub(crate) hostile: bool,
    /// A memory failure in the client may leave messages unacknowledged, so acknowledgements may come out of order.
    pub(crate) forgives_order: bool,
}

impl Style {
    pub(crate) const GOOD: Style = Style {
        reply: (0, 0),
        closes: 1000,
        refuses: 0,
        ignores: 0,
        refuses_subscription: 0,
        ignores_subscription: 0,
        window: 20,
        reads: true,
        acknowledges: true,
        pongs: true,
        sloppy: false,
        twice: 0,
        late: 0,
        pieces: 0,
        hostile: false,
        forgives_order: false,
    };
}

impl Style {
    /// Those of who reads, answers and behaves, but for what was sent before and may still be answered.
    pub(crate) fn behaved(&self) -> Self {
        let Self { window, sloppy, twice, hostile, forgives_order, .. } = *self;
        Self { window, sloppy, twice, hostile, forgives_order, ..Self::GOOD }
    }

    /// Whether an acknowledgement may be one of something that was said twice, or not by us.
    pub(crate) fn wonders(&self) -> bool {
        self.twice == 0 && !self.hostile
    }
}
