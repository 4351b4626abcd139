//! Expressions: parsed, checked and made safe to run, once for each engine.
//!
//! Checked here, so that a mistake is found when a control is read and not when an object comes by: every name is a
//! variable or a function that exists, and every constant regular expression compiles. Rewritten here: whatever can
//! make work passes through the step budget (see [`super::functions`]); `==` between values that are not constants
//! compares every kind of list and map; constant patterns are compiled.

use std::sync::Arc;

use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators};
use cel::common::value::CowVal;
use cel::{Env, IdedExpr};
use portreeve_reports::source::{Node, decode::did_you_mean};

use super::functions::{CALLABLE, Pattern, PatternSet, pattern, pattern_set};

/// Longest source of one expression, in bytes.
const SOURCE: usize = 4096;
/// Deepest nesting of an expression in its rewritten form. The interpreter recurses, with up to 25 kB a level in a debug
/// build; threads have 2 MB.
const DEPTH: usize = 40;
/// Variables of every expression of a control.
pub(crate) const VARIABLES: &[&str] =
    &["pod", "container", "containerKind", "item", "params", "object", "kind", "related"];
/// Names of types, for `type(x) == string`.
const TYPES: &[&str] = &["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];
/// Name of the budget in a rewritten expression.
pub(crate) const BUDGET_NAME: &str = "@budget";
const PATTERN_PREFIX: &str = "@pattern";
const SET_PREFIX: &str = "@set";

/// An expression that is ready to run.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) expression: IdedExpr,
    patterns: Vec<Pattern>,
    sets: Vec<PatternSet>,
    /// Whether it uses `.?`, which reads a failing access as absence.
    pub(crate) optional: bool,
    /// Whether it reads `related`.
    pub(crate) relational: bool,
}

impl Program {
    /// A compiled pattern of this expression by its name in the rewritten form.
    pub(crate) fn pattern(&self, name: &str) -> Option<&Pattern> {
        self.patterns.get(name.strip_prefix(PATTERN_PREFIX)?.parse::<usize>().ok()?)
    }

    /// The same for a set of patterns.
    pub(crate) fn pattern_set(&self, name: &str) -> Option<&PatternSet> {
        self.sets.get(name.strip_prefix(SET_PREFIX)?.parse::<usize>().ok()?)
    }

    /// Either of them as a value.
    pub(crate) fn constant<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        if let Some(pattern) = self.pattern(name) {
            return Some(CowVal::Borrowed(pattern));
        }
        self.pattern_set(name).map(|set| CowVal::Borrowed(set as _))
    }
}

/// What an expression may name.
#[derive(Clone, Copy)]
pub(crate) struct Names<'names> {
    /// Its variables.
    pub(crate) variables: &'names [&'names str],
    /// What `params` has.
    pub(crate) params: &'names [(Arc<str>, Node)],
}

/// Compiles an expression; the error says what is wrong in words.
pub(crate) fn compile(env: &Env, source: &str, names: &Names<'_>) -> Result<Program, String> {
    if source.len() > SOURCE {
        return Err(format!("the expression is longer than {SOURCE} bytes; ask several checks instead"));
    }
    let parsed = env.parser().parse(source).map_err(|errors| format!("this is no CEL expression: {errors}"))?;
    let mut rewriter =
        Rewriter { names: *names, scope: Vec::new(), patterns: Vec::new(), sets: Vec::new(), seen: Seen::default() };
    let expression = rewriter.expression(parsed)?;
    if depth(&expression) > DEPTH {
        return Err(format!("the expression nests deeper than {DEPTH} levels; ask several checks instead"));
    }
    Ok(Program {
        expression,
        patterns: rewriter.patterns,
        sets: rewriter.sets,
        optional: rewriter.seen.optional,
        relational: rewriter.seen.relational,
    })
}

