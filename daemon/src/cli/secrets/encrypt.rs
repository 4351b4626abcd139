//! `portreeve secrets encrypt`.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use portreeve_secrets::sops::{CreationRule, CreationRules, Document, Plain, Recipe, Recipient, Rule, Selection};

use super::file::{self, Staged};
use super::{Done, Refusal, SystemRandom, TargetArgs, exit_of, exits};

/// Most folders upward in which a `.sops.yaml` is looked for, as in sops.
const MAX_LEVELS: usize = 100;

/// Encrypt a file to standard output.
///
/// Examples:
///   portreeve secrets encrypt --in-place secrets/hub.yaml                the recipients of .sops.yaml
///   portreeve secrets encrypt --age age1… plain.yaml --output hub.yaml
///   portreeve secrets encrypt --age age1… --encrypted-regex '^(data|stringData)$' -i secret.yaml
///
/// Recipients are those of --age, else of SOPS_AGE_RECIPIENTS, else of the first creation rule for the file in the next
/// .sops.yaml from the working folder upward (or SOPS_CONFIG).
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct EncryptArgs {
    /// The file to encrypt.
    file: PathBuf,
    /// Who can open it: age1… keys, with commas between.
    #[arg(long, value_name = "RECIPIENT", value_delimiter = ',')]
    age: Vec<String>,
    #[command(flatten)]
    rules: SelectionArgs,
    #[command(flatten)]
    target: TargetArgs,
    /// Say what would be done, and write nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What is encrypted; at most one.
#[derive(Debug, Args)]
#[group(multiple = true)]
struct SelectionArgs {
    /// Encrypt only what follows a comment that matches.
    #[arg(long, value_name = "REGEX")]
    encrypted_comment_regex: Option<String>,
    /// Encrypt only values below keys that match.
    #[arg(long, value_name = "REGEX")]
    encrypted_regex: Option<String>,
    /// Encrypt only values below keys with this end.
    #[arg(long, value_name = "SUFFIX")]
    encrypted_suffix: Option<String>,
    /// Leave clear what follows a comment that matches.
    #[arg(long, value_name = "REGEX")]
    unencrypted_comment_regex: Option<String>,
    /// Leave clear values below keys that match.
    #[arg(long, value_name = "REGEX")]
    unencrypted_regex: Option<String>,
    /// Leave clear values below keys with this end [default: _unencrypted].
    #[arg(long, value_name = "SUFFIX")]
    unencrypted_suffix: Option<String>,
    /// Have the MAC cover encrypted values only.
    #[arg(long)]
    mac_only_encrypted: bool,
}

impl SelectionArgs {
    /// The rule that was given.
    fn rule(&self) -> Result<Option<Rule>, Refusal> {
        let texts = [
            &self.encrypted_comment_regex,
            &self.encrypted_regex,
            &self.encrypted_suffix,
            &self.unencrypted_comment_regex,
            &self.unencrypted_regex,
            &self.unencrypted_suffix,
        ];
        let given = Rule::KEYS.iter().zip(texts).filter_map(|(key, text)| Rule::of(key, text.as_deref()?));
        let given: Vec<Rule> = given.collect();
        if given.len() > 1 {
            let message = "give at most one of the --encrypted-… and --unencrypted-… rules";
            return Err(Refusal::new(exits::CONFLICT, message));
        }
        Ok(given.into_iter().next())
    }
}

/// Runs the command.
pub(super) fn run(args: &EncryptArgs) -> Done {
    file::only_yaml(&args.file)?;
    let refused = |error| Refusal::of(&args.file, &error);
    let recipe = recipe(args)?;
    let _held = args.target.hold(&args.file)?;
    let bytes = file::read(&args.file)?;
    let plain = Plain::read(bytes.expose()).map_err(refused)?;
    let document = Document::encrypt(&plain, &recipe, Timestamp::now(), &mut SystemRandom::new()).map_err(refused)?;
    let text = document.to_yaml().map_err(refused)?;
    if args.dry_run {
        file::say(&format!("would encrypt {} for {}", args.file.display(), document.recipients().join(", ")));
        return Ok(0);
    }
    match (&args.target.output, args.target.in_place) {
        (Some(output), _) => Staged::write_private(output, &text)?.commit()?,
        (None, true) => file::replace(&args.file, &bytes, &text)?,
        (None, false) => file::print(&text.into())?,
    }
    Ok(0)
}

/// Flags over the environment over the creation rule.
fn recipe(args: &EncryptArgs) -> Result<Recipe, Refusal> {
    let refused = |error: portreeve_secrets::sops::Error| Refusal::new(exit_of(error.kind), error);
    let rule = args.rules.rule()?;
    let from_environment = std::env::var("SOPS_AGE_RECIPIENTS").unwrap_or_default();
    let named: Vec<&str> = if args.age.is_empty() {
        from_environment.split(',').map(str::trim).filter(|word| !word.is_empty()).collect()
    } else {
        args.age.iter().map(String::as_str).collect()
    };
    let ruled = creation_rule(&args.file)?;
    let mut recipe = match (named.as_slice(), &ruled) {
        ([], Some(ruled)) => ruled.recipe().map_err(refused)?,
        ([], None) => {
            let message = "no recipients: name them by --age, SOPS_AGE_RECIPIENTS, or a creation rule of .sops.yaml that \
                           matches the file";
            return Err(Refusal::new(exits::GENERIC, message));
        }
        (named, ruled) => {
            let default = || Selection::new(None, false);
            let selection = ruled.as_ref().map_or_else(default, |ruled| Ok(ruled.selection().clone()));
            let recipients = named.iter().map(|word| Recipient::parse(word)).collect::<Result<_, _>>();
            Recipe { recipients: recipients.map_err(refused)?, selection: selection.map_err(refused)? }
        }
    };
    if rule.is_some() || args.rules.mac_only_encrypted {
        let rule = rule.unwrap_or_else(|| recipe.selection.rule().clone());
        let only_encrypted = args.rules.mac_only_encrypted || recipe.selection.mac_only_encrypted;
        recipe.selection = Selection::new(Some(rule), only_encrypted).map_err(refused)?;
    }
    Ok(recipe)
}

/// The first creation rule for a file.
fn creation_rule(path: &Path) -> Result<Option<CreationRule>, Refusal> {
    let Some(config) = find_config()? else { return Ok(None) };
    let bytes = file::read(&config)?;
    let rules = CreationRules::read(bytes.expose(), &config.display().to_string())
        .map_err(|error| Refusal::new(exits::CONFIG, error))?;
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let path = absolute(path);
    let folder = absolute(config.parent().unwrap_or(Path::new(".")));
    // A file elsewhere is matched by its whole path.
    let relative = path.strip_prefix(&folder).unwrap_or(&path);
    Ok(rules.for_path(&relative.to_string_lossy()).cloned())
}

/// `SOPS_CONFIG`, or the next `.sops.yaml` from the working folder upward.
fn find_config() -> Result<Option<PathBuf>, Refusal> {
    if let Some(path) = std::env::var_os("SOPS_CONFIG").filter(|path| !path.is_empty()) {
        return Ok(Some(PathBuf::from(path)));
    }
    let folder = std::env::current_dir()
        .map_err(|error| Refusal::new(exits::CONFIG, format_args!("the working folder cannot be told: {error}")))?;
    Ok(folder.ancestors().take(MAX_LEVELS).map(|folder| folder.join(".sops.yaml")).find(|path| path.is_file()))
}
