//! The shapes of the kinds.

use portreeve_trust::root::EmbeddedRoot;
use serde_json::{Value, json};

use crate::platform::MAX_COMPONENTS;
use crate::schema::{
    Field, boolean, day, integer, list, matching, object, one_of, optional, required, short_list, text, texts_by_name,
};

/// `spec` of an `Exception` and of a `ClusterException`; decoded by
/// [`portreeve_reports::exceptions::ExceptionSpec::decode`].
pub(super) fn exception() -> Value {
    let words = |about: &str| list(about, text("An exact name."));
    object(
        "Failures that an owner has accepted, for a reason, until a day.",
        [
            required(
                "codes",
                list(
                    "The questions whose failures are accepted.",
                    matching("A code, such as C-0016 or PR-1001.", "^(C|PR)-[0-9]{4}$"),
                ),
            ),
            optional(
                "subjects",
                object(
                    "What it is for; each list that is there must name the subject. Left out: everything in reach.",
                    [
                        optional("kinds", words("Kinds: of objects, or Image, File, Credential, Component.")),
                        optional("names", words("Names of objects, repositories of images, paths of files.")),
                        optional("containers", words("Names of containers.")),
                    ],
                ),
            ),
            required("owner", text("Who answers for it.")),
            optional("approvedBy", text("Who approved it.")),
            required("reason", text("Why the failures are accepted.")),
            required("expires", day("The last day on which it is in force, in UTC.")),
        ],
    )
}

/// `spec` of an `ImagePolicy`; decoded by [`portreeve_trust::policy::ImagePolicySpec::decode`].
pub(super) fn image_policy() -> Value {
    object(
        "Whose word counts for which image.",
        [
            optional("mode", mode("What a failure does, where a rule says nothing else. Default: enforce.")),
            optional(
                "noMatch",
                one_of("What happens to an image that no rule names. Default: deny.", &["deny", "warn", "allow"]),
            ),
            optional("trustRoots", list("Where keyless signatures are anchored.", trust_root())),
            required("rules", list("The most specific rule that names an image counts.", rule())),
        ],
    )
}

fn mode(about: &str) -> Value {
    one_of(about, &["audit", "warn", "enforce"])
}

fn trust_root() -> Value {
    let tuf = object(
        "A repository of The Update Framework.",
        [
            required("url", text("Its address.")),
            required("rootFile", text("The first root that is trusted.")),
            optional("maxStale", text("How old its data may be, such as 24h.")),
        ],
    );
    object(
        "A trust root: embedded, a file, its text, or a repository.",
        [
            required("name", text("What authorities call it.")),
            optional("embedded", one_of("One that is part of the program.", &EmbeddedRoot::WORDS)),
            optional(
                "trustedRootFile",
                text("A trusted_root.json beside the policy's file. In a custom resource, use trustedRootData."),
            ),
            optional("trustedRootData", text("The trusted_root.json itself.")),
            optional("tuf", tuf),
        ],
    )
}

fn rule() -> Value {
    object(
        "A rule: authorities, or a static answer.",
        [
            required("name", text("Its name in findings.")),
            required(
                "images",
                list("Repository patterns.", text("host/path; * is within a component, ** spans them.")),
            ),
            optional("namespaces", list("Namespaces that it is for. Default: all.", text("A pattern; * is any text."))),
            optional("mode", mode("What a failure of this rule does.")),
            optional("authorities", authorities()),
            optional("attestations", list("What else must be attested.", attestation())),
            optional(
                "platforms",
                one_of("What of an image index must be signed.", &["index", "index-or-child", "all-children"]),
            ),
            optional("static", static_answer()),
        ],
    )
}

fn authorities() -> Value {
    object(
        "Who may vouch for the images.",
        [
            optional("threshold", integer("How many of the list must have signed. Default: 1.", 1)),
            required("list", list("The authorities.", authority())),
        ],
    )
}

fn authority() -> Value {
    object(
        "A key or an identity.",
        [
            required("name", text("Its name in findings.")),
            optional("required", boolean("Whether it must be among those that signed.")),
            optional("key", key()),
            optional("keyless", keyless()),
        ],
    )
}

fn key() -> Value {
    object(
        "A public key.",
        [
            optional("file", text("A PEM file beside the policy's file. In a custom resource, use data.")),
            optional("data", text("The public key itself, as PEM.")),
            optional("notBefore", text("A date or timestamp before which the key does not count.")),
            optional("notAfter", text("A date or timestamp after which the key does not count.")),
            optional("log", demand("Whether an entry of a transparency log is needed. Default: optional.")),
            optional("trustRoot", text("The trust root that log entries and timestamps are checked against.")),
        ],
    )
}

fn demand(about: &str) -> Value {
    one_of(about, &["required", "optional"])
}

fn keyless() -> Value {
    object(
        "An identity that a certificate authority vouched for.",
        [
            optional("issuer", text("The issuer of the identity.")),
            optional("issuerRegexp", text("The same as an expression, which must match the whole.")),
            optional("subject", text("The identity.")),
            optional("subjectRegexp", text("The same as an expression, which must match the whole.")),
            optional("claims", texts_by_name("Other claims of the certificate.")),
            required("trustRoot", text("The trust root that certificates are anchored in.")),
            optional("log", demand("Whether an entry of a transparency log is needed. Default: required.")),
            optional(
                "sct",
                demand(
                    "Whether certificate transparency is needed; optional asks for it only where the trust root has logs for it. Default: required.",
                ),
            ),
        ],
    )
}

