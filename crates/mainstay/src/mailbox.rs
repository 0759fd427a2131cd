//! Letters from other threads to one that sleeps in `poll`.
//!
//! Owns [`Mailbox`] and [`Inbox`]. A reader with real-time scheduling never waits for a writer without: where a writer was
//! interrupted in the middle of a letter, the reader goes on and comes back when the bell rings. The channels of the
//! standard library would turn in a loop until that writer ran again, which on the same core it could not.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Letters taken before the reader does something else.
const LETTERS_PER_WAKE: usize = 256;

/// Where other threads leave letters.
#[derive(Debug)]
pub struct Mailbox<T> {
    shared: Arc<Shared<T>>,
}

/// Where one thread finds them.
#[derive(Debug)]
pub struct Inbox<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    /// `None` once nobody reads any more.
    letters: Mutex<Option<VecDeque<T>>>,
    bell: EventFd,
}

/// A mailbox and its inbox.
///
/// # Errors
/// The kernel has no event descriptor left.
pub fn mailbox<T>() -> io::Result<(Mailbox<T>, Inbox<T>)> {
    let bell = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
    let shared = Arc::new(Shared { letters: Mutex::new(Some(VecDeque::new())), bell });
    Ok((Mailbox { shared: Arc::clone(&shared) }, Inbox { shared }))
}

impl<T> Mailbox<T> {
    /// Leaves a letter and wakes the reader. Once nobody reads any more it is dropped.
    pub fn post(&self, letter: T) {
        match self.shared.letters.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(letters) => letters.push_back(letter),
            None => return,
        }
        // Only now that the lock is free again, see `take`. Fails only when the counter is full, and then it rings.
        let _ = self.shared.bell.write(1);
    }
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Inbox<T> {
    /// Takes some letters; if more wait, the bell goes on ringing.
    pub fn take(&self) -> Vec<T> {
        // Fails when the bell did not ring.
        let _ = self.shared.bell.read();
        let mut letters = match self.shared.letters.try_lock() {
            Ok(letters) => letters,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Whoever holds the lock rings when it is done.
            Err(TryLockError::WouldBlock) => return Vec::new(),
        };
        let Some(letters) = letters.as_mut() else { return Vec::new() };
        let taken = letters.drain(..letters.len().min(LETTERS_PER_WAKE)).collect();
        if !letters.is_empty() {
            let _ = self.shared.bell.write(1);
        }
        taken
    }
}

impl<T> AsFd for Inbox<T> {
    /// Readable while the bell rings.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.bell.as_fd()
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        // Whoever waits for an answer to a letter learns that there will be none.
        let letters = self.shared.letters.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(letters);
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn rings<T>(inbox: &Inbox<T>) -> bool {
        poll(&mut [PollFd::new(inbox.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn the_bell_rings_until_every_letter_is_taken() {
        let (mailbox, inbox) = mailbox().unwrap();
        assert!(inbox.take().is_empty() && !rings(&inbox));
        for number in 0..=LETTERS_PER_WAKE {
            mailbox.post(number);
        }
        assert_eq!(inbox.take().len(), LETTERS_PER_WAKE);
        assert!(rings(&inbox), "one letter is left");
        assert_eq!(inbox.take(), [LETTERS_PER_WAKE]);
        assert!(!rings(&inbox));
    }

    #[test]
    fn a_reader_does_not_wait_for_a_writer_and_is_called_back() {
        let (mailbox, inbox) = mailbox().unwrap();
        mailbox.post(1);
        let writing = mailbox.shared.letters.lock().unwrap();
        assert!(inbox.take().is_empty(), "it would have to wait");
        drop(writing);
        mailbox.post(2);
        assert!(rings(&inbox));
        assert_eq!(inbox.take(), [1, 2]);
    }

    #[test]
    fn letters_that_nobody_will_read_are_dropped() {
        let (mailbox, inbox) = mailbox().unwrap();
        let letter = Arc::new(());
        mailbox.post(Arc::clone(&letter));
        drop(inbox);
        mailbox.post(Arc::clone(&letter));
        assert_eq!(Arc::strong_count(&letter), 1);
    }
}
