//! Whether two trees say the same, wherever their comments stand.

use super::secret::SecretBytes;
use super::tree::{Branch, Comment, Item, Member, Value, pairs, values as items_of};

/// Whether documents hold the same values under the same keys, in the same order.
pub(crate) fn values(one: &[Branch], two: &[Branch]) -> bool {
    one.len() == two.len() && one.iter().zip(two).all(|(one, two)| same_map(one, two))
}

fn same_map(one: &[Member], two: &[Member]) -> bool {
    let same = |((key, value), (other_key, other)): ((&str, &Value), (&str, &Value))| {
        key == other_key && same_value(value, other)
    };
    pairs(one).count() == pairs(two).count() && pairs(one).zip(pairs(two)).all(same)
}

fn same_list(one: &[Item], two: &[Item]) -> bool {
    let count = |items| items_of(items).count();
    count(one) == count(two) && items_of(one).zip(items_of(two)).all(|(one, two)| same_value(one, two))
}

fn same_value(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Map(one), Value::Map(two)) => same_map(one, two),
        (Value::List(one), Value::List(two)) => same_list(one, two),
        // What is no number equals nothing, itself included.
        (Value::Float(one), Value::Float(two)) => one == two || (one.is_nan() && two.is_nan()),
        (one, two) => one == two,
    }
}

/// The texts of all comments, sorted. One without a text is none: in a list it is not written.
pub(crate) fn comments(branches: &[Branch]) -> Vec<&SecretBytes> {
    let mut found = Vec::new();
    branches.iter().for_each(|branch| of_map(branch, &mut found));
    found.retain(|text| !text.expose().trim_ascii().is_empty());
    found.sort_by(|one, two| one.expose().cmp(two.expose()));
    found
}

fn of_map<'tree>(members: &'tree [Member], found: &mut Vec<&'tree SecretBytes>) {
    for member in members {
        match member {
            Member::Comment(Comment { text, .. }) => found.push(text),
            Member::Pair(_, value) => of_value(value, found),
        }
    }
}

fn of_value<'tree>(value: &'tree Value, found: &mut Vec<&'tree SecretBytes>) {
    match value {
        Value::Map(members) => of_map(members, found),
        Value::List(items) => items.iter().for_each(|item| match item {
            Item::Comment(Comment { text, .. }) => found.push(text),
            Item::Value(value) => of_value(value, found),
        }),
        _ => {}
    }
}
