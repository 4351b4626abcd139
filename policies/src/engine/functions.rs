//! The functions that expressions may call beyond CEL's own, and the step budget that every evaluation runs under.
//!
//! The interpreter neither counts nor stops. [`mod@super::compile`] therefore rewrites each expression so that whatever
//! can make work (loops, built values, calls on long texts) passes through [`charge`] here, together with the budget.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};

use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelString, DYN_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{DeclarationError, Env, ExecutionError};
use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use super::value::deep_equal;
use crate::image::ImageReference;

/// Steps that one check may take on one object. A step is about a tenth of a microsecond.
pub(crate) const STEPS: u64 = 2_000_000;
/// Compiled size of a regular expression, in bytes.
const REGEX_SIZE: usize = 1 << 20;
/// Steps of a pattern that is only known while evaluating, and so compiled each time.
const PATTERN_STEPS: u64 = 5_000;

/// Name of the function that failed when the budget ran out.
pub(crate) const BUDGET: &str = "budget";
/// Functions whose failure is the object's mistake: a text that is no quantity, no image reference.
pub(crate) const OBJECT_FUNCTIONS: [&str; 2] = ["quantity", "imageRepository"];

/// Names that authors may call, beside macros and operators.
pub(crate) const CALLABLE: &[&str] = &[
    "matches",
    "matchesAny",
    "quantity",
    "imageRepository",
    "lowerAscii",
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "string",
    "int",
    "double",
    "bool",
    "type",
    "dyn",
    "hasValue",
    "value",
    "orValue",
    "or",
    "of",
    "none",
];

/// What is left of the steps of one check on one object.
#[derive(Debug)]
pub(crate) struct Budget(AtomicU64);

impl Budget {
    pub(crate) fn new(steps: u64) -> Self {
        Self(AtomicU64::new(steps))
    }

    /// Whether the steps are used up. Stays true: an expression cannot swallow it with `||`.
    pub(crate) fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Takes steps, or fails for good.
    pub(crate) fn take(&self, steps: u64) -> Result<(), ExecutionError> {
        let left = self.0.load(Ordering::Relaxed).saturating_sub(steps);
        self.0.store(left, Ordering::Relaxed);
        if left == 0 { Err(ExecutionError::function_error(BUDGET, "the step budget is used up")) } else { Ok(()) }
    }
}

/// A regular expression that was compiled with its control.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(pub(crate) Regex);

/// Regular expressions that were compiled with their control.
#[derive(Clone, Debug)]
pub(crate) struct PatternSet(pub(crate) RegexSet);

static OPAQUE: Type = Type::new_unspecified_type("portreeve.Internal");

macro_rules! opaque_value {
    ($name:ident, $this:ident => $copy:expr) => {
        impl Val for $name {
            fn get_type(&self) -> &Type {
                &OPAQUE
            }
            fn cel_type() -> &'static Type {
                &OPAQUE
            }
            fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
                let $this = self;
                Box::new($copy)
            }
            fn as_any(&self) -> Option<&dyn Any> {
                Some(self)
            }
        }
        impl StaticVal for $name {}
    };
}

opaque_value!(Budget, this => Self::new(this.0.load(Ordering::Relaxed)));
opaque_value!(Pattern, this => this.clone());
opaque_value!(PatternSet, this => this.clone());

/// Compiles a pattern within the size limit.
pub(crate) fn pattern(text: &str) -> Result<Pattern, regex::Error> {
    RegexBuilder::new(text).size_limit(REGEX_SIZE).build().map(Pattern)
}

/// Compiles patterns that are asked together, without regard to case.
pub(crate) fn pattern_set(texts: &[&str]) -> Result<PatternSet, regex::Error> {
    RegexSetBuilder::new(texts).case_insensitive(true).size_limit(REGEX_SIZE).build().map(PatternSet)
}

/// The environment of all controls.
pub(crate) fn environment() -> Result<Env, DeclarationError> {
    let mut env = Env::stdlib();
    let two = || vec![DYN_TYPE, DYN_TYPE];
    env.add_overload("@charge", "charge", two(), charge)?;
    env.add_overload("@range", "range", two(), range)?;
    env.add_overload("@equal", "equal", vec![DYN_TYPE, DYN_TYPE, DYN_TYPE], equal)?;
    env.add_overload("@matches", "matches", vec![DYN_TYPE, DYN_TYPE, DYN_TYPE], matches)?;
    env.add_overload("@matchesAny", "matches_any", vec![DYN_TYPE, DYN_TYPE, DYN_TYPE], matches_any)?;
    env.add_overload("quantity", "quantity", vec![DYN_TYPE], quantity)?;
    env.add_overload("imageRepository", "image_repository", vec![DYN_TYPE], image_repository)?;
    env.add_member_overload("lowerAscii", "lower_ascii", DYN_TYPE, vec![], lower_ascii)?;
    Ok(env)
}

type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Answer<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// `@charge(value, @budget)`: the value, once its weight is paid.
fn charge<'b, 'v>(mut arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    take(&arguments, weight(argument(&arguments, 0)?))?;
    Ok(arguments.swap_remove(0))
}

/// `@range(value, @budget)`: what a loop runs over, once each turn is paid.
fn range<'b, 'v>(mut arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    let value = argument(&arguments, 0)?;
    let turns = value.as_sizer().map_or(1, |sizer| u64::try_from(sizer.size().into_inner()).unwrap_or(1));
    take(&arguments, turns.saturating_mul(2).saturating_add(weight(value)))?;
    Ok(arguments.swap_remove(0))
}

/// `@equal(left, right, @budget)`.
fn equal<'b, 'v>(arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    let (left, right) = (argument(&arguments, 0)?, argument(&arguments, 1)?);
    take(&arguments, weight(left))?;
    Ok(CowVal::owned(CelBool::from(deep_equal(left, right))))
}

