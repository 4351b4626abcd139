//! From an object to what it holds. The type of a Secret says what is under its keys; all other values are looked into.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use portreeve_reports::source::node::{Entry, Map};
use portreeve_reports::source::{Node, Place, Value};
use portreeve_reports::{Cause, Location, ObjectRef};

use super::keys::Guard;
use super::{Class, Credential, Expiry, Nature, certificate, jwt, keys, kubeconfig, registry};

/// The largest value that is looked into: an API server takes no larger objects.
const MAX_VALUE: usize = 1 << 20;
/// The most credentials of one object. What is beyond is said, not judged.
const MAX_CREDENTIALS: usize = 256;
/// How SOPS writes an encrypted value.
const SOPS: &str = "ENC[AES256_GCM,";

/// Whether the values of a Secret may be looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// They may.
    Read,
    /// Only type, names and keys are known; what needs a value is `unknown: not-visible`.
    Hidden,
}

/// Whether objects of that group and kind are looked into.
pub fn holds_credentials(group: &str, kind: &str) -> bool {
    group.is_empty() && matches!(kind, "Secret" | "ConfigMap")
}

/// The credentials of a Secret or ConfigMap, in the order of their keys. `file` is where it was read from. A value that
/// makes a parser panic is an error of its holder; the other objects are looked into all the same.
pub fn inspect(holder: &ObjectRef, root: &Node, file: Option<&Arc<str>>, values: Values) -> Vec<Credential> {
    if !holds_credentials(holder.group(), &holder.kind) {
        return Vec::new();
    }
    guarded(|| Found::new(holder, root, file, values), all)
}

/// What `look` finds, or that it broke.
pub(super) fn guarded<'a>(found: impl Fn() -> Found<'a>, look: fn(Found<'a>) -> Vec<Credential>) -> Vec<Credential> {
    catch_unwind(AssertUnwindSafe(|| look(found()))).unwrap_or_else(|_| {
        let mut broken = found();
        broken.push(Class::Jwt, "*", None, Life::until(Expiry::Broken));
        broken.credentials
    })
}

fn all(mut found: Found<'_>) -> Vec<Credential> {
    let (root, is_secret) = (found.root, found.is_secret);
    let kind = root.get("type").and_then(Node::as_str).unwrap_or_default();
    let data = data(root, is_secret);
    let typed = if is_secret { found.typed(kind, &data) } else { &[] };
    for (key, value) in data.iter().filter(|(key, _)| !typed.contains(key)) {
        found.look_into(key, value);
    }
    found.credentials
}

/// The object without its data, and without the annotations that may repeat them: what may be kept of a Secret.
pub fn redacted(root: &Node) -> Node {
    let kept = ["apiVersion", "kind", "metadata", "type", "immutable"];
    let without = |node: &Node, keep: &dyn Fn(&str) -> bool| {
        let entries = node.as_map().into_iter().flat_map(Map::iter).filter(|entry| keep(&entry.key));
        Node { value: Value::Map(Arc::new(Map::new(entries.cloned().collect()).unwrap_or_default())), ..node.clone() }
    };
    let object = without(root, &|key| kept.contains(&key));
    let Some(metadata) = object.get("metadata").filter(|metadata| metadata.as_map().is_some()) else { return object };
    let metadata = without(metadata, &|key| key != "annotations" && key != "managedFields");
    let replaced = |entry: &Entry| match &*entry.key {
        "metadata" => Entry { node: metadata.clone(), ..entry.clone() },
        _ => entry.clone(),
    };
    let entries = object.as_map().into_iter().flat_map(Map::iter).map(replaced).collect();
    Node { value: Value::Map(Arc::new(Map::new(entries).unwrap_or_default())), place: object.place }
}

/// A name out of a value, when it is made of what such names are made of.
pub(super) fn plain_name(name: &str) -> Option<&str> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "@._:/-".contains(character);
    ((1..=120).contains(&name.len()) && name.chars().all(is_plain)).then_some(name)
}

/// A value of the data.
struct Datum<'a> {
    text: &'a str,
    is_base64: bool,
    place: Place,
}