fn attestation() -> Value {
    object(
        "A signed statement about the image.",
        [
            required("name", text("Its name in findings.")),
            required("predicateType", text("The type of its predicate.")),
            optional("authorities", list("Names of the authorities that may have signed it.", text("A name."))),
            optional("maxAge", text("How old it may be, such as 90d.")),
            optional("cel", text("An expression over the predicate.")),
        ],
    )
}

fn static_answer() -> Value {
    let digest = matching("A digest.", "^sha256:[0-9a-f]{64}$");
    object(
        "An answer without signatures: digests that somebody vouches for, or none.",
        [
            optional("allow", list("Digests that may run; needs owner and expires.", digest)),
            optional("deny", boolean("Only true: nothing of it may run.")),
            optional("owner", text("Who answers for it.")),
            required("reason", text("Why.")),
            optional("expires", text("A date or timestamp until which it holds.")),
        ],
    )
}

/// `spec` of a `Platform`.
pub(super) fn platform() -> Value {
    // None is one, too: everything is to be taken down then, which needs to be confirmed.
    let mut components = short_list("The components.", MAX_COMPONENTS, component());
    components["minItems"] = 0.into();
    object(
        "The components that are deployed and kept as declared.",
        [
            optional("profile", one_of("For whom it is.", &["desktop", "team", "production", "airgap"])),
            optional("defaults", object("What components do unless they say otherwise.", keeping())),
            optional("gate", gate()),
            optional("maxPrune", integer("The most objects that one run deletes from all components.", 0)),
            required("components", components),
        ],
    )
}

/// What `defaults` and each component share.
fn keeping() -> [Field; 6] {
    [
        optional("drift", one_of("What is done about drift; quote off in YAML.", &["off", "warn", "correct"])),
        optional("prune", boolean("Whether objects that are no longer declared are deleted.")),
        optional(
            "retain",
            boolean("Whether claims, volumes, namespaces and definitions stay when others are deleted."),
        ),
        optional("adopt", boolean("Whether objects that are there and are nobody's of ours are taken over.")),
        optional("maxPrune", integer("The most objects that one run deletes.", 0)),
        optional("healthTimeout", text("How long a component may take to become healthy, such as 5m.")),
    ]
}

fn gate() -> Value {
    object(
        "What every component passes before it is applied.",
        [
            optional("frameworks", list("Framework ids.", text("An id."))),
            optional(
                "failOn",
                one_of("The least severity that keeps back.", &["critical", "high", "medium", "low", "none"]),
            ),
            optional("images", one_of("What a failing image does at most.", &["enforce", "warn", "audit"])),
        ],
    )
}

fn component() -> Value {
    let anything = json!({"description": "Values of a chart.", "type": "object",
        "x-kubernetes-preserve-unknown-fields": true});
    let source = object(
        "Where its objects come from.",
        [
            optional(
                "folder",
                text("A folder of manifests, relative to platform.folder of Portreeve's configuration."),
            ),
            optional("chart", text("A chart: a folder, an archive, or oci://.")),
        ],
    );
    let ignore = object(
        "Fields that others may change.",
        [
            required("kind", text("The kind of the objects.")),
            optional("name", text("The name of the object; all of the kind when left out.")),
            required("paths", list("JSON pointers.", text("A pointer, such as /spec/replicas."))),
        ],
    );
    let own = [
        required("name", text("Its name, unique in the platform.")),
        required("namespace", text("The namespace of its objects.")),
        optional("dependsOn", short_list("Components that must be healthy before.", MAX_COMPONENTS, text("A name."))),
        required("source", source),
        optional("values", anything),
        optional("ignore", list("What is no drift.", ignore)),
    ];
    let [name, namespace, depends_on, source, values, ignore] = own;
    let [drift, prune, retain, adopt, max_prune, health_timeout] = keeping();
    object(
        "A part of the platform that is applied and judged as a whole.",
        [name, namespace, depends_on, source, values, ignore, drift, prune, retain, adopt, max_prune, health_timeout],
    )
}

/// `status` of every kind: conditions, as other controllers have them.
pub(super) fn status() -> Value {
    let condition = object(
        "One thing that Portreeve says about the resource.",
        [
            required("type", text("What it is about.")),
            required("status", one_of("Whether it is so.", &["True", "False", "Unknown"])),
            optional("observedGeneration", integer("The generation that this is said of.", 0)),
            required(
                "lastTransitionTime",
                json!({"description": "When status last changed.", "type": "string", "format": "date-time"}),
            ),
            required("reason", text("One word of a closed list.")),
            required("message", json!({"description": "For people.", "type": "string"})),
        ],
    );
    let mut conditions = list("What Portreeve says about the resource.", condition);
    conditions["minItems"] = 0.into();
    conditions["x-kubernetes-list-type"] = "map".into();
    conditions["x-kubernetes-list-map-keys"] = json!(["type"]);
    object("Written by Portreeve.", [optional("conditions", conditions)])
}
