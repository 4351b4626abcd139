//! One expression over named trees, for those who ask a single question: a predicate of an attestation, a parameter.

use std::fmt;
use std::sync::Arc;

use cel::common::types::CelBool;
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, Value};
use portreeve_reports::source::Node;

use super::compile::{BUDGET_NAME, Names, Program, compile};
use super::functions::{self, Budget, STEPS};
use super::value::Bound;

/// A compiled expression that gives true or false. It runs under the same caps as those of controls.
pub struct Condition {
    env: Arc<Env>,
    program: Program,
    text: String,
}

impl Condition {
    /// Compiles `text`, which may use these variables; the error says what is wrong in words.
    pub fn compile(text: &str, variables: &[&str]) -> Result<Self, String> {
        let env = functions::environment().map_err(|error| error.to_string())?;
        let program = compile(&env, text, &Names { variables, params: &[] })?;
        Ok(Self { env: Arc::new(env), program, text: text.to_owned() })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it holds for these values of its variables. An error is neither: what it asks for is not there, or is of
    /// another type, or too much. No value of a tree is in its words.
    pub fn holds(&self, variables: &[(&str, &Node)]) -> Result<bool, String> {
        let budget = Budget::new(STEPS);
        let bound = variables.iter().map(|(name, node)| (*name, Bound::of(node))).collect();
        let scope = Scope { program: &self.program, budget: &budget, variables: bound };
        let mut context = Context::with_env(Arc::clone(&self.env));
        context.set_variable_resolver(&scope);
        let result = Value::resolve_val(&self.program.expression, &context);
        if budget.is_spent() {
            return Err("it takes too many steps".to_owned());
        }
        let value = result.map_err(|error| explain(&error))?;
        let truth = value.downcast_ref::<CelBool>().map(|truth| *truth.inner());
        truth.ok_or_else(|| format!("it gives {}, not true or false", value.get_type().name()))
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.text).finish()
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Condition {}

/// Says which kind of mistake it is, without any value: the expression is known, and what it was asked about is not ours
/// to show.
fn explain(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(name) => format!("field '{name}' is not there; ask has() first"),
        ExecutionError::FunctionError { function, .. } => format!("{function}() failed"),
        ExecutionError::IndexOutOfBounds(_) => "a list has fewer items".to_owned(),
        _ => "a value is of another type than it asks for".to_owned(),
    }
}

struct Scope<'s> {
    program: &'s Program,
    budget: &'s Budget,
    variables: Vec<(&'s str, Bound<'s>)>,
}

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        if name == BUDGET_NAME {
            return Some(CowVal::Borrowed(self.budget));
        }
        if let Some((_, value)) = self.variables.iter().find(|(known, _)| *known == name) {
            return Some(CowVal::Borrowed(value.val()));
        }
        self.program.constant(name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(text: &str, predicate: &serde_json::Value) -> Result<bool, String> {
        let predicate = Node::from_json(predicate);
        Condition::compile(text, &["predicate"])?.holds(&[("predicate", &predicate)])
    }

    #[test]
    fn a_condition_is_asked_of_the_trees_it_names() {
        let predicate = json!({"builder": {"id": "https://github.com/x"}, "packages": [{"license": "MIT"}, {"license": "Apache-2.0"}]});
        assert_eq!(holds("predicate.builder.id.startsWith('https://github.com/')", &predicate), Ok(true));
        assert_eq!(holds("predicate.packages.all(p, p.license in ['MIT'])", &predicate), Ok(false));
        assert_eq!(holds("predicate.builder.id.matches('^https://github[.]com/x$')", &predicate), Ok(true));
    }

    #[test]
    fn what_cannot_be_told_is_an_error_and_never_true() {
        let predicate = json!({"id": 7, "secret": "hush"});
        for (text, said) in [
            ("predicate.missing == 'x'", "field 'missing' is not there"),
            ("predicate.id.startsWith('x')", "another type"),
            ("predicate.secret", "it gives string"),
            ("predicat.id == 7", "did you mean 'predicate'"),
            ("object.id == 7", "there is no variable 'object'"),
            ("predicate.id ==", "no CEL expression"),
        ] {
            let error = holds(text, &predicate).unwrap_err();
            assert!(error.contains(said) && !error.contains("hush"), "{text}: {error}");
        }
    }

    #[test]
    fn work_without_end_is_an_error() {
        let many = json!((0..2000).collect::<Vec<_>>());
        let error = holds("predicate.all(a, predicate.all(b, predicate.all(c, a + b + c >= 0)))", &many).unwrap_err();
        assert!(error.contains("too many steps"), "{error}");
    }
}
