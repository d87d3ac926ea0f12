//! How much a group remembers, and when it begins to save room.

#[cfg(feature = "testing")]
use std::cell::Cell;

/// Numbers that a test may make small, so that what happens beyond them happens often.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// So many values stand side by side, done or not, before what is open is left behind: an order of settling that is
    /// only a little mixed up costs nothing. A guess.
    pub(super) near: usize,
    /// Of those left behind: done ones are taken out when they are half of at least so many. A guess.
    pub(super) far: usize,
    /// Over more positions in a row that are done a window jumps, which leaves behind what is open. A guess.
    pub(super) few: u64,
    /// Most positions of a group that may go to anybody and have not gone: no new ones are taken up beyond it. A guess.
    pub(super) ready: usize,
    /// Most positions of a group that wait in all, as behind an event of their key; the same beyond it. One costs about
    /// 30 bytes beside its place. A guess.
    pub(super) waiting: usize,
    /// Places for positions of a group that were taken up: at least three quarters of them, 98,304, can be unsettled
    /// before it takes up no new ones. What is settled between them takes none, however much it is. A place is 32 to 40
    /// bytes: about 5 MiB. A guess.
    pub(super) places: usize,
}

impl Bounds {
    /// Those of every gateway.
    pub const REAL: Self = Self { near: 4096, far: 64, few: 64, ready: 1024, waiting: 65_536, places: 131_072 };

    /// Such that a few dozen events meet most of them.
    #[cfg(feature = "testing")]
    pub const SMALL: Self = Self { near: 4, far: 2, few: 2, ready: 16, waiting: 48, places: 96 };

    /// Sets those of every engine of this thread.
    #[cfg(feature = "testing")]
    pub fn set(self) {
        BOUNDS.set(self);
    }
}

#[cfg(feature = "testing")]
thread_local! {
    static BOUNDS: Cell<Bounds> = const { Cell::new(Bounds::REAL) };
}

/// Those that hold here.
#[cfg(feature = "testing")]
pub(super) fn bounds() -> Bounds {
    BOUNDS.get()
}

/// Those that hold here.
#[cfg(not(feature = "testing"))]
pub(super) const fn bounds() -> Bounds {
    Bounds::REAL
}
