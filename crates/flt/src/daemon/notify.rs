//! What systemd is told, if it asked: ready, stopping, at what, and still alive.

use sd_notify::NotifyState;

use super::metrics::Registry;

/// The line to systemd. Without systemd it says nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Notify;

impl Notify {
    pub(super) fn ready(self, status: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    pub(super) fn status(self, status: &str) {
        self.send(&[NotifyState::Status(status)]);
    }

    pub(super) fn stopping(self) {
        self.send(&[NotifyState::Stopping]);
    }

    /// Gives the watchdog its signs of life, as long as the role is healthy.
    pub(super) fn watch(self, health: Registry) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            let Some(within) = sd_notify::watchdog_enabled() else { return };
            // Half the time, as systemd recommends: one may be late.
            let mut ticks = tokio::time::interval(within / 2);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match health.unhealthy() {
                    None => self.send(&[NotifyState::Watchdog]),
                    Some(why) => tracing::error!(why, "unhealthy: the watchdog gets no sign of life"),
                }
            }
        })
    }

    fn send(self, states: &[NotifyState<'_>]) {
        // systemd without its socket is systemd that is going down; there is nobody to tell.
        if let Err(error) = sd_notify::notify(states) {
            tracing::debug!(%error, "systemd could not be told");
        }
    }
}
