//! Label selectors.

use portreeve_reports::source::Node;

/// Whether a label selector (`matchLabels`, `matchExpressions`) matches; an empty one matches everything, one that
/// cannot be understood nothing. Labels that are missing are empty.
pub fn selector_matches(selector: &Node, labels: Option<&Node>) -> bool {
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Node::as_str);
    let Some(map) = selector.as_map() else { return false };
    let match_labels = match map.get("matchLabels").filter(|node| !node.is_null()) {
        None => true,
        Some(wanted) => wanted.as_map().is_some_and(|wanted| {
            wanted.iter().all(|entry| entry.node.as_str().is_some_and(|value| label(&entry.key) == Some(value)))
        }),
    };
    let match_expressions = match map.get("matchExpressions").filter(|node| !node.is_null()) {
        None => true,
        Some(expressions) => expressions
            .as_list()
            .is_some_and(|list| list.iter().all(|expression| expression_matches(expression, label) == Some(true))),
    };
    match_labels && match_expressions
}

/// `None` for an expression that the API server would refuse.
fn expression_matches<'a>(expression: &Node, label: impl Fn(&str) -> Option<&'a str>) -> Option<bool> {
    let found = label(expression.get("key")?.as_str()?);
    let values = expression.get("values").and_then(Node::as_list).unwrap_or_default();
    let is_listed = found.map(|found| values.iter().any(|value| value.as_str() == Some(found)));
    match expression.get("operator")?.as_str()? {
        "In" if !values.is_empty() => Some(is_listed == Some(true)),
        "NotIn" if !values.is_empty() => Some(is_listed != Some(true)),
        "Exists" => Some(found.is_some()),
        "DoesNotExist" => Some(found.is_none()),
        _ => None,
    }
}
