//! Facts of devices that this node manages: looked at from time to time, written when they changed.

use std::collections::BTreeSet;
use std::time::Duration;

use protocols::Name;
use protocols::facts::device::{DEVICES_TOLD_MAX, DeviceFacts, DeviceLooks, Look, WHY_BYTES_MAX, records_each};
use protocols::outcome::shorten;
use protocols::record::{DEVICE_PREFIX, DEVICES};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;

/// How long looking at one device may take.
const LOOK_DEADLINE: Duration = Duration::from_secs(180);

impl Agent {
    /// Looks at every device, again and again.
    pub(crate) async fn devices_loop(&self, stop: CancellationToken) {
        let mut told = self.facts.devices();
        let left_out = u32::try_from(told.len().saturating_sub(DEVICES_TOLD_MAX)).unwrap_or(u32::MAX);
        if left_out > 0 {
            let first = told.get(DEVICES_TOLD_MAX).map_or("", Name::as_str);
            tracing::warn!(
                left_out,
                first,
                "a node tells the facts of {DEVICES_TOLD_MAX} devices: the others are left out"
            );
            told.truncate(DEVICES_TOLD_MAX);
        }
        self.forget_devices(&told);
        if told.is_empty() {
            return;
        }
        let mut looks: DeviceLooks = self.book_value(DEVICES).unwrap_or_default();
        looks.devices.retain(|name, _| told.contains(name));
        looks.left_out = left_out;
        let mut every = tokio::time::interval(self.options.device_facts);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = every.tick() => {}
            }
            for name in &told {
                let looked = timeout(LOOK_DEADLINE, self.facts.device(name));
                let found = tokio::select! {
                    () = stop.cancelled() => return,
                    found = looked => found,
                };
                let late = || Err(format!("it did not tell all within {} seconds", LOOK_DEADLINE.as_secs()));
                let look = looks.devices.entry(name.clone()).or_default();
                let now = (self.options.clock)();
                match found.unwrap_or_else(|_| late()) {
                    Ok(facts) => {
                        self.tell_device(name, &facts, records_each(told.len()));
                        *look = Look { seen: Some(now), failed: None, why: None };
                    }
                    Err(why) => {
                        tracing::warn!(device = %name, why, "cannot look at a device");
                        *look = Look { failed: Some(now), why: Some(shorten(&why, WHY_BYTES_MAX)), ..look.clone() };
                    }
                }
                // After each, so that it is known of one how it is before another one is waited for.
                self.write_record(DEVICES, &looks);
            }
        }
    }

    /// Writes those pages that changed, and takes those back that are no more.
    fn tell_device(&self, name: &Name, facts: &DeviceFacts, most: usize) {
        let pages = facts.pages(name, most);
        let keys: BTreeSet<&str> = pages.iter().map(|page| page.key.as_str()).collect();
        let own = format!("{DEVICE_PREFIX}{name}");
        self.take_back_records(|key| {
            key.strip_prefix(&own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) && !keys.contains(key)
        });
        // The first page says how many there are: it comes last.
        for page in pages.iter().rev() {
            self.write_record(&page.key, page);
        }
    }

    /// Takes back what was told of devices that this node manages no more.
    fn forget_devices(&self, managed: &[Name]) {
        self.take_back_records(|key| {
            let device = key.strip_prefix(DEVICE_PREFIX).map(|rest| rest.split('/').next().unwrap_or_default());
            let gone = device.is_some_and(|device| !managed.iter().any(|name| name.as_str() == device));
            gone || (key == DEVICES && managed.is_empty())
        });
    }
}
