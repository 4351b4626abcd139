//! The engine: controls in, objects and world in, findings out. Pure, and `Send + Sync`.
//!
//! All expressions are compiled once ([`Engine::new`]). [`Engine::judge`] binds an object once (`frame`), asks every
//! check about every item (`judge`), and turns answers into findings (`report`). What an expression may cost is
//! capped by a step budget for each check and object (`functions`).

mod compile;
mod condition;
mod frame;
mod functions;
mod judge;
mod related;
mod report;
mod value;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use cel::Env;
use portreeve_reports::source::{Node, Place, Problems};
use portreeve_reports::{Code, Finding};

use crate::control::{Check, Control, Expression, Params};
use crate::object::Object;
use crate::world::World;

use compile::{Names, Program, VARIABLES, compile};

pub use condition::Condition;
use value::Bound;

/// Compiled controls.
pub struct Engine {
    env: Arc<Env>,
    controls: Vec<Control>,
    compiled: Vec<Arc<CompiledControl>>,
}

/// The expressions of a control and its parameters as they read them.
#[derive(Debug)]
struct CompiledControl {
    params: Bound<'static>,
    checks: Vec<CompiledCheck>,
}

#[derive(Debug)]
struct CompiledCheck {
    when: Option<Program>,
    pass: Program,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("controls", &self.controls.len()).finish_non_exhaustive()
    }
}

impl Engine {
    /// Compiles controls with parameters laid over their defaults. All mistakes of all expressions of the first file
    /// that has any are named with their places; so are parameters that no control has.
    pub fn new(controls: Vec<Control>, params: &Params) -> Result<Self, Problems> {
        unique(&controls)?;
        params.check_names(&controls)?;
        let env = functions::environment().map_err(|error| {
            let mut problems = Problems::new("engine");
            problems.push(Place::default(), error.to_string());
            problems
        })?;
        let compiled = controls.iter().map(|control| compiled(&env, control, params).map(Arc::new));
        let compiled = compiled.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { env: Arc::new(env), controls, compiled })
    }

    /// All verdicts of all controls about an object: each failing item, and one verdict for every check without one.
    pub fn judge(&self, object: &Object, world: &World) -> Vec<Finding> {
        let defaulted = frame::Defaulted::of(object);
        let frame = frame::Frame::new(object, world, &defaulted);
        let mut findings = Vec::with_capacity(self.controls.len() + 8);
        for (control, compiled) in self.controls.iter().zip(&self.compiled) {
            for (check, programs) in control.checks.iter().zip(&compiled.checks) {
                let asked = judge::Asked { env: &self.env, control, check, programs, params: &compiled.params };
                judge::judge(&frame, &asked, &mut findings);
            }
        }
        findings
    }

    /// The controls, in the order they are asked.
    pub fn controls(&self) -> &[Control] {
        &self.controls
    }

    /// The same engine with only the controls of these codes.
    pub fn only(self, codes: &[Code]) -> Self {
        let kept = self.controls.into_iter().zip(self.compiled).filter(|(control, _)| codes.contains(&control.code));
        let (controls, compiled) = kept.unzip();
        Self { env: self.env, controls, compiled }
    }
}

/// Two controls of one code would each hide the other's verdicts: neither is taken.
fn unique(controls: &[Control]) -> Result<(), Problems> {
    for (index, control) in controls.iter().enumerate() {
        if let Some(earlier) = controls.iter().take(index).find(|earlier| earlier.code == control.code) {
            let mut problems = Problems::new(control.file.as_ref());
            problems
                .push(Place { line: 1, column: 1 }, format!("{} is also defined in {}", control.code, earlier.file));
            return Err(problems);
        }
    }
    Ok(())
}

fn compiled(env: &Env, control: &Control, given: &Params) -> Result<CompiledControl, Problems> {
    let params: Vec<(Arc<str>, Node)> =
        control.params.iter().map(|(name, default)| (Arc::clone(name), given.value(name, default))).collect();
    let mut problems = Problems::new(control.file.as_ref());
    let names = Names { variables: VARIABLES, params: &params };
    let mut program = |expression: &Expression| match compile(env, &expression.text, &names) {
        Ok(program) => Some(program),
        Err(message) => {
            problems.push(expression.place, message);
            None
        }
    };
    let mut checks = Vec::with_capacity(control.checks.len());
    for check in &control.checks {
        let when = check.when.as_ref().map(&mut program);
        let pass = program(&check.pass);
        if let (Some(pass), when @ (None | Some(Some(_)))) = (pass, when) {
            checks.push(CompiledCheck { when: when.flatten(), pass });
        }
    }
    control.checks.iter().for_each(|check| required_params(check, control, &mut problems));
    let entries = params.iter().map(|(name, value)| (name.to_string().into(), Bound::owned(value))).collect();
    problems.into_result(CompiledControl { params: Bound::map(entries), checks })
}

fn required_params(check: &Check, control: &Control, problems: &mut Problems) {
    for name in &check.requires {
        if !control.params.iter().any(|(known, _)| known == name) {
            problems.push(check.pass.place, format!("'requires' names '{name}', which is no parameter of the control"));
        }
    }
}
