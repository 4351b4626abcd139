//! `Platform`: the components that are deployed and kept, as written in the file or the custom resource.

mod codes;
mod graph;
#[cfg(test)]
mod tests;

use std::path::{Component as PathPart, Path};
use std::time::Duration;

use portreeve_policies::framework::{self, builtin_frameworks};
use portreeve_reports::source::{Fields, Node, Place, Problems};
use portreeve_reports::{Effect, FailOn, Severity};

pub use codes::*;
pub use graph::last_first;

use crate::{InvalidName, NameForm, dns_name};

/// Most components of a platform.
pub const MAX_COMPONENTS: usize = 200;
/// Most ignore rules of a component, and paths of a rule.
const MAX_IGNORED: usize = 200;
/// How long a component may take to become healthy unless it says otherwise.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(300);
/// How many objects one run deletes from a component, or from all, unless the file says otherwise.
pub const MAX_PRUNE: usize = 50;

/// The `spec` of a Platform.
#[derive(Clone, Debug, PartialEq)]
pub struct PlatformSpec {
    /// For whom the platform is; charts take their sizes from it.
    pub profile: Option<Profile>,
    /// What every component passes before it is applied.
    pub gate: Gate,
    /// The most objects that one run deletes from all components together without being told so.
    pub max_prune: usize,
    /// The components, in the order of the file.
    pub components: Vec<Component>,
    /// Positions of the components, each after those it depends on.
    pub order: Vec<usize>,
}

/// The size of a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// One machine.
    Desktop,
    /// A team.
    Team,
    /// Many users, no single point of failure.
    Production,
    /// Production without a network.
    Airgap,
}

/// What a component passes before it is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Framework ids; `None` takes those of the configuration.
    pub frameworks: Option<Vec<String>>,
    /// Lowest severity of a failure that keeps a component back.
    pub fail_on: FailOn,
    /// The most that a failing image does; `Block` keeps the component back. `None` follows the image policy where
    /// there is one.
    pub images: Option<Effect>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { frameworks: None, fail_on: FailOn::At(Severity::High), images: None }
    }
}

/// A part of the platform that is applied and judged as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// A DNS label, unique in the platform.
    pub name: String,
    /// Namespace of its objects.
    pub namespace: String,
    /// Components that must be healthy before this one is applied.
    pub depends_on: Vec<String>,
    /// Folder of manifests, relative to the platform file or to the folder that is configured beside a resource.
    pub folder: String,
    /// What is done about drift.
    pub drift: Drift,
    /// Whether objects that are no longer declared are deleted.
    pub prune: bool,
    /// Whether claims, volumes, namespaces and resource definitions stay when they are no longer declared.
    pub retain: bool,
    /// Whether objects that are there already and are nobody's of ours are taken over.
    pub adopt: bool,
    /// The most objects that one run deletes without being told so.
    pub max_prune: usize,
    /// How long it may take to become healthy.
    pub health_timeout: Duration,
    /// Fields that others may change.
    pub ignore: Vec<Ignore>,
    /// Where it stands in the file.
    pub place: Place,
}

/// What is done about objects that are not as declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// It is not looked for.
    Off,
    /// It is a finding.
    Warn,
    /// It is a finding, and is put right.
    Correct,
}

/// Fields of objects that others may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignore {
    /// Kind of the objects.
    pub kind: String,
    /// Name of the object; all of the kind when absent.
    pub name: Option<String>,
    /// JSON pointers (RFC 6901).
    pub paths: Vec<String>,
}

impl PlatformSpec {
    /// Decodes `spec`; what is wrong goes to `problems`.
    pub fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        Fields::of(node, "spec", problems)?.finish_with(|fields| {
            let profile = fields.optional_parsed("profile", Profile::parse);
            let defaults = fields.optional_map("defaults", Defaults::decode).unwrap_or_default();
            let gate = fields.optional_map("gate", Gate::decode).unwrap_or_default();
            let listed = fields.required("components")?;
            if listed.as_list().is_some_and(|items| items.len() > MAX_COMPONENTS) {
                // None of them is looked at: what each is compared with all others for is bounded by this.
                fields.problem(listed.place, format!("more than {MAX_COMPONENTS} components; split the platform"));
                count(fields, "maxPrune");
                return None;
            }
            let components = fields.maps("components", |item| Component::decode(item, &defaults));
            let order = ordered(&components, fields);
            let most = components.iter().map(|component| component.max_prune).fold(MAX_PRUNE, usize::max);
            let max_prune = count(fields, "maxPrune").unwrap_or(most);
            Some(Self { profile, gate, max_prune, components, order: order? })
        })
    }

    /// The spec of a custom resource: whoever writes one must not have the daemon read what is outside of the folder
    /// that is configured for it. Places in an object of the API server mean nothing, and change with its status.
    #[must_use]
    pub fn of_resource(mut self, problems: &mut Problems) -> Self {
        for component in &mut self.components {
            component.place = Place::default();
            let (name, folder) = (&component.name, &component.folder);
            if !is_inside(folder) {
                let message = format!("'{name}': the folder '{folder}' is not inside of the one that is configured");
                problems.push(component.place, message);
            }
        }
        self
    }
}

