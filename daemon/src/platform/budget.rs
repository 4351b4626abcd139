//! How often the same object is corrected before it is left alone: two writers that undo each other's work help nobody.
//! Pure: the time is an argument.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::cluster::key::ObjectKey;

/// Corrections of one object within [`WINDOW`]; the next one stalls it.
pub const MOST: usize = 3;
/// After this time a correction is forgotten.
pub const WINDOW: Duration = Duration::from_secs(600);
/// The longest pause after failures.
const LONGEST: Duration = Duration::from_secs(600);

/// Corrections that were made.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    corrections: BTreeMap<ObjectKey, VecDeque<Instant>>,
}

impl Budget {
    /// An object was corrected.
    pub fn corrected(&mut self, key: &ObjectKey, now: Instant) {
        let made = self.corrections.entry(key.clone()).or_default();
        made.push_back(now);
        if made.len() > MOST {
            made.pop_front();
        }
    }

    /// An object was applied for another reason: its manifest changed, and what was before does not count.
    pub fn forget(&mut self, key: &ObjectKey) {
        self.corrections.remove(key);
    }

    /// Objects that are not corrected any more.
    pub fn stalled(&mut self, now: Instant) -> BTreeSet<ObjectKey> {
        self.corrections.retain(|_, made| {
            made.retain(|at| now.saturating_duration_since(*at) < WINDOW);
            !made.is_empty()
        });
        self.corrections.iter().filter(|(_, made)| made.len() >= MOST).map(|(key, _)| key.clone()).collect()
    }
}

/// The pause after so many failures in a row: twice as long each time. `dice` (0 to 255) spreads it by a tenth, so that
/// many that failed together do not come back together.
pub fn pause(interval: Duration, failures: u32, dice: u8) -> Duration {
    let longest = LONGEST.max(interval);
    let doubled = interval.saturating_mul(1 << failures.min(16)).min(longest);
    doubled + doubled / 10 * u32::from(dice) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey { group: "".into(), kind: "ConfigMap".into(), namespace: "dev".into(), name: name.into() }
    }

    #[test]
    fn corrections_stop_after_some_and_begin_again_when_they_are_old_or_the_manifest_changed() {
        let start = Instant::now();
        let mut budget = Budget::default();
        for second in 0..3 {
            assert!(budget.stalled(start).is_empty());
            budget.corrected(&key("a"), start + Duration::from_secs(second));
        }
        budget.corrected(&key("b"), start);
        assert_eq!(budget.stalled(start + Duration::from_secs(3)), [key("a")].into());
        assert!(budget.stalled(start + WINDOW).is_empty());
        for _ in 0..MOST {
            budget.corrected(&key("a"), start + WINDOW);
        }
        assert_eq!(budget.stalled(start + WINDOW).len(), 1);
        budget.forget(&key("a"));
        assert!(budget.stalled(start + WINDOW).is_empty());
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_are_spread() {
        let second = Duration::from_secs(1);
        assert_eq!(pause(second, 0, 0), second);
        assert_eq!(pause(second, 3, 0), 8 * second);
        assert_eq!(pause(second, 40, 0), LONGEST);
        assert!(pause(second, 3, 255) > pause(second, 3, 0));
        assert!(pause(LONGEST * 2, 9, 0) >= LONGEST * 2, "never sooner than the interval");
    }
}
