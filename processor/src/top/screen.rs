//! The terminal: drawn on in place, its keys read, and given back as it was, also after a panic.

use super::draw::{Line, Style};
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen,
};
use crossterm::{execute, queue};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long the thread that waits for keys outlives the screen, at most.
const LOOK: Duration = Duration::from_millis(50);
/// Keys that wait: more than anybody presses in a second.
const WAITING: usize = 16;
/// Where the size can't be told.
const SIZE: (u16, u16) = (80, 24);

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    /// The window has another size.
    Redraw,
}

/// A terminal that is ours until it is dropped.
pub(super) struct Screen {
    wishes: mpsc::Receiver<Wish>,
    ended: Arc<AtomicBool>,
    keys: Option<JoinHandle<()>>,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        // A process that is aborted drops nothing.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            hook(panic);
        }));
        terminal::enable_raw_mode()?;
        let (send, wishes) = mpsc::channel(WAITING);
        let ended = Arc::new(AtomicBool::new(false));
        let mut screen = Self { wishes, ended: Arc::clone(&ended), keys: None };
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        let keys = std::thread::Builder::new().name("keys".to_owned());
        screen.keys = Some(keys.spawn(move || read_keys(&send, &ended))?);
        Ok(screen)
    }

    /// What the user wants next.
    pub(super) async fn wish(&mut self) -> Wish {
        // No sender: the terminal is gone.
        self.wishes.recv().await.unwrap_or(Wish::Quit)
    }

    /// Columns and lines.
    pub(super) fn size() -> (usize, usize) {
        // A terminal that was never told its size says 0.
        let told = terminal::size().ok().filter(|(columns, lines)| *columns > 0 && *lines > 0);
        let (columns, lines) = told.unwrap_or(SIZE);
        (columns.into(), lines.into())
    }

    pub(super) fn draw(lines: &[Line], is_coloured: bool) -> io::Result<()> {
        let mut out = io::BufWriter::new(io::stdout());
        put(&mut out, lines, is_coloured, Self::size().1)?;
        out.flush()
    }
}

/// Writes the lines over what stands on a terminal of so many.
pub(super) fn put(out: &mut impl Write, lines: &[Line], is_coloured: bool, height: usize) -> io::Result<()> {
    queue!(out, BeginSynchronizedUpdate)?;
    for (row, (style, line)) in (0..).zip(lines) {
        // Cleared before: behind a full line the cursor still stands on its last character, which would go.
        queue!(out, MoveTo(0, row), Clear(ClearType::UntilNewLine))?;
        styled(out, *style, line, is_coloured)?;
    }
    let end = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    if usize::from(end) < height {
        queue!(out, MoveTo(0, end), Clear(ClearType::FromCursorDown))?;
    }
    queue!(out, EndSynchronizedUpdate)
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(keys) = self.keys.take() {
            // It has panicked, or it has not: it is gone.
            let _ = keys.join();
        }
        give_back();
    }
}

/// A terminal that is gone needs nothing.
fn give_back() {
    let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
    let _ = terminal::disable_raw_mode();
}

fn read_keys(send: &mpsc::Sender<Wish>, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        let wish = match event::poll(LOOK).and_then(|there| there.then(event::read).transpose()) {
            Ok(event) => event.as_ref().and_then(wish_of),
            Err(_) => return,
        };
        // Where so many wait, one more says nothing new.
        if wish.is_some_and(|wish| matches!(send.try_send(wish), Err(mpsc::error::TrySendError::Closed(_)))) {
            return;
        }
    }
}

fn wish_of(event: &Event) -> Option<Wish> {
    match event {
        Event::Resize(..) => Some(Wish::Redraw),
        Event::Key(key) if key.kind != KeyEventKind::Release => match key.code {
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => Some(Wish::Quit),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Wish::Quit),
            _ => None,
        },
        _ => None,
    }
}

/// Writes a line, in colour where that is wanted.
fn styled(out: &mut impl Write, style: Style, line: &str, is_coloured: bool) -> io::Result<()> {
    match style {
        _ if !is_coloured => {}
        Style::Plain => {}
        Style::Heading => queue!(out, SetAttribute(Attribute::Bold))?,
        Style::Dim => queue!(out, SetAttribute(Attribute::Dim))?,
        Style::Trouble => queue!(out, SetForegroundColor(Color::Yellow))?,
    }
    queue!(out, Print(line))?;
    if is_coloured && style != Style::Plain {
        queue!(out, SetAttribute(Attribute::Reset), ResetColor)?;
    }
    Ok(())
}
