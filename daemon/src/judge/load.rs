//! Reading what the judge judges by: controls, parameters, frameworks, the image policy and exceptions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use portreeve_api::Document;
use portreeve_policies::control::Control;
use portreeve_policies::control::Params;
use portreeve_policies::engine::Engine;
use portreeve_policies::framework::{self, ALL, Framework, NoSuchFramework, builtin_frameworks};
use portreeve_reports::Code;
use portreeve_reports::digest::sha256;
use portreeve_reports::exceptions::{Exception, Exceptions, InvalidException};
use portreeve_reports::report::PolicyInput;
use portreeve_reports::source::{self, Fields, Problems, decode::did_you_mean};
use portreeve_secrets::credentials::Limits;
use portreeve_trust::policy::{Given, ImagePolicy, ImagePolicySpec, InvalidAuthorities};

use crate::config::Config;
use crate::runtime::errors::chain;

use super::explain::known_codes;
use super::source::{FileSource, FileSourceError, repository_path, repository_root};

/// What to judge by, as named on the command line or in the configuration.
#[derive(Clone, Debug, Default)]
pub struct JudgeSettings {
    /// Framework ids; with `controls` empty too, all controls.
    pub frameworks: Vec<String>,
    /// Control ids.
    pub controls: Vec<String>,
    /// Parameter file.
    pub params: Option<PathBuf>,
    /// Image policy file.
    pub image_policy: Option<PathBuf>,
    /// Exception files.
    pub exceptions: Vec<PathBuf>,
    /// Framework ids whose failures deny at admission.
    pub enforce: Vec<String>,
    /// How long credentials may live.
    pub credentials: Limits,
}

impl JudgeSettings {
    /// What the configuration says. Frameworks that deny are asked, whether or not they stand among those asked.
    pub fn of(config: &Config) -> Self {
        let posture = &config.posture;
        let asks_all = posture.frameworks.is_empty();
        let enforced = posture.enforce.iter().filter(|id| !asks_all && !posture.frameworks.contains(id));
        Self {
            frameworks: posture.frameworks.iter().chain(enforced).cloned().collect(),
            controls: Vec::new(),
            params: posture.params.clone(),
            image_policy: config.image_policy.clone(),
            exceptions: config.exceptions.clone(),
            enforce: posture.enforce.clone(),
            credentials: config.credentials.limits(),
        }
    }
}

/// The rules of one judge, read and compiled.
#[derive(Clone)]
pub struct Rules {
    /// The compiled controls.
    pub engine: Arc<Engine>,
    /// The image policy, where there is one.
    pub image_policy: Option<ImagePolicy>,
    /// What is excepted.
    pub exceptions: Exceptions,
    /// Controls of the chosen frameworks that do not exist yet; each lowers coverage.
    pub unimplemented: Vec<Code>,
    /// Controls that deny at admission.
    pub enforced: Vec<Code>,
    /// How long credentials may live; `None` where only single controls are asked.
    pub credentials: Option<Limits>,
    /// Names and digests of everything above.
    pub inputs: Vec<PolicyInput>,
    /// What files say, for custom resources to be laid over.
    pub(super) written: Arc<Written>,
}

/// Policies and exceptions as files have them.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) image_policy: Option<(ImagePolicySpec, ImagePolicy)>,
    pub(super) exceptions: Vec<Exception>,
    pub(super) invalid: Vec<InvalidException>,
}

/// All that keeps rules from being loaded, over all files, a line each at least. All of it is exit 2.
#[derive(Debug, Default)]
pub struct LoadErrors(Vec<LoadError>);

impl LoadErrors {
    /// Puts an error aside, so that the others are found too.
    fn take<T, E: Into<LoadError>>(&mut self, read: Result<T, E>) -> Option<T> {
        read.map_err(|error| self.0.push(error.into())).ok()
    }

    /// With the exceptions that have mistakes.
    fn and_exceptions(mut self, exceptions: &Exceptions) -> Self {
        self.0.extend(exceptions.invalid().iter().map(|invalid| LoadError::Exception(invalid.to_string())));
        self
    }
}

impl std::fmt::Display for LoadErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { "\n" } else { "" })?;
            f.write_str(&chain(error))?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadErrors {}