impl<'a> Datum<'a> {
    /// The bytes, or why there are none.
    fn bytes(&self) -> Result<Cow<'a, [u8]>, Expiry> {
        let unknown = |cause, why| Err(Expiry::Unknown(cause, why));
        if self.text.starts_with(SOPS) {
            return unknown(Cause::NotVisible, "it is encrypted with SOPS");
        }
        if self.text.len() > MAX_VALUE * 4 / 3 + 4 || (!self.is_base64 && self.text.len() > MAX_VALUE) {
            return unknown(Cause::TooLarge, "the value is larger than an API server takes");
        }
        if !self.is_base64 {
            return Ok(Cow::Borrowed(self.text.as_bytes()));
        }
        // People wrap base64 in manifests; the API server takes line breaks, too.
        let compact: String = self.text.chars().filter(|character| !character.is_ascii_whitespace()).collect();
        match STANDARD.decode(compact) {
            Ok(bytes) => Ok(Cow::Owned(bytes)),
            Err(_) => unknown(Cause::Unreadable, "the value is not base64"),
        }
    }
}

/// All values by key. `stringData` is laid over `data`, as the API server does.
fn data(root: &Node, is_secret: bool) -> BTreeMap<&str, Datum<'_>> {
    let maps =
        if is_secret { [("data", true), ("stringData", false)] } else { [("binaryData", true), ("data", false)] };
    let mut all = BTreeMap::new();
    for (field, is_base64) in maps {
        for entry in root.get(field).and_then(Node::as_map).into_iter().flat_map(Map::iter) {
            if let Some(text) = entry.node.as_str() {
                all.insert(&*entry.key, Datum { text, is_base64, place: entry.node.place });
            }
        }
    }
    all
}

pub(super) struct Found<'a> {
    holder: &'a ObjectRef,
    root: &'a Node,
    file: Option<&'a Arc<str>>,
    is_secret: bool,
    values: Values,
    credentials: Vec<Credential>,
}

/// What a value says of itself.
struct Life {
    issued: Option<Timestamp>,
    valid_from: Option<Timestamp>,
    expires: Expiry,
    nature: Nature,
    facts: Vec<(&'static str, String)>,
}

impl Life {
    /// One that says no more than when it ends.
    fn until(expires: Expiry) -> Self {
        Self { issued: None, valid_from: None, expires, nature: Nature::Dated, facts: Vec::new() }
    }

    /// One that does not end, and may be guarded.
    fn guarded(guard: Guard) -> Self {
        let unreadable = Expiry::Unknown(Cause::Unreadable, "it is not a private key that can be read");
        match guard {
            Guard::Plain => Self::until(Expiry::Never),
            Guard::Unreadable => Self::until(unreadable),
            Guard::Device | Guard::Passphrase => Self { nature: Nature::Guarded, ..Self::until(Expiry::Never) },
        }
    }

