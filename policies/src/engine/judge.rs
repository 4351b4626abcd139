//! Asking: one check about one object.

use std::sync::Arc;

use cel::common::types::CelBool;
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, Value};
use portreeve_reports::{Cause, Finding};

use super::CompiledCheck;
use super::compile::{BUDGET_NAME, Program};
use super::frame::{Frame, Item};
use super::functions::{Budget, OBJECT_FUNCTIONS, STEPS};
use super::related::RelatedVal;
use super::report;
use super::value::Bound;
use crate::control::{Check, Control};

/// A check with what is needed to ask it.
pub(crate) struct Asked<'e> {
    pub(crate) env: &'e Arc<Env>,
    pub(crate) control: &'e Control,
    pub(crate) check: &'e Check,
    pub(crate) programs: &'e CompiledCheck,
    pub(crate) params: &'e Bound<'static>,
}

/// The answer to one question about one item, or about an object as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    NotApplicable,
    Pass,
    Fail,
    Unknown(Cause, String),
    Error(String),
}

/// Asks a check about an object: each failing item is a finding; without one there is one finding for the object.
pub(crate) fn judge(frame: &Frame<'_>, asked: &Asked<'_>, findings: &mut Vec<Finding>) {
    let failed = findings.len();
    let whole = match before_items(frame, asked) {
        Some(answer) => answer,
        None => ask_items(frame, asked, findings),
    };
    let undecided = matches!(whole, Answer::Unknown(..) | Answer::Error(_));
    if undecided || findings.len() == failed {
        findings.extend(report::whole(frame, asked, &whole));
    }
}

/// Answers that need no item: the kind is not asked, nobody can answer, or the object is not what it claims to be.
fn before_items(frame: &Frame<'_>, asked: &Asked<'_>) -> Option<Answer> {
    if !frame.is_target(asked.check) {
        return Some(Answer::NotApplicable);
    }
    let missing = asked.check.requires.iter().find(|name| asked.params.get(name).is_none_or(Bound::is_empty));
    if let Some(name) = missing {
        return Some(Answer::Unknown(Cause::Manual, format!("parameter {name} is not set")));
    }
    let path = frame.pod.as_ref()?.mistyped.as_ref()?;
    Some(mistyped(path))
}

fn mistyped(path: &str) -> Answer {
    Answer::Unknown(Cause::Unreadable, format!("{path} has another type than the API gives it"))
}

fn ask_items(frame: &Frame<'_>, asked: &Asked<'_>, findings: &mut Vec<Finding>) -> Answer {
    let budget = Budget::new(STEPS);
    let mut whole = Answer::NotApplicable;
    frame.relations.forget();
    let listed = frame.items(asked.check, &mut |item| {
        let entry = entry_of(item);
        let value = entry.as_ref().unwrap_or(item.value);
        match ask_item(frame, asked, (item, value), &budget) {
            Answer::Fail => findings.extend(report::failure(frame, asked, item)),
            answer => keep_worse(&mut whole, answer),
        }
    });
    if let Err(path) = listed {
        keep_worse(&mut whole, mistyped(&path));
    }
    whole
}

/// The entry of a map as `{name, value}`.
fn entry_of<'f>(item: Item<'f, '_>) -> Option<Bound<'f>> {
    match item.step {
        super::frame::Step::Key(key) => {
            Some(Bound::map(vec![("name".into(), Bound::text(key)), ("value".into(), item.value.clone())]))
        }
        _ => None,
    }
}

fn keep_worse(kept: &mut Answer, answer: Answer) {
    let rank = |answer: &Answer| match answer {
        Answer::NotApplicable => 0,
        Answer::Pass => 1,
        Answer::Fail => 2,
        Answer::Unknown(..) => 3,
        Answer::Error(_) => 4,
    };
    if rank(&answer) > rank(kept) {
        *kept = answer;
    }
}