/// Levels of an expression. Its own recursion is bounded by the parser's cap on nesting.
fn depth(expression: &IdedExpr) -> usize {
    let below = match &expression.expr {
        Expr::Select(select) => depth(&select.operand),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).map(depth).max().unwrap_or(0),
        Expr::List(list) => list.elements.iter().map(depth).max().unwrap_or(0),
        Expr::Map(map) => map.entries.iter().map(entry_depth).max().unwrap_or(0),
        Expr::Comprehension(loops) => {
            let parts = [&loops.iter_range, &loops.accu_init, &loops.loop_cond, &loops.loop_step, &loops.result];
            parts.into_iter().map(depth).max().unwrap_or(0)
        }
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => 0,
    };
    below + 1
}

fn entry_depth(entry: &cel::common::ast::IdedEntryExpr) -> usize {
    match &entry.expr {
        EntryExpr::MapEntry(entry) => depth(&entry.key).max(depth(&entry.value)),
        EntryExpr::StructField(field) => depth(&field.value),
    }
}

#[derive(Default)]
struct Seen {
    optional: bool,
    relational: bool,
}

struct Rewriter<'a> {
    names: Names<'a>,
    scope: Vec<String>,
    patterns: Vec<Pattern>,
    sets: Vec<PatternSet>,
    seen: Seen,
}

type Rewritten = Result<IdedExpr, String>;

