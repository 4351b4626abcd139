use super::*;

fn parse(text: &str) -> Result<Providers, String> {
    let folder = tempfile::tempdir().unwrap();
    for name in ["ecr", "acr"] {
        std::fs::copy("/bin/sh", folder.path().join(name)).unwrap();
    }
    Providers::parse(text.as_bytes(), "providers.yaml", folder.path())
        .map_err(|problems| problems.to_string().replace(&folder.path().display().to_string(), "BIN"))
}

const GOOD: &str = "apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: ecr
    matchImages: ['*.dkr.ecr.*.amazonaws.com', 'public.ecr.aws/team']
    defaultCacheDuration: 12h0m0s
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    args: [get-credentials]
    env: [{name: AWS_PROFILE, value: pulls}]
  - {name: acr, matchImages: ['*.azurecr.io'], defaultCacheDuration: 0s, apiVersion: credentialprovider.kubelet.k8s.io/v1}
";

#[test]
fn a_configuration_of_kubelet_is_read_as_it_is() {
    let providers = parse(GOOD).unwrap();
    let names = |image| providers.of_image(image).map(|(index, it)| format!("{index} {}", it.name)).collect::<Vec<_>>();
    assert_eq!(names("1.dkr.ecr.eu-west-1.amazonaws.com/a"), ["0 ecr"]);
    assert_eq!(names("public.ecr.aws/team/a"), ["0 ecr"]);
    assert_eq!(names("x.azurecr.io/a"), ["1 acr"]);
    assert_eq!(names("docker.io/library/nginx"), [""; 0]);
    assert_eq!(providers.0[0].environment, [("AWS_PROFILE".to_owned(), "pulls".to_owned())]);
    assert_eq!(providers.0[0].lifetime, Duration::from_secs(12 * 3600));
}

#[test]
fn all_mistakes_of_a_configuration_are_told_at_once() {
    let text = "apiVersion: kubelet.config.k8s.io/v2
kind: CredentialProviderConfig
providers:
  - name: ../sh
    matchImages: ['a.io/*', 'b.io']
    defaultCacheDuration: soon
    apiVersion: credentialprovider.kubelet.k8s.io/v1alpha1
    arg: [x]
  - name: gone
    matchImages: []
    defaultCacheDuration: 1m
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    tokenAttributes: {serviceAccountTokenAudience: x}
";
    let said = parse(text).unwrap_err();
    for expected in [
        "providers.yaml:1:13: 'apiVersion': 'kubelet.config.k8s.io/v2' is not understood",
        "'providers[0].name': it is the name of a program, not a path",
        "'a.io/*' is no pattern of images: '*' and '?' stand in hosts only",
        "'soon' is not a duration",
        "'credentialprovider.kubelet.k8s.io/v1alpha1' is not understood",
        "unknown key 'providers[0].arg'; did you mean 'args'?",
        "there is no program 'gone' in BIN",
        "'matchImages' has 0 items",
        "'tokenAttributes' is not supported",
    ] {
        assert!(said.contains(expected), "{expected} in:\n{said}");
    }
    assert!(parse("").is_err() && parse("[]").is_err() && parse("providers: []").is_err());
    let twice = GOOD.replace("name: acr", "name: ecr");
    assert!(parse(&twice).unwrap_err().contains("there twice"));
}

#[test]
fn the_longest_path_of_an_answer_wins_and_other_hosts_get_nothing() {
    let providers = parse(GOOD).unwrap();
    let response = json!({
        "apiVersion": VERSION, "kind": "CredentialProviderResponse", "cacheKeyType": "Registry", "cacheDuration": "1h30m",
        "auth": {
            "r.io": {"username": "all", "password": "p"},
            "r.io/team": {"username": "team", "password": "p"},
            "*.r.io": {"username": "below", "password": "p"},
            "https://index.docker.io/v1/": {"username": "hub", "password": "p"},
        }
    });
    let told = providers.0[0].told(serde_json::from_value(response).unwrap()).unwrap();
    assert_eq!((told.reach, told.lifetime), (Reach::Registry, Duration::from_secs(5400)));
    let user = |image| told.credentials(image).and_then(|found| found.password().map(|(name, _)| name.to_owned()));
    for (image, expected) in [
        ("r.io/a", Some("all")),
        ("r.io/team/a", Some("team")),
        ("x.r.io/a", Some("below")),
        ("docker.io/library/nginx", Some("hub")),
        ("evil.io/r.io", None),
        ("r.io:5000/a", None),
    ] {
        assert_eq!(user(image).as_deref(), expected, "{image}");
    }
}

#[test]
fn an_answer_of_another_protocol_is_none() {
    let providers = parse(GOOD).unwrap();
    let answer = |version: &str, kind: &str, duration: &str| {
        let response = json!({"apiVersion": version, "kind": kind, "cacheKeyType": "Image", "cacheDuration": duration});
        providers.0[0].told(serde_json::from_value(response).unwrap()).is_some()
    };
    assert!(answer(VERSION, "CredentialProviderResponse", "0s"));
    assert!(!answer("credentialprovider.kubelet.k8s.io/v1beta1", "CredentialProviderResponse", "0s"));
    assert!(!answer(VERSION, "CredentialProviderRequest", "0s"));
    assert!(!answer(VERSION, "CredentialProviderResponse", "-5m"));
    assert!(!answer(VERSION, "CredentialProviderResponse", "later"));
}