/// One thing that keeps rules from being loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file could not be read.
    #[error(transparent)]
    Source(#[from] FileSourceError),
    /// A file has mistakes.
    #[error(transparent)]
    Invalid(#[from] Problems),
    /// Authorities that cannot be used.
    #[error(transparent)]
    Authorities(#[from] InvalidAuthorities),
    /// A framework that does not exist.
    #[error(transparent)]
    Framework(#[from] NoSuchFramework),
    /// A control that does not exist.
    #[error("there is no control '{name}'{hint}; `portreeve list controls` prints them")]
    NoSuchControl {
        /// The name as given.
        name: String,
        /// A did-you-mean, or nothing.
        hint: String,
    },
    /// A control that none of the frameworks named beside it has.
    #[error(
        "{name} is in none of the frameworks named beside it, so that nothing would be asked; name one or the other"
    )]
    NotInFrameworks {
        /// The control.
        name: String,
    },
    /// Exceptions with mistakes, for those who ask whether all is well, or where something else is wrong too.
    #[error("{0}")]
    Exception(String),
    /// A file that is not the kind it should be.
    #[error("{file}: {message}")]
    WrongKind {
        /// The file.
        file: String,
        /// What was expected and what was there.
        message: String,
    },
}

impl Rules {
    /// Reads all files from `source` and compiles the chosen controls. All that is wrong comes at once. Exceptions with
    /// mistakes are no error of their own: they except nothing and become findings.
    pub fn load(settings: &JudgeSettings, source: &FileSource) -> Result<Self, LoadErrors> {
        let mut errors = LoadErrors::default();
        let mut inputs = Inputs { source, list: Vec::new() };
        let params = settings.params.as_deref().map(|file| read_params(file, &mut inputs));
        let params = params.and_then(|read| errors.take(read)).unwrap_or_default();
        let questions = errors.take(Questions::choose(settings, &params));
        let image_policy = settings.image_policy.as_deref().map(|file| read_image_policy(file, &mut inputs));
        let image_policy = image_policy.and_then(|read| errors.take(read));
        let written =
            settings.exceptions.iter().fold(Written { image_policy, ..Written::default() }, |written, file| {
                written.with_exceptions(file, &mut inputs, &mut errors)
            });
        let exceptions = Exceptions::new(written.exceptions.clone(), written.invalid.clone());
        let Some(questions) = questions.filter(|_| errors.0.is_empty()) else {
            return Err(errors.and_exceptions(&exceptions));
        };
        Ok(Self {
            engine: Arc::new(questions.engine),
            image_policy: written.image_policy.as_ref().map(|(_, policy)| policy.clone()),
            exceptions,
            written: Arc::new(written),
            unimplemented: deduplicated(questions.unimplemented),
            enforced: deduplicated(questions.enforced),
            credentials: settings.controls.is_empty().then_some(settings.credentials),
            inputs: inputs.list,
        })
    }

    /// Whether all files of rules are without mistakes, exceptions included.
    pub fn check(settings: &JudgeSettings, source: &FileSource) -> Result<(), LoadErrors> {
        let rules = Self::load(settings, source)?;
        let errors = LoadErrors::default().and_exceptions(&rules.exceptions);
        if errors.0.is_empty() { Ok(()) } else { Err(errors) }
    }
}

/// What is asked of objects.
struct Questions {
    engine: Engine,
    unimplemented: Vec<Code>,
    enforced: Vec<Code>,
}

impl Questions {
    fn choose(settings: &JudgeSettings, params: &Params) -> Result<Self, LoadError> {
        let controls = portreeve_policies::control::builtin_controls()?;
        let frameworks = builtin_frameworks()?;
        let chosen = choose_frameworks(&settings.frameworks, &frameworks)?;
        let enforced = enforced(&settings.enforce, &controls, &frameworks)?;
        // `all` beside other names is still all.
        let filter = if settings.frameworks.iter().any(|name| name == ALL) { &[][..] } else { &chosen };
        let selected = select(&controls, &settings.controls, filter)?;
        let unimplemented = chosen.iter().flat_map(|framework| framework.unimplemented(&controls)).collect();
        // Parameters may be those of controls that are not asked.
        Ok(Self { engine: Engine::new(controls, params)?.only(&selected), unimplemented, enforced })
    }
}

impl Rules {
    /// These questions with the image policy and exceptions of other rules.
    #[must_use]
    pub fn with_policies_of(&self, other: &Self) -> Self {
        Self {
            image_policy: other.image_policy.clone(),
            exceptions: other.exceptions.clone(),
            written: Arc::clone(&other.written),
            ..self.clone()
        }
    }
}

impl Rules {
    /// Rules that ask nothing but whether images are signed by these authorities (`verify --key`,
    /// `--certificate-identity`).
    pub fn given(given: Given, threshold: usize) -> Result<Self, LoadError> {
        let files = given.keys.iter().chain(given.trust_root.as_ref().map(|(name, bytes)| (name, bytes)));
        let inputs = files.map(|(name, bytes)| PolicyInput { name: name.clone(), digest: sha256(bytes) }).collect();
        Ok(Self {
            engine: Arc::new(Engine::new(Vec::new(), &Params::default())?),
            image_policy: Some(ImagePolicy::given(given, threshold)?),
            written: Arc::default(),
            exceptions: Exceptions::default(),
            unimplemented: Vec::new(),
            enforced: Vec::new(),
            credentials: None,
            inputs,
        })
    }
}

/// Reads files and remembers their digests.
struct Inputs<'a> {
    source: &'a FileSource,
    list: Vec<PolicyInput>,
}