impl Profile {
    fn parse(word: &str) -> Result<Self, String> {
        match word {
            "desktop" => Ok(Self::Desktop),
            "team" => Ok(Self::Team),
            "production" => Ok(Self::Production),
            "airgap" => Ok(Self::Airgap),
            _ => Err(format!("'{word}' is not one of desktop, team, production, airgap")),
        }
    }
}

impl Gate {
    fn decode(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let standard = Self::default();
        let named = fields.optional("frameworks").and_then(Node::as_list).unwrap_or_default();
        let path = fields.path_of("frameworks");
        for problem in unknown_frameworks(named) {
            fields.problem(problem.0, format!("'{path}': {}", problem.1));
        }
        let frameworks = fields.optional_strings("frameworks");
        Some(Self {
            frameworks: frameworks.map(|ids| ids.into_iter().map(str::to_owned).collect()),
            fail_on: fields.optional_parsed("failOn", str::parse::<FailOn>).unwrap_or(standard.fail_on),
            images: fields.optional_parsed("images", parse_effect),
        })
    }
}

/// Names of frameworks that there are not, with their places.
fn unknown_frameworks(named: &[Node]) -> Vec<(Place, String)> {
    // They are embedded, and a test reads them.
    let Ok(existing) = builtin_frameworks() else { return Vec::new() };
    let problem = |node: &Node| Some((node.place, framework::find(node.as_str()?, &existing).err()?.to_string()));
    named.iter().filter_map(problem).collect()
}

fn parse_effect(word: &str) -> Result<Effect, String> {
    match word {
        "enforce" => Ok(Effect::Block),
        "warn" => Ok(Effect::Warn),
        "audit" => Ok(Effect::Audit),
        _ => Err(format!("'{word}' is not one of enforce, warn, audit")),
    }
}

impl Drift {
    /// `off`, `warn` or `correct`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Correct => "correct",
        }
    }

    fn parse(word: &str) -> Result<Self, String> {
        match word {
            "off" => Ok(Self::Off),
            "warn" => Ok(Self::Warn),
            "correct" => Ok(Self::Correct),
            _ => Err(format!("'{word}' is not one of off, warn, correct")),
        }
    }
}

/// What components do unless they say otherwise.
struct Defaults {
    drift: Drift,
    prune: bool,
    retain: bool,
    adopt: bool,
    max_prune: usize,
    health_timeout: Duration,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            drift: Drift::Warn,
            prune: true,
            retain: true,
            adopt: false,
            max_prune: MAX_PRUNE,
            health_timeout: HEALTH_TIMEOUT,
        }
    }
}

impl Defaults {
    fn decode(fields: &mut Fields<'_, '_>) -> Option<Self> {
        Some(Self::default().overlaid(fields))
    }

    /// These, with what a map says otherwise: `defaults` and each component share the keys.
    fn overlaid(&self, fields: &mut Fields<'_, '_>) -> Self {
        Self {
            drift: drift(fields).unwrap_or(self.drift),
            prune: fields.optional_bool("prune").unwrap_or(self.prune),
            retain: fields.optional_bool("retain").unwrap_or(self.retain),
            adopt: fields.optional_bool("adopt").unwrap_or(self.adopt),
            max_prune: count(fields, "maxPrune").unwrap_or(self.max_prune),
            health_timeout: fields.optional_parsed("healthTimeout", parse_duration).unwrap_or(self.health_timeout),
        }
    }
}

/// `off` without quotes is a boolean to readers of Kubernetes' files, ours included.
fn drift(fields: &mut Fields<'_, '_>) -> Option<Drift> {
    match fields.optional("drift")?.as_bool() {
        Some(false) => Some(Drift::Off),
        _ => fields.optional_parsed("drift", Drift::parse),
    }
}

