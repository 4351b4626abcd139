//! What is due when. Pure: the time is an argument.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::str::FromStr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Keys that wait to be judged. A key that is pushed while it waits is merged; the first push sets its time, so that
/// a key which changes all the time is judged all the same.
#[derive(Debug)]
pub struct Queue<K> {
    debounce: Duration,
    waiting: VecDeque<(Instant, K)>,
    known: HashSet<K>,
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// An empty queue whose keys become due `debounce` after their first push.
    pub fn new(debounce: Duration) -> Self {
        Self { debounce, waiting: VecDeque::new(), known: HashSet::new() }
    }

    /// Adds a key, unless it waits already.
    pub fn push(&mut self, key: K, now: Instant) {
        if self.known.insert(key.clone()) {
            self.waiting.push_back((now + self.debounce, key));
        }
    }

    /// Takes at most `most` keys that are due, the oldest first. When more are due, a quarter of them are the newest:
    /// what changes now does not wait until all of a flood before it was judged, and the flood goes on.
    pub fn take_due(&mut self, now: Instant, most: usize) -> Vec<K> {
        let due = self.waiting.partition_point(|(at, _)| *at <= now);
        let newest = if due > most { most / 4 } else { 0 };
        let late = self.waiting.drain(due - newest..due).collect::<Vec<_>>();
        let oldest = self.waiting.drain(..due.min(most) - newest);
        let taken: Vec<K> = oldest.chain(late).map(|(_, key)| key).collect();
        for key in &taken {
            self.known.remove(key);
        }
        taken
    }

    /// The keys that wait, the oldest first.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.waiting.iter().map(|(_, key)| key)
    }

    /// When the next key becomes due; `None` when nothing waits.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, _)| *at)
    }

    /// Number of keys that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// A cron schedule of five fields, or six with seconds before them, in UTC, that comes at some time. `@daily` and the like stand for one.
#[derive(Clone, Debug)]
pub struct Cron(croner::Cron);

/// The longest sensible list of minutes is shorter.
const MAX_CRON: usize = 1_000;
/// With seconds or without. A year, which some crons have too, would make seven.
const CRON_FIELDS: std::ops::RangeInclusive<usize> = 5..=6;

/// A text that is not a cron schedule.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCron {
    /// More than anybody needs.
    #[error("a cron schedule has at most {MAX_CRON} bytes, this one {0}")]
    TooLong(usize),
    /// Neither five nor six.
    #[error(
        "'{text}' has {fields} fields; a cron schedule has five: minute, hour, day of the month, month, day of the week; \
         or six, with seconds before them"
    )]
    Fields {
        /// The text.
        text: String,
        /// How many it has.
        fields: usize,
    },
    /// One of the fields is none.
    #[error("'{text}' is not a cron schedule: {reason}")]
    Pattern {
        /// The text.
        text: String,
        /// What the reader says.
        reason: croner::errors::CronError,
    },
    /// 30 February.
    #[error("'{0}' is a time that never comes: no year has such a day; correct day and month")]
    Never(String),
}

impl FromStr for Cron {
    type Err = InvalidCron;

    fn from_str(text: &str) -> Result<Self, InvalidCron> {
        if text.len() > MAX_CRON {
            return Err(InvalidCron::TooLong(text.len()));
        }
        let fields = text.split_whitespace().count();
        let text = text.to_owned();
        if !CRON_FIELDS.contains(&fields) && !text.starts_with('@') {
            return Err(InvalidCron::Fields { text, fields });
        }
        let parser = croner::parser::CronParser::builder()
            .seconds(croner::parser::Seconds::Optional)
            .year(croner::parser::Year::Disallowed)
            .build();
        match parser.parse(&text).map(Self) {
            Ok(cron) if cron.next_after(Timestamp::UNIX_EPOCH).is_none() => Err(InvalidCron::Never(text)),
            Ok(cron) => Ok(cron),
            Err(reason) => Err(InvalidCron::Pattern { text, reason }),
        }
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl Cron {
    /// The first time after `time`; `None` after the last that can be told.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let next = self.0.find_next_occurrence(&time.to_zoned(TimeZone::UTC), false).ok()?;
        Some(next.timestamp())
    }
}

/// Cron entries and the next time of each.
#[derive(Debug)]
pub struct Timetable<J> {
    entries: Vec<(Cron, J, Option<Timestamp>)>,
}

impl<J: Clone> Timetable<J> {
    /// A timetable that starts at `now`.
    pub fn new(entries: impl IntoIterator<Item = (Cron, J)>, now: Timestamp) -> Self {
        let entries = entries.into_iter().map(|(cron, job)| {
            let next = cron.next_after(now);
            (cron, job, next)
        });
        Self { entries: entries.collect() }
    }

