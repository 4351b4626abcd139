//! Whose an object is that is there. Pure.

use portreeve_api::platform::Component;
use serde_json::Value;

use crate::cluster::key::ObjectKey;
use crate::platform::claims::{Claims, Holder};
use crate::platform::fields;
use crate::platform::inventory::Entry;
use crate::platform::prune::Whose;

/// Whose an object is that a component declares and that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The component's own.
    Ours,
    /// The named component's, which does not declare it any more.
    From(String),
    /// Nobody's of ours, to be taken over.
    Adopted,
    /// Not ours, and left alone; the named component keeps it.
    Foreign(Option<String>),
}

impl Standing {
    /// By the component's entry for it, by what is there, and by what other components claim. What another one keeps is
    /// not taken whatever this one knows or asks for: they would take it from each other for ever.
    pub(super) fn of(
        (whose, component): (Whose<'_>, &Component),
        key: &ObjectKey,
        entry: Option<&Entry>,
        live: &Value,
        claims: &Claims,
    ) -> Self {
        match claims.holder(whose, key, live) {
            Some(Holder::Gives(other)) => return Self::From(other.to_owned()),
            Some(Holder::Keeps(other)) => return Self::Foreign(Some(other.to_owned())),
            None => {}
        }
        let is_ours = entry.is_some_and(|entry| whose.is_entrys(entry, live))
            || (whose.has_labels(live) && fields::is_managed(live));
        match (is_ours, component.adopt) {
            (true, _) => Self::Ours,
            (false, true) => Self::Adopted,
            (false, false) => Self::Foreign(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::apply::Address;
    use crate::platform::claims::tests::declaring;
    use crate::platform::inventory::{COMPONENT_LABEL, PLATFORM_LABEL};
    use crate::platform::keep::removed_component;

    fn standing(entry: Option<&Entry>, live: &Value, adopt: bool, claims: &Claims) -> Standing {
        let whose = Whose { platform: "demo", component: "hub" };
        let component = Component { adopt, ..removed_component("hub", None) };
        Standing::of((whose, &component), &key(), entry, live, claims)
    }

    fn key() -> ObjectKey {
        ObjectKey { group: "example.org".into(), kind: "Thing".into(), namespace: "jhub".into(), name: "x".into() }
    }

    fn live(component: &str, manager: &str) -> Value {
        json!({"metadata": {"uid": "u1", "labels": {PLATFORM_LABEL: "demo", COMPONENT_LABEL: component},
            "managedFields": [{"manager": manager, "operation": "Apply"}]}})
    }

    #[test]
    fn what_another_component_declares_is_foreign_to_whoever_lists_it_or_would_adopt_it() {
        let address = Address { api_version: "example.org/v1".into(), key: key() };
        let entry = Entry { address, uid: Some("u1".to_owned()), digest: None };
        let theirs = live("base", "portreeve");
        let claims = declaring(&key(), "base");
        for (entry, adopt) in [(None, false), (None, true), (Some(&entry), false), (Some(&entry), true)] {
            let found = standing(entry, &theirs, adopt, &claims);
            assert_eq!(found, Standing::Foreign(Some("base".to_owned())), "{entry:?}, adopt: {adopt}");
        }
        // A label that somebody else has changed takes nothing from us.
        assert_eq!(standing(Some(&entry), &theirs, false, &Claims::default()), Standing::Ours);
    }

    #[test]
    fn what_has_our_manager_and_our_labels_is_ours_and_else_it_is_taken_over_only_when_told_so() {
        let nobody = &Claims::default();
        assert_eq!(standing(None, &live("hub", "portreeve"), false, nobody), Standing::Ours);
        assert_eq!(standing(None, &live("hub", "operator"), false, nobody), Standing::Foreign(None));
        assert_eq!(standing(None, &live("hub", "operator"), true, nobody), Standing::Adopted);
    }
}