impl Inputs<'_> {
    fn read(&mut self, file: &Path) -> Result<Vec<u8>, LoadError> {
        let bytes = self.source.read(file)?;
        let name = match self.source {
            FileSource::WorkingTree => file.display().to_string(),
            FileSource::GitRef { .. } => format!("{} from {}", file.display(), self.source.describe()),
        };
        self.list.push(PolicyInput { name, digest: sha256(&bytes) });
        Ok(bytes)
    }
}

fn deduplicated(mut codes: Vec<Code>) -> Vec<Code> {
    codes.sort();
    codes.dedup();
    codes
}

/// The controls of the frameworks that deny at admission.
fn enforced(names: &[String], controls: &[Control], frameworks: &[Framework]) -> Result<Vec<Code>, LoadError> {
    let chosen = choose_frameworks(names, frameworks)?;
    let named = chosen.iter().flat_map(|framework| framework.controls.clone());
    let every = controls.iter().filter(|_| names.iter().any(|name| name == ALL)).map(|control| control.code.clone());
    Ok(named.chain(every).collect())
}

fn choose_frameworks(names: &[String], all: &[Framework]) -> Result<Vec<Framework>, LoadError> {
    let found = names.iter().map(|name| Ok(framework::find(name, all)?.cloned()));
    found.filter_map(Result::transpose).collect()
}

/// The controls named, or those of the frameworks named, or all.
fn select(controls: &[Control], ids: &[String], frameworks: &[Framework]) -> Result<Vec<Code>, LoadError> {
    let known: Vec<&str> = controls.iter().map(|control| control.code.as_str()).collect();
    if let Some(unknown) = ids.iter().find(|id| !known.contains(&id.as_str())) {
        let hint = did_you_mean(unknown, &known).map_or_else(String::new, |near| format!(" (did you mean '{near}'?)"));
        return Err(LoadError::NoSuchControl { name: unknown.clone(), hint });
    }
    let by_framework = |control: &&Control| {
        frameworks.is_empty() || frameworks.iter().any(|framework| framework.controls.contains(&control.code))
    };
    let by_id = |control: &&Control| ids.is_empty() || ids.iter().any(|id| id == control.code.as_str());
    let named = controls.iter().filter(by_id);
    match named.clone().find(|control| !ids.is_empty() && !by_framework(control)) {
        Some(outside) => Err(LoadError::NotInFrameworks { name: outside.code.to_string() }),
        None => Ok(named.filter(by_framework).map(|control| control.code.clone()).collect()),
    }
}

fn read_params(file: &Path, inputs: &mut Inputs<'_>) -> Result<Params, LoadError> {
    Ok(Params::read(&file.display().to_string(), &inputs.read(file)?)?)
}

fn read_image_policy(file: &Path, inputs: &mut Inputs<'_>) -> Result<(ImagePolicySpec, ImagePolicy), LoadError> {
    let shown = file.display().to_string();
    let bytes = inputs.read(file)?;
    let wrong = |message: &str| LoadError::WrongKind { file: shown.clone(), message: message.to_owned() };
    let mut documents = portreeve_api::documents(&shown, &bytes, &source::Limits::default(), known_codes());
    if documents.len() != 1 {
        return Err(wrong("an image policy file holds exactly one ImagePolicy"));
    }
    let document = documents.pop().ok_or_else(|| wrong("the file is empty"))??;
    let Document::ImagePolicy { node, .. } = document else {
        return Err(wrong("kind ImagePolicy is needed here"));
    };
    let mut problems = Problems::new(&shown);
    let decoded =
        Fields::of(&node, "spec", &mut problems).and_then(|fields| fields.finish_with(ImagePolicySpec::decode));
    let Some(spec) = decoded else {
        problems.into_result(())?;
        return Err(wrong("'spec' is missing"));
    };
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut read = |name: &str| inputs.read(&folder.join(name)).map_err(|error| error.to_string());
    let files = spec.files().into_iter().map(|name| (name.to_owned(), read(name))).collect();
    let policy = ImagePolicy::build(&spec, &files, problems)?;
    Ok((spec, policy))
}

