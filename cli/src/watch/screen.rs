//! A terminal that is drawn on, and left as it was found.

use std::io::{self, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::frame::Frame;

/// A second screen, so that what was there comes back; no cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// What a terminal is taken for that does not say how large it is.
const SIZE: (usize, usize) = (80, 24);

/// The screen; dropped, it is as before.
pub(super) struct Screen {
    /// How keys were read; `None`: standard input is no terminal.
    modes: Option<Termios>,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        let input = io::stdin();
        let modes = if input.is_terminal() { Some(tcgetattr(&input)?) } else { None };
        let screen = Self { modes };
        if let Some(modes) = &screen.modes {
            let mut keys = modes.clone();
            // Each key at once and unseen. Ctrl-C stays a signal; Ctrl-Z would leave the
            // second screen standing.
            keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            keys.special_codes[SpecialCodeIndex::VSUSP] = 0;
            keys.special_codes[SpecialCodeIndex::VMIN] = 1;
            keys.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(&input, OptionalActions::Now, &keys)?;
        }
        say(ENTER)?;
        Ok(screen)
    }

    /// Draws; how many rows are above what is shown.
    pub(super) fn draw(&self, frame: &Frame<'_>) -> io::Result<usize> {
        let (columns, height) = size();
        let (lines, top) = frame.lines(columns, height);
        let mut text = "\x1b[H".to_owned();
        for (n, line) in lines.iter().enumerate() {
            if n > 0 {
                text += "\r\n";
            }
            text += line;
            text += "\x1b[K";
        }
        text += "\x1b[J";
        say(&text)?;
        Ok(top)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = say(LEAVE);
        if let Some(modes) = &self.modes {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, modes);
        }
    }
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn size() -> (usize, usize) {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => SIZE,
    }
}
