//! What `plan` and `apply` answer.

use portreeve_tests::OrFail as _;
use serde_json::Value;

use crate::site::Site;

impl Site {
    /// Runs `apply`, which must end well; what it did as JSON.
    pub(crate) fn apply(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["apply", "--yes", "--format", "json"], arguments].concat());
        assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
        serde_json::from_str(&output.stdout).or_fail("apply prints JSON")
    }

    /// Runs `plan`; its exit code and JSON.
    pub(crate) fn plan(&self) -> (Option<i32>, Value) {
        let output = self.run(&["plan", "--format", "json"]);
        let plan = serde_json::from_str(&output.stdout);
        (output.code, plan.or_fail(&format!("plan prints JSON: {}", output.stderr)))
    }
}

/// The actions of the first component's plan, by `Kind/name`.
pub(crate) fn actions(plan: &Value) -> Vec<(String, String)> {
    let component = &plan["components"][0]["plan"];
    let of = |list: &str| component[list].as_array().cloned().unwrap_or_default();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = of("objects").into_iter().chain(of("leftovers"));
    all.map(|item| {
        let object = word(&item["object"]);
        let short = object.split_once('/').map_or(object.clone(), |(_, rest)| rest.to_owned());
        (word(&item["action"]), short)
    })
    .collect()
}

/// Pairs of words, for comparing with [`actions`].
pub(crate) fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(action, object)| ((*action).to_owned(), (*object).to_owned())).collect()
}