    /// The jobs that are due. Times that were missed (a suspended machine, a clock set forward) are one.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<J> {
        let mut due = Vec::new();
        for (cron, job, next) in &mut self.entries {
            if next.is_some_and(|next| next <= now) {
                due.push(job.clone());
                *next = cron.next_after(now);
            }
        }
        due
    }

    /// When something is due next; `None` for never.
    pub fn next(&self) -> Option<Timestamp> {
        self.entries.iter().filter_map(|(_, _, next)| *next).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn repeats_are_merged_and_do_not_delay() {
        let start = Instant::now();
        let mut queue = Queue::new(10 * MS);
        queue.push("a", start);
        queue.push("b", start + MS);
        queue.push("a", start + 9 * MS);
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.take_due(start + 9 * MS, 64), Vec::<&str>::new());
        assert_eq!(queue.take_due(start + 10 * MS, 64), ["a"]);
        assert_eq!(queue.next_due(), Some(start + 11 * MS));
        queue.push("a", start + 10 * MS);
        assert_eq!(queue.take_due(start + 20 * MS, 64), ["b", "a"]);
        assert!(queue.is_empty() && queue.next_due().is_none());
    }

    #[test]
    fn what_comes_during_a_flood_is_taken_before_its_end_and_the_flood_goes_on() {
        let start = Instant::now();
        let mut queue = Queue::new(MS);
        (0..100).for_each(|key| queue.push(key, start));
        queue.push(1_000, start + MS);
        queue.push(1_001, start + 2 * MS);
        assert_eq!(queue.take_due(start + 2 * MS, 8), [0, 1, 2, 3, 4, 5, 99, 1_000]);
        queue.push(0, start + 2 * MS);
        assert_eq!(queue.take_due(start + 3 * MS, 4), [6, 7, 8, 0]);
        let rest: Vec<i32> = std::iter::from_fn(|| queue.take_due(start + 3 * MS, 8).into_iter().next()).collect();
        assert!(rest.is_sorted() && queue.is_empty(), "{rest:?}");
    }

    #[test]
    fn no_more_is_taken_than_asked_for() {
        let start = Instant::now();
        let mut queue = Queue::new(Duration::ZERO);
        (0..10).for_each(|key| queue.push(key, start));
        assert_eq!(queue.take_due(start, 3), [0, 1, 2]);
        assert_eq!(queue.take_due(start, 100), [3, 4, 5, 6, 7, 8, 9]);
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn cron_times_are_after_and_in_utc() {
        let nightly: Cron = "30 2 * * *".parse().unwrap();
        assert_eq!(nightly.next_after(at("2026-03-01T02:29:59Z")), Some(at("2026-03-01T02:30:00Z")));
        assert_eq!(nightly.next_after(at("2026-03-01T02:30:00Z")), Some(at("2026-03-02T02:30:00Z")));
    }

    #[test]
    fn missed_times_are_one() {
        let hourly: Cron = "0 * * * *".parse().unwrap();
        let nightly: Cron = "30 2 * * *".parse().unwrap();
        let mut table = Timetable::new([(hourly, "images"), (nightly, "posture")], at("2026-03-01T00:10:00Z"));
        assert_eq!(table.next(), Some(at("2026-03-01T01:00:00Z")));
        assert!(table.take_due(at("2026-03-01T00:59:59Z")).is_empty());
        assert_eq!(table.take_due(at("2026-03-01T05:00:00Z")), ["images", "posture"]);
        assert_eq!(table.next(), Some(at("2026-03-01T06:00:00Z")));
    }
}