impl Rewriter<'_> {
    fn expression(&mut self, expression: IdedExpr) -> Rewritten {
        let id = expression.id;
        let expr = match expression.expr {
            Expr::Ident(name) => Expr::Ident(self.known(name)?),
            Expr::Select(mut select) => {
                self.parameter(&select.operand, &select.field)?;
                select.operand = Box::new(self.expression(*select.operand)?);
                Expr::Select(select)
            }
            Expr::Call(call) => return self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(*comprehension)?,
            Expr::List(mut list) => {
                let constant = list.elements.iter().all(is_literal);
                list.elements = self.all(list.elements)?;
                return Ok(if constant { plain(Expr::List(list)) } else { charged(plain(Expr::List(list))) });
            }
            Expr::Map(mut map) => {
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                        entry.key = self.expression(std::mem::take(&mut entry.key))?;
                        entry.value = self.expression(std::mem::take(&mut entry.value))?;
                    }
                }
                return Ok(charged(plain(Expr::Map(map))));
            }
            Expr::Struct(_) | Expr::Unspecified => return Err("messages cannot be built here".to_owned()),
            literal @ Expr::Literal(_) => literal,
        };
        Ok(IdedExpr { id, expr })
    }

    fn all(&mut self, expressions: Vec<IdedExpr>) -> Result<Vec<IdedExpr>, String> {
        expressions.into_iter().map(|expression| self.expression(expression)).collect()
    }

    fn known(&mut self, name: String) -> Result<String, String> {
        self.seen.relational |= name == "related";
        let internal = name.starts_with('@');
        if internal || self.scope.contains(&name) || self.names.variables.contains(&&*name) || TYPES.contains(&&*name) {
            return Ok(name);
        }
        Err(format!("there is no variable '{name}'{}", hint(&name, self.names.variables)))
    }

    /// `params.x` must name a parameter of the control.
    fn parameter(&self, operand: &IdedExpr, field: &str) -> Result<(), String> {
        let is_params = matches!(&operand.expr, Expr::Ident(name) if name == "params" && !self.scope.contains(name));
        if !is_params || self.names.params.iter().any(|(name, _)| &**name == field) {
            return Ok(());
        }
        let names: Vec<&str> = self.names.params.iter().map(|(name, _)| &**name).collect();
        Err(format!("the control has no parameter '{field}'{}", hint(field, &names)))
    }

    fn comprehension(&mut self, mut loops: cel::common::ast::ComprehensionExpr) -> Result<Expr, String> {
        loops.iter_range = paid("@range", self.expression(loops.iter_range)?);
        let depth = self.scope.len();
        self.scope.push(loops.iter_var.clone());
        self.scope.extend(loops.iter_var2.clone());
        loops.loop_step = self.step(loops.loop_step)?;
        self.scope.truncate(depth);
        Ok(Expr::Comprehension(Box::new(loops)))
    }

    /// The step of a loop. `@result + [x]` keeps its shape: the interpreter appends to it in place.
    fn step(&mut self, step: IdedExpr) -> Rewritten {
        let Expr::Call(mut call) = step.expr else { return self.expression(step) };
        if call.func_name == operators::CONDITIONAL && call.args.len() == 3 {
            let (third, second, first) = (call.args.pop(), call.args.pop(), call.args.pop());
            for argument in [first, second, third].into_iter().flatten() {
                call.args.push(self.step(argument)?);
            }
            return Ok(IdedExpr { id: step.id, expr: Expr::Call(call) });
        }
        if call.func_name == operators::ADD && call.args.first().is_some_and(is_internal) {
            let Some(appended) = call.args.pop() else { return Err("an empty sum".to_owned()) };
            call.args.push(match appended.expr {
                Expr::List(mut list) => {
                    list.elements = self.all(list.elements)?;
                    plain(Expr::List(list))
                }
                _ => self.expression(appended)?,
            });
            return Ok(IdedExpr { id: step.id, expr: Expr::Call(call) });
        }
        self.expression(IdedExpr { id: step.id, expr: Expr::Call(call) })
    }

    fn call(&mut self, call: CallExpr) -> Rewritten {
        match &*call.func_name {
            "matches" | "matchesAny" => self.matching(call),
            operators::EQUALS | operators::NOT_EQUALS if !call.args.iter().any(is_literal) => self.equality(call),
            operators::ADD => Ok(charged(self.operator(call)?)),
            operators::IN
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS => self.charged_operator(call),
            operators::OPT_SELECT | operators::OPT_INDEX => {
                self.seen.optional = true;
                self.operator(call)
            }
            name if is_operator(name) => self.operator(call),
            _ => self.function(call),
        }
    }

    fn operator(&mut self, mut call: CallExpr) -> Rewritten {
        call.args = self.all(call.args)?;
        Ok(plain(Expr::Call(call)))
    }

    fn charged_operator(&mut self, mut call: CallExpr) -> Rewritten {
        let scanned = if call.func_name == operators::IN { 1 } else { 0 };
        let worth = call.args.get(scanned).is_some_and(|argument| !is_constant(argument))
            && !(scanned == 0 && call.args.iter().any(is_literal));
        call.args = self.all(call.args)?;
        if let Some(argument) = call.args.get_mut(scanned).filter(|_| worth) {
            *argument = charged(std::mem::take(argument));
        }
        Ok(plain(Expr::Call(call)))
    }

    fn equality(&mut self, call: CallExpr) -> Rewritten {
        let negated = call.func_name == operators::NOT_EQUALS;
        let mut args = self.all(call.args)?;
        args.push(budget());
        let equal = named("@equal", args);
        Ok(if negated { named(operators::LOGICAL_NOT, vec![equal]) } else { equal })
    }

    /// A call of a function: the name exists, and what is passed is paid for.
    fn function(&mut self, mut call: CallExpr) -> Rewritten {
        if !CALLABLE.contains(&&*call.func_name) {
            return Err(format!("there is no function '{}'{}", call.func_name, hint(&call.func_name, CALLABLE)));
        }
        let namespace =
            matches!(call.target.as_deref(), Some(IdedExpr { expr: Expr::Ident(name), .. }) if name == "optional");
        if !namespace {
            call.target = match call.target.take() {
                Some(target) => Some(Box::new(self.paid_argument(*target)?)),
                None => None,
            };
        }
        let args = std::mem::take(&mut call.args);
        call.args = args.into_iter().map(|argument| self.paid_argument(argument)).collect::<Result<_, _>>()?;
        Ok(plain(Expr::Call(call)))
    }

    fn paid_argument(&mut self, argument: IdedExpr) -> Rewritten {
        let constant = is_constant(&argument);
        let argument = self.expression(argument)?;
        Ok(if constant { argument } else { charged(argument) })
    }

    fn matching(&mut self, mut call: CallExpr) -> Rewritten {
        let mut args: Vec<IdedExpr> = call.target.take().map(|target| *target).into_iter().collect();
        args.append(&mut call.args);
        let (Some(patterns), Some(text), true) = (args.pop(), args.pop(), args.is_empty()) else {
            return Err(format!("'{}' takes a text and what it should match", call.func_name));
        };
        let text = self.expression(text)?;
        let any = call.func_name == "matchesAny";
        let patterns = if any { self.patterns_of(patterns)? } else { self.pattern_of(patterns)? };
        Ok(named(if any { "@matchesAny" } else { "@matches" }, vec![text, patterns, budget()]))
    }

    fn pattern_of(&mut self, argument: IdedExpr) -> Rewritten {
        let constant = literal_text(&argument).map(str::to_owned);
        let constant = constant.or_else(|| self.param(&argument)?.as_str().map(str::to_owned));
        let Some(text) = constant else { return self.paid_argument(argument) };
        self.patterns.push(pattern(&text).map_err(|error| error.to_string())?);
        Ok(plain(Expr::Ident(format!("{PATTERN_PREFIX}{}", self.patterns.len() - 1))))
    }

    fn patterns_of(&mut self, argument: IdedExpr) -> Rewritten {
        let texts: Option<Vec<String>> = match &argument.expr {
            Expr::List(list) => list.elements.iter().map(|item| literal_text(item).map(str::to_owned)).collect(),
            _ => self.param(&argument).and_then(strings),
        };
        let texts = texts.ok_or("'matchesAny' takes a constant list of patterns or a parameter that is one")?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        self.sets.push(pattern_set(&texts).map_err(|error| error.to_string())?);
        Ok(plain(Expr::Ident(format!("{SET_PREFIX}{}", self.sets.len() - 1))))
    }

    /// The value of `params.name`.
    fn param(&self, argument: &IdedExpr) -> Option<&Node> {
        let Expr::Select(select) = &argument.expr else { return None };
        let is_params = matches!(&select.operand.expr, Expr::Ident(name) if name == "params");
        let found = self.names.params.iter().find(|(name, _)| is_params && **name == *select.field);
        found.map(|(_, value)| value)
    }
}