/// `@matches(text, pattern, @budget)`.
fn matches<'b, 'v>(arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    let text = text(&arguments, 0, "matches")?;
    take(&arguments, 1 + text.len() as u64 / 64)?;
    let asked = argument(&arguments, 1)?;
    if let Some(known) = asked.downcast_ref::<Pattern>() {
        return Ok(CowVal::owned(CelBool::from(known.0.is_match(text))));
    }
    take(&arguments, PATTERN_STEPS)?;
    let asked = self::text(&arguments, 1, "matches")?;
    let compiled = pattern(asked).map_err(|error| ExecutionError::function_error("matches", error))?;
    Ok(CowVal::owned(CelBool::from(compiled.0.is_match(text))))
}

/// `@matchesAny(text, patterns, @budget)`.
fn matches_any<'b, 'v>(arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    let text = text(&arguments, 0, "matchesAny")?;
    take(&arguments, 1 + text.len() as u64 / 64)?;
    let set = argument(&arguments, 1)?.downcast_ref::<PatternSet>();
    let set = set.ok_or_else(|| mistyped("matchesAny", &arguments))?;
    Ok(CowVal::owned(CelBool::from(set.0.is_match(text))))
}

/// `quantity(text or number)`: a Kubernetes quantity as a double.
fn quantity<'b, 'v>(arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    let value = argument(&arguments, 0)?;
    let number = match (value.downcast_ref::<CelInt>(), value.downcast_ref::<CelDouble>()) {
        (Some(int), _) => Some(*int.inner() as f64),
        (_, Some(double)) => Some(*double.inner()),
        _ => parse_quantity(text(&arguments, 0, "quantity")?),
    };
    number
        .map(|number| CowVal::owned(CelDouble::from(number)))
        .ok_or_else(|| ExecutionError::function_error("quantity", "not a quantity"))
}

/// Suffixes of quantities: apimachinery, `resource.Quantity`.
const SUFFIXES: [(&str, f64); 15] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

fn parse_quantity(text: &str) -> Option<f64> {
    let (number, scale) = SUFFIXES
        .iter()
        .find_map(|(suffix, scale)| text.strip_suffix(suffix).map(|number| (number, *scale)))
        .unwrap_or((text, 1.0));
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'));
    number.parse::<f64>().ok().filter(|value| plain && value.is_finite()).map(|value| value * scale)
}

/// `imageRepository(reference)`: host and repository in full, `docker.io/library/nginx`.
fn image_repository<'b, 'v>(arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    let reference = ImageReference::parse(text(&arguments, 0, "imageRepository")?)
        .map_err(|_| ExecutionError::function_error("imageRepository", "not an image reference"))?;
    Ok(CowVal::owned(CelString::from(reference.repository.to_string())))
}

/// `text.lowerAscii()`.
fn lower_ascii<'b, 'v>(arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    Ok(CowVal::owned(CelString::from(text(&arguments, 0, "lowerAscii")?.to_ascii_lowercase())))
}

fn argument<'a, 'b, 'v>(arguments: &'a Arguments<'b, 'v>, index: usize) -> Result<&'a (dyn Val + 'v), ExecutionError> {
    arguments.get(index).map(AsRef::as_ref).ok_or(ExecutionError::MissingArgumentOrTarget)
}

fn text<'a>(arguments: &'a Arguments<'_, '_>, index: usize, function: &str) -> Result<&'a str, ExecutionError> {
    argument(arguments, index)?
        .downcast_ref::<CelString>()
        .map(CelString::inner)
        .ok_or_else(|| mistyped(function, arguments))
}

fn mistyped(function: &str, arguments: &Arguments<'_, '_>) -> ExecutionError {
    let types = arguments.iter().map(|argument| argument.get_type().name().to_owned()).collect();
    ExecutionError::no_such_overload(function, types)
}

/// Takes steps from the budget, which is the last argument.
fn take(arguments: &Arguments<'_, '_>, steps: u64) -> Result<(), ExecutionError> {
    let budget = arguments.last().and_then(|last| last.downcast_ref::<Budget>());
    budget.ok_or(ExecutionError::MissingArgumentOrTarget)?.take(steps)
}

/// What copying or scanning a value costs. The interpreter copies its own lists and maps deeply; ours by pointer.
fn weight(value: &dyn Val) -> u64 {
    if let Some(text) = value.downcast_ref::<CelString>() {
        return 1 + text.inner().len() as u64 / 64;
    }
    if let Some(list) = value.downcast_ref::<CelList>() {
        return list.inner().iter().fold(1, |sum, item| sum + weight(item.as_ref()));
    }
    if let Some(map) = value.downcast_ref::<CelMap>() {
        return map.inner().values().fold(1, |sum, item| sum + 1 + weight(item.as_ref()));
    }
    let size = value.as_sizer().map_or(0, |sizer| sizer.size().into_inner());
    1 + u64::try_from(size).unwrap_or(0) / 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_as_the_api_server_reads_them() {
        let read = |text| parse_quantity(text);
        assert_eq!(read("1Gi"), Some(1_073_741_824.0));
        assert_eq!(read("500m"), Some(0.5));
        assert_eq!(read("1e3"), Some(1000.0));
        assert_eq!(read("2"), Some(2.0));
        assert_eq!(read("0.5M"), Some(500_000.0));
        for text in ["", "Gi", "1GiB", "one", "inf", "nan", "1 Gi"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_spent_budget_stays_spent() {
        let budget = Budget::new(10);
        assert!(budget.take(5).is_ok());
        assert!(budget.take(50).is_err());
        assert!(budget.take(0).is_err());
        assert!(budget.is_spent());
    }
}