fn count(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<usize> {
    let number = fields.optional_int(key)?;
    let place = fields.place();
    let count = usize::try_from(number).ok();
    if count.is_none() {
        let path = fields.path_of(key);
        fields.problem(place, format!("'{path}' must not be negative"));
    }
    count
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a duration such as 30s or 5m, at most 24h");
    let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    let duration = Duration::try_from(span).map_err(|_| wrong())?;
    let most = Duration::from_secs(24 * 3600);
    if duration.is_zero() || duration > most { Err(wrong()) } else { Ok(duration) }
}

impl Component {
    fn decode(fields: &mut Fields<'_, '_>, defaults: &Defaults) -> Option<Self> {
        let place = fields.place();
        let name = fields.required_parsed("name", label);
        let namespace = fields.required_parsed("namespace", own_namespace);
        let mut depends_on = fields.optional_strings("dependsOn").unwrap_or_default();
        if depends_on.len() > MAX_COMPONENTS {
            fields.problem(place, format!("more than {MAX_COMPONENTS} components in 'dependsOn'"));
            depends_on.truncate(MAX_COMPONENTS);
        }
        let depends_on = depends_on.into_iter().map(str::to_owned).collect();
        if let Some(values) = fields.optional("values") {
            fields.problem(values.place, "'values' are for charts, which are not supported yet; write the manifests");
        }
        let folder = match fields.required("source") {
            Some(_) => fields.optional_map("source", decode_source),
            None => None,
        };
        let own = defaults.overlaid(fields);
        let ignore = fields.maps("ignore", Ignore::decode);
        if ignore.len() > MAX_IGNORED {
            fields.problem(place, format!("more than {MAX_IGNORED} ignore rules"));
        }
        Some(Self {
            name: name?,
            namespace: namespace?,
            depends_on,
            folder: folder?,
            drift: own.drift,
            prune: own.prune,
            retain: own.retain,
            adopt: own.adopt,
            max_prune: own.max_prune,
            health_timeout: own.health_timeout,
            ignore,
            place,
        })
    }
}

fn decode_source(fields: &mut Fields<'_, '_>) -> Option<String> {
    if let Some(chart) = fields.optional("chart") {
        fields.problem(chart.place, "'source.chart' is not supported yet by this version; name a folder of manifests");
        fields.optional("folder");
        return None;
    }
    fields.required_str("folder").map(str::to_owned)
}

impl Ignore {
    fn decode(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let place = fields.place();
        let kind = fields.required_str("kind");
        let name = fields.optional_str("name").map(str::to_owned);
        let paths: Vec<String> =
            fields.optional_strings("paths").unwrap_or_default().into_iter().map(str::to_owned).collect();
        if paths.is_empty() || paths.len() > MAX_IGNORED {
            fields.problem(place, format!("'paths' must list 1 to {MAX_IGNORED} JSON pointers"));
        }
        for path in paths.iter().filter(|path| !is_pointer(path)) {
            fields.problem(place, format!("'{path}' is not a JSON pointer such as /spec/replicas"));
        }
        Some(Self { kind: kind?.to_owned(), name, paths })
    }
}

/// RFC 6901, without the pointer to the whole document; and never the fields that say whose an object is.
fn is_pointer(text: &str) -> bool {
    let mut tokens = text.split('/');
    let starts = tokens.next() == Some("");
    let is_token = |token: &str| !token.is_empty() && token.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    starts && text.len() > 1 && tokens.all(is_token) && text != "/metadata" && text != "/metadata/labels"
}

/// Whether a path stays in the folder that it is relative to.
fn is_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    parts.all(|part| matches!(part, PathPart::Normal(_) | PathPart::CurDir))
}

/// Positions of the components, each after those it depends on; `None` where there is no such order, which is a problem.
fn ordered(components: &[Component], fields: &mut Fields<'_, '_>) -> Option<Vec<usize>> {
    let is_sound = check_names(components, fields);
    let place = components.first().map_or_else(Place::default, |first| first.place);
    // What is no component, or the component itself, is told already and is in no other circle.
    let order = graph::order(&graph::among(components));
    let order = order.map_err(|cycle| fields.problem(place, cycle.to_string())).ok();
    order.filter(|_| is_sound)
}

/// Whether every name is there once and every dependency is a component.
fn check_names(components: &[Component], fields: &mut Fields<'_, '_>) -> bool {
    let mut is_sound = true;
    let mut wrong = |place, message: String| {
        is_sound = false;
        fields.problem(place, message);
    };
    for (index, component) in components.iter().enumerate() {
        if components[..index].iter().any(|other| other.name == component.name) {
            wrong(component.place, format!("there are two components '{}'", component.name));
        }
        for name in &component.depends_on {
            if *name == component.name {
                wrong(component.place, format!("'{name}' depends on itself"));
            } else if !components.iter().any(|other| other.name == *name) {
                let message = format!("'{}' depends on '{name}', which is no component", component.name);
                wrong(component.place, message);
            }
        }
    }
    is_sound
}

/// A name that is a label's value and part of an object's name.
pub(crate) fn label(text: &str) -> Result<String, InvalidName> {
    dns_name(text, NameForm::Label)
}

fn own_namespace(text: &str) -> Result<String, String> {
    let namespace = label(text).map_err(|error| error.to_string())?;
    if text.starts_with("kube-") || text == "portreeve-system" {
        return Err(format!("'{text}' belongs to the cluster or to Portreeve itself; components live elsewhere"));
    }
    Ok(namespace)
}