fn strings(list: &Node) -> Option<Vec<String>> {
    list.as_list()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

fn hint(name: &str, known: &[&str]) -> String {
    did_you_mean(name, known).map_or_else(String::new, |near| format!("; did you mean '{near}'?"))
}

fn plain(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

fn named(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    plain(Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args }))
}

fn budget() -> IdedExpr {
    plain(Expr::Ident(BUDGET_NAME.to_owned()))
}

fn paid(function: &str, value: IdedExpr) -> IdedExpr {
    named(function, vec![value, budget()])
}

fn charged(value: IdedExpr) -> IdedExpr {
    paid("@charge", value)
}

fn is_literal(expression: &IdedExpr) -> bool {
    matches!(expression.expr, Expr::Literal(_))
}

/// A literal, or a list of literals: no more than what is written.
fn is_constant(expression: &IdedExpr) -> bool {
    match &expression.expr {
        Expr::List(list) => list.elements.iter().all(is_literal),
        _ => is_literal(expression),
    }
}

fn is_internal(expression: &IdedExpr) -> bool {
    matches!(&expression.expr, Expr::Ident(name) if name.starts_with('@'))
}

fn literal_text(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// Operators carry names that no identifier can have; macros that took no effect do not.
fn is_operator(name: &str) -> bool {
    name.contains('_') && !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        || name.starts_with('@')
}
