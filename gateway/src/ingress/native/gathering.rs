//! Deliveries that come one by one, while others work, are written together: a connection that is woken for one lets those go first that
//! are ready to run, as long as more comes meanwhile. Nothing waits for time.

/// Bytes of deliveries that are worth a write of their own.
const ENOUGH: u64 = 16 * 1024;

/// Wakes for which it is not tried again after nothing more came.
const PAUSE: u8 = 15;

/// Whether a connection waits a turn.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// It does, with so many bytes.
    had: Option<u64>,
    /// So many wakes more it does not.
    pause: u8,
}

impl Gathering {
    /// Whether a connection with so many bytes of deliveries is to let others go first. Not twice in a row.
    pub(super) const fn waits(&mut self, bytes: u64) -> bool {
        if let Some(had) = self.had.take() {
            self.pause = if bytes > had { 0 } else { PAUSE };
            return false;
        }
        if bytes == 0 || bytes >= ENOUGH {
            return false;
        }
        if self.pause > 0 {
            self.pause -= 1;
            return false;
        }
        self.had = Some(bytes);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_waits_a_turn_while_that_brings_more_and_else_tries_again_now_and_then() {
        let mut gathering = Gathering::default();
        assert!(!gathering.waits(0), "there is nothing to gather");
        for _ in 0..3 {
            assert!(gathering.waits(100) && !gathering.waits(300), "it brought more");
        }
        assert!(!gathering.waits(ENOUGH), "there is enough");
        assert!(gathering.waits(100) && !gathering.waits(100), "it brought nothing");
        let tried = (0..34).filter(|_| gathering.waits(100)).count();
        assert_eq!(tried, 2, "of 34 wakes");
    }
}