impl Written {
    /// Reads a file of exceptions. One that cannot be read, or holds something else, is an error; an exception with a
    /// mistake excepts nothing and becomes a finding.
    fn with_exceptions(mut self, file: &Path, inputs: &mut Inputs<'_>, errors: &mut LoadErrors) -> Self {
        let shown = repository_path(file, repository_root().as_deref());
        let bytes = errors.take(inputs.read(file)).unwrap_or_default();
        for document in portreeve_api::documents(&shown, &bytes, &source::Limits::default(), known_codes()) {
            match document {
                Ok(Document::Exception(exception)) => self.exceptions.push(exception),
                Ok(Document::ImagePolicy { .. } | Document::Platform { .. }) => {
                    let message = "kind Exception or ClusterException is needed here, not another".to_owned();
                    errors.0.push(LoadError::WrongKind { file: shown.clone(), message });
                }
                Err(problems) => self.invalid.push(problems.into()),
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::load::parse;

    fn loaded(settings: &JudgeSettings) -> Rules {
        Rules::load(settings, &FileSource::WorkingTree).unwrap()
    }

    #[test]
    fn all_is_every_control_alone_and_beside_other_names() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let every = loaded(&JudgeSettings::default()).engine.controls().len();
        for frameworks in [names(&["all"]), names(&["nsa", "all"])] {
            let rules = loaded(&JudgeSettings { enforce: frameworks.clone(), frameworks, ..JudgeSettings::default() });
            assert_eq!(rules.engine.controls().len(), every);
            assert!(rules.enforced.len() >= every, "{:?}", rules.enforced);
        }
        assert!(
            loaded(&JudgeSettings { frameworks: names(&["nsa"]), ..JudgeSettings::default() }).engine.controls().len()
                < every
        );
    }

    #[test]
    fn a_control_outside_of_the_frameworks_named_beside_it_is_an_error() {
        let settings = |control: &str| JudgeSettings {
            frameworks: vec!["nsa".to_owned()],
            controls: vec!["C-0057".to_owned(), control.to_owned()],
            ..JudgeSettings::default()
        };
        assert_eq!(loaded(&settings("C-0016")).engine.controls().len(), 2);
        let said = Rules::load(&settings("PR-7001"), &FileSource::WorkingTree).map(|_| ()).unwrap_err().to_string();
        assert!(said.starts_with("PR-7001 is in none of the frameworks"), "{said}");
    }

    #[test]
    fn a_framework_that_denies_is_asked_though_it_is_not_among_those_asked() {
        let asked = |text: &str| {
            let read = parse(None, text.as_bytes().to_vec(), &BTreeMap::new(), &|_| Ok(())).unwrap();
            let rules = loaded(&JudgeSettings::of(&read.config));
            let asked = rules.engine.controls().iter().map(|control| control.code.clone()).collect::<Vec<_>>();
            assert!(rules.enforced.iter().all(|code| asked.contains(code)), "{text}");
            asked.len()
        };
        assert_eq!(
            asked("posture: {enforce: [pss-baseline]}\n"),
            loaded(&JudgeSettings::default()).engine.controls().len()
        );
        assert_eq!(asked("posture: {frameworks: [nsa], enforce: [pss-baseline]}\n"), 12 + 9);
    }

    #[test]
    fn key_files_that_cannot_be_read_are_told_with_the_other_mistakes_of_a_policy() {
        let folder = tempfile::tempdir().unwrap();
        let (file, list) = (folder.path().join("policy.yaml"), "list: [{name: k, key: {file: missing.pub}}]");
        let rule = format!("{{name: a, images: [quay.io/a], authorities: {{threshold: 0, {list}}}}}");
        let head = "apiVersion: portreeve.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {name: p}\nspec:\n  mode: block\n";
        std::fs::write(&file, format!("{head}  rules: [{rule}, {rule}]\n")).unwrap();
        let settings = JudgeSettings { image_policy: Some(file), ..JudgeSettings::default() };
        let said = Rules::load(&settings, &FileSource::WorkingTree).map(|_| ()).unwrap_err().to_string();
        for mistake in [
            "policy.yaml:5:9: 'spec.mode'",
            "threshold' must be 1 or more",
            "two rules have the name 'a'",
            "are equally specific",
            "key file 'missing.pub'",
        ] {
            assert!(said.contains(mistake), "{mistake}: {said}");
        }
    }

    #[test]
    fn a_framework_that_does_not_exist_is_an_error_with_a_hint() {
        let settings = JudgeSettings { enforce: vec!["nas".to_owned()], ..JudgeSettings::default() };
        let said = Rules::load(&settings, &FileSource::WorkingTree).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains("did you mean 'nsa'"), "{said}");
    }
}