fn ask_item<'s, 'a>(
    frame: &'s Frame<'a>,
    asked: &'s Asked<'_>,
    (item, value): (Item<'s, 'a>, &'s Bound<'s>),
    budget: &'s Budget,
) -> Answer {
    if budget.take(1).is_err() {
        return spent(frame);
    }
    let ask = |program: &'s Program| {
        let scope =
            Scope { frame, params: asked.params, item, value, budget, program, related: RelatedVal(&frame.relations) };
        evaluate(asked.env, &scope)
    };
    match asked.programs.when.as_ref().map(ask) {
        Some(Ok(false)) => return Answer::NotApplicable,
        Some(Err(answer)) => return answer,
        Some(Ok(true)) | None => {}
    }
    match ask(&asked.programs.pass) {
        Ok(true) => Answer::Pass,
        Ok(false) => Answer::Fail,
        Err(answer) => answer,
    }
}

/// The variables of one evaluation.
struct Scope<'s, 'a> {
    frame: &'s Frame<'a>,
    params: &'s Bound<'static>,
    item: Item<'s, 'a>,
    value: &'s Bound<'s>,
    budget: &'s Budget,
    program: &'s Program,
    related: RelatedVal<'s>,
}

impl VariableResolver for Scope<'_, '_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let container = self.item.container;
        let bound = match name {
            "container" => &container?.value,
            "item" => self.value,
            "pod" => &self.frame.pod.as_ref()?.value,
            "params" => self.params,
            "containerKind" => &container?.kind,
            "kind" => &self.frame.kind,
            "object" => self.frame.root(),
            "related" => return Some(CowVal::Borrowed(&self.related)),
            BUDGET_NAME => return Some(CowVal::Borrowed(self.budget)),
            _ if name.starts_with('@') => return self.program.constant(name),
            _ => return None,
        };
        Some(CowVal::Borrowed(bound.val()))
    }
}

/// The steps are used up: by an object that no API server would store, or by the control.
fn spent(frame: &Frame<'_>) -> Answer {
    if frame.is_oversized() {
        let message = "the object is too large to be judged; an API server stores at most 1.5 MiB of one";
        return Answer::Unknown(Cause::TooLarge, message.to_owned());
    }
    Answer::Error("the step budget is used up".to_owned())
}

fn evaluate(env: &Arc<Env>, scope: &Scope<'_, '_>) -> Result<bool, Answer> {
    let mut context = Context::with_env(Arc::clone(env));
    context.set_variable_resolver(scope);
    let result = Value::resolve_val(&scope.program.expression, &context);
    if scope.budget.is_spent() {
        return Err(spent(scope.frame));
    }
    let swallowed = scope.program.optional && scope.program.relational;
    if let Some(cause) = scope.frame.relations.hidden().filter(|_| result.is_err() || swallowed) {
        return Err(Answer::Unknown(cause, "an object that the answer depends on could not be read".to_owned()));
    }
    match result {
        Ok(value) => match value.downcast_ref::<CelBool>() {
            Some(truth) => Ok(*truth.inner()),
            None => Err(Answer::Error(format!("the expression gives {}, not true or false", value.get_type().name()))),
        },
        Err(error) => Err(explain(&error)),
    }
}

/// What an evaluation error says about whom, without any value of the object: it may be a secret. A value of another
/// type is the object's mistake, an unknown name or a missing `has()` the control's.
fn explain(error: &ExecutionError) -> Answer {
    let mistyped = || Answer::Unknown(Cause::Unreadable, "a field has another type than the API gives it".to_owned());
    match error {
        ExecutionError::FunctionError { function, .. } if OBJECT_FUNCTIONS.contains(&function.as_str()) => {
            Answer::Unknown(Cause::Unreadable, format!("{function}() does not understand a value of the object"))
        }
        ExecutionError::FunctionError { function, .. } => Answer::Error(format!("{function}() failed")),
        ExecutionError::NoSuchKey(name) => {
            Answer::Error(format!("field '{name}' is read where it is absent; ask has() first"))
        }
        ExecutionError::UndeclaredReference(name) => Answer::Error(format!("'{name}' is not known here")),
        ExecutionError::NoSuchOverload(_)
        | ExecutionError::UnexpectedType { .. }
        | ExecutionError::ValuesNotComparable(..)
        | ExecutionError::UnsupportedBinaryOperator(..)
        | ExecutionError::UnsupportedTargetType { .. }
        | ExecutionError::UnsupportedIndex(..) => mistyped(),
        _ => Answer::Error("the expression failed".to_owned()),
    }
}
