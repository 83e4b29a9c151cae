//! Interrupts on their way to whoever drives a machine now: first one that makes a template,
//! then one that is restored, then one that is started cold. None may be lost in between.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::events::Message;
use super::request::Interrupt;

/// Passes interrupts on.
#[derive(Clone, Debug)]
pub(super) struct Relay(Arc<Mutex<Desk>>);

#[derive(Debug, Default)]
struct Desk {
    listener: Option<Sender<Message>>,
    kept: VecDeque<Interrupt>,
}

impl Relay {
    /// Takes interrupts from now on, and keeps them until somebody listens.
    pub(super) fn new(interrupts: Receiver<Interrupt>) -> Self {
        let relay = Self(Arc::default());
        let desk = relay.clone();
        thread::spawn(move || {
            for interrupt in interrupts {
                desk.lock().take(interrupt);
            }
        });
        relay
    }

    /// Whoever listens to `tell` gets what was kept, and all that comes.
    pub(super) fn pass_to(&self, tell: Sender<Message>) {
        let mut desk = self.lock();
        desk.listener = Some(tell);
        for interrupt in std::mem::take(&mut desk.kept) {
            desk.take(interrupt);
        }
    }

    /// Nobody listens any more; what they heard last without acting on it is kept for the next.
    pub(super) fn take_back(&self, messages: &Receiver<Message>) {
        let mut desk = self.lock();
        desk.listener = None;
        for message in messages.try_iter() {
            if let Message::Interrupted(interrupt) = message {
                desk.kept.push_back(interrupt);
            }
        }
    }

    /// Keeps an interrupt for the next listener.
    pub(super) fn keep(&self, interrupt: Interrupt) {
        self.lock().kept.push_front(interrupt);
    }

    /// The first signal that was kept.
    pub(super) fn kept_signal(&self) -> Option<i32> {
        self.lock().kept.iter().find_map(Interrupt::stop_signal)
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    fn take(&mut self, interrupt: Interrupt) {
        let told = match &self.listener {
            Some(tell) => tell.send(Message::Interrupted(interrupt)).is_ok(),
            None => false,
        };
        if !told {
            self.kept.push_back(interrupt);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn nothing_is_lost_between_two_listeners() {
        let (send, interrupts) = channel();
        let relay = Relay::new(interrupts);
        send.send(Interrupt::Stop(15)).unwrap();
        let began = Instant::now();
        while relay.kept_signal().is_none() {
            assert!(began.elapsed() < Duration::from_secs(10));
            thread::yield_now();
        }
        assert_eq!(relay.kept_signal(), Some(15));
        let (tell, first) = channel();
        relay.pass_to(tell);
        send.send(Interrupt::Kill).unwrap();
        assert!(matches!(first.recv(), Ok(Message::Interrupted(Interrupt::Stop(15)))));
        // Heard by the first, who has ended before it acted.
        let heard = first.recv().unwrap();
        assert!(matches!(heard, Message::Interrupted(Interrupt::Kill)));
        relay.keep(Interrupt::Kill);
        relay.take_back(&first);
        let (tell, second) = channel();
        relay.pass_to(tell);
        assert!(matches!(second.recv(), Ok(Message::Interrupted(Interrupt::Kill))));
    }
}