    fn fact(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.facts.push((name, value.into()));
        self
    }
}

impl<'a> Found<'a> {
    pub(super) fn new(holder: &'a ObjectRef, root: &'a Node, file: Option<&'a Arc<str>>, values: Values) -> Self {
        Self { holder, root, file, is_secret: holder.kind == "Secret", values, credentials: Vec::new() }
    }
}

impl Found<'_> {
    /// What the type of a Secret says about its keys; those that need no second look.
    fn typed(&mut self, kind: &str, data: &BTreeMap<&str, Datum<'_>>) -> &'static [&'static str] {
        match kind {
            "kubernetes.io/service-account-token" => {
                self.service_account_token(data);
                &["token", "namespace", "ca.crt"]
            }
            "kubernetes.io/tls" => {
                self.certificate("tls.crt", data.get("tls.crt"));
                &["tls.crt", "tls.key"]
            }
            "kubernetes.io/dockerconfigjson" => {
                self.logins(".dockerconfigjson", data, true);
                &[".dockerconfigjson"]
            }
            "kubernetes.io/dockercfg" => {
                self.logins(".dockercfg", data, false);
                &[".dockercfg"]
            }
            "bootstrap.kubernetes.io/token" => {
                self.bootstrap_token(data);
                &["token-id", "token-secret", "expiration"]
            }
            "kubernetes.io/basic-auth" => {
                self.push(Class::BasicAuth, "password", data.get("password"), Life::until(Expiry::Never));
                &["username", "password"]
            }
            "kubernetes.io/ssh-auth" => {
                self.ssh_key(data);
                &["ssh-privatekey"]
            }
            _ => &[],
        }
    }

    fn service_account_token(&mut self, data: &BTreeMap<&str, Datum<'_>>) {
        let text = |path: [&str; 3]| self.root.at(path).and_then(Node::as_str).and_then(plain_name).map(str::to_owned);
        let facts = [
            ("service account", text(["metadata", "annotations", "kubernetes.io/service-account.name"])),
            ("last used", text(["metadata", "labels", "kubernetes.io/legacy-token-last-used"])),
            ("invalid since", text(["metadata", "labels", "kubernetes.io/legacy-token-invalid-since"])),
        ];
        let facts = facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let life = Life { facts, ..Life::until(Expiry::Never) };
        self.push(Class::ServiceAccountToken, "token", data.get("token"), life);
    }

    fn certificate(&mut self, key: &str, datum: Option<&Datum<'_>>) {
        let life = match self.bytes(datum) {
            Ok(bytes) => {
                let certificate::Chain { valid_from, expires, count } = certificate::chain(&bytes);
                let life = Life { issued: valid_from, valid_from, ..Life::until(expires) };
                life.fact("certificates", count.to_string())
            }
            Err(expiry) => Life::until(expiry),
        };
        self.push(Class::TlsCertificate, key, datum, life);
    }

    fn logins(&mut self, key: &str, data: &BTreeMap<&str, Datum<'_>>, is_wrapped: bool) {
        let datum = data.get(key);
        let logins = self.bytes(datum).and_then(|bytes| {
            let unreadable = Expiry::Unknown(Cause::Unreadable, "it is not a Docker configuration that can be read");
            registry::logins(&bytes, is_wrapped).ok_or(unreadable)
        });
        match logins {
            Ok(logins) => {
                for login in logins {
                    let life = Life { issued: login.issued, nature: login.nature, ..Life::until(login.expires) };
                    let key = format!("{key}[{}]", login.host);
                    self.push(Class::RegistryCredential, &key, datum, life.fact("kind", login.kind));
                }
            }
            Err(expiry) => self.push(Class::RegistryCredential, key, datum, Life::until(expiry)),
        }
    }

    fn bootstrap_token(&mut self, data: &BTreeMap<&str, Datum<'_>>) {
        let created = self.root.at(["metadata", "creationTimestamp"]).and_then(Node::as_str);
        let expires = match data.get("expiration").map(|datum| self.bytes(Some(datum))) {
            None => Expiry::Never,
            Some(Err(expiry)) => expiry,
            Some(Ok(bytes)) => time(&bytes)
                .map_or(Expiry::Unknown(Cause::Unreadable, "its expiration is no date of RFC 3339"), Expiry::At),
        };
        let issued = created.and_then(|text| time(text.as_bytes()));
        let life = Life { issued, ..Life::until(expires) };
        self.push(Class::BootstrapToken, "token-secret", data.get("token-secret"), life);
    }

    fn ssh_key(&mut self, data: &BTreeMap<&str, Datum<'_>>) {
        let datum = data.get("ssh-privatekey");
        let life = match self.bytes(datum) {
            Ok(bytes) => {
                let guard = std::str::from_utf8(&bytes).ok().and_then(keys::private_key);
                Life::guarded(guard.unwrap_or(Guard::Unreadable))
            }
            Err(expiry) => Life::until(expiry),
        };
        self.push(Class::PrivateKey, "ssh-privatekey", datum, life);
    }

    /// A value whose type nobody says.
    fn look_into(&mut self, key: &str, datum: &Datum<'_>) {
        let bytes = match self.bytes(Some(datum)) {
            Ok(bytes) => bytes,
            // What is in it is not known; a token is what may be in any value.
            Err(expiry @ Expiry::Unknown(Cause::TooLarge, _)) => {
                return self.push(Class::Jwt, key, Some(datum), Life::until(expiry));
            }
            Err(_) => return,
        };
        if self.is_secret && certificate::is_in(&bytes) {
            self.certificate(key, Some(datum));
        }
        // Binary values are no tokens and no configurations.
        let Ok(text) = std::str::from_utf8(&bytes) else { return };
        let is_misplaced = !self.is_secret || text.contains("OPENSSH PRIVATE KEY");
        if let Some(guard) = keys::private_key(text).filter(|_| is_misplaced) {
            self.push(Class::PrivateKey, key, Some(datum), Life::guarded(guard));
        }
        if let Some((count, guard)) = keys::age_identities(text) {
            let life = Life::guarded(guard).fact("identities", count.to_string());
            self.push(Class::AgeIdentity, key, Some(datum), life);
        }
        match kubeconfig::logins(text) {
            Some(logins) => self.kubeconfig(key, datum, logins),
            None => self.tokens(key, datum, text),
        }
    }

    fn kubeconfig(&mut self, key: &str, datum: &Datum<'_>, logins: Vec<kubeconfig::Login>) {
        for login in logins {
            let life = Life { issued: login.issued, valid_from: login.valid_from, ..Life::until(login.expires) };
            let key = format!("{key}.{}", login.path);
            self.push(Class::Kubeconfig, &key, Some(datum), life.fact("kind", login.kind));
        }
    }

    fn tokens(&mut self, key: &str, datum: &Datum<'_>, text: &str) {
        for (index, token) in jwt::find(text).into_iter().enumerate() {
            // The first keeps the name of the key, so that a second beside it does not make it another.
            let key = if index == 0 { key.to_owned() } else { format!("{key}[{}]", index + 1) };
            let facts = token.bound_to.map(|kind| ("bound to", kind.to_owned())).into_iter().collect();
            let life = Life { issued: token.issued, valid_from: token.valid_from, facts, ..Life::until(token.expires) };
            self.push(Class::Jwt, &key, Some(datum), life);
        }
    }

    fn bytes<'d>(&self, datum: Option<&Datum<'d>>) -> Result<Cow<'d, [u8]>, Expiry> {
        match (self.values, datum) {
            (Values::Hidden, _) => Err(Expiry::Unknown(Cause::NotVisible, "values of Secrets are not read")),
            (Values::Read, None) => {
                Err(Expiry::Unknown(Cause::Unreadable, "the key that its type asks for is missing"))
            }
            (Values::Read, Some(datum)) => datum.bytes(),
        }
    }

    fn push(&mut self, class: Class, key: &str, datum: Option<&Datum<'_>>, life: Life) {
        if self.credentials.len() > MAX_CREDENTIALS {
            return;
        }
        let is_last = self.credentials.len() == MAX_CREDENTIALS;
        let beyond = Expiry::Unknown(Cause::TooLarge, "there are more credentials in the object than are judged");
        let (key, life) = if is_last { ("*", Life::until(beyond)) } else { (key, life) };
        let place = datum.map_or(self.root.place, |datum| datum.place);
        self.credentials.push(Credential {
            class,
            holder: self.holder.clone(),
            team: self.team(),
            key: key.to_owned(),
            place: self.location(key, place),
            issued: life.issued,
            valid_from: life.valid_from,
            expires: life.expires,
            nature: life.nature,
            facts: life.facts,
        });
    }

    /// The team that owns the holder, from its labels.
    fn team(&self) -> Option<String> {
        let labels = self.root.at(["metadata", "labels"])?;
        let label = labels.get("portreeve.dev/owner").or_else(|| labels.get("app.kubernetes.io/part-of"))?;
        label.as_str().map(str::to_owned)
    }

    /// `data['tls.crt']`, as it is in the cluster, wherever a manifest writes it.
    fn location(&self, key: &str, place: Place) -> Location {
        let key = key.split('[').next().unwrap_or(key);
        let is_known = place.line > 0;
        Location {
            object_path: format!("data['{key}']"),
            object: None,
            file: self.file.cloned(),
            line: is_known.then_some(place.line),
            column: is_known.then_some(place.column),
        }
    }
}

/// A time of RFC 3339.
fn time(text: &[u8]) -> Option<Timestamp> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}
