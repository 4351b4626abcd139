//! `portreeve image check` on the built binary: images that are built byte by byte, pushed and pulled by the real
//! crane, in real registries, as layouts and as archives.

use std::fs;
use std::path::{Path, PathBuf};

use portreeve_tests::OrFail as _;
use portreeve_tests::binary::Output;
use portreeve_tests::desk::Desk;
use portreeve_tests::image_layout::{Image, Layer, Layout, digest, gzip};
use portreeve_tests::process::{run, scratch};
use portreeve_tests::registry::Registry;
use serde_json::{Value, json};

const PACKAGES: &str = "opt/conda/envs/default/lib/python3.12/site-packages";

fn path(path: &Path) -> &str {
    path.to_str().or_fail("a path of a test is UTF-8")
}

/// `portreeve image check … --format json`.
fn check(arguments: &[&str]) -> Output {
    let mut all = vec!["image", "check", "--format", "json", "--all-verdicts", "--max-age", "36500"];
    all.extend(arguments);
    Desk::new().run(&all)
}

fn check_layout(layout: &Layout, more: &[&str]) -> Output {
    let target = format!("oci:{}", path(layout.folder()));
    let mut arguments = vec![target.as_str()];
    arguments.extend(more);
    check(&arguments)
}

/// Code, part of the question, verdict, cause and places of every finding, in order.
fn told(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().or_fail_some("findings");
    let line = |finding: &Value| {
        let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let places = finding["locations"].as_array().or_fail_some("locations");
        let places: Vec<&str> = places.iter().filter_map(|place| place["objectPath"].as_str()).collect();
        format!("{} {} {} {} {}", text("code"), text("check"), text("verdict"), text("cause"), places.join(","))
    };
    let mut told: Vec<String> = findings.iter().map(line).collect();
    told.sort();
    told
}

/// Those that failed, as `code check places`.
fn failures(report: &Value) -> Vec<String> {
    let failed = told(report).into_iter().filter(|line| line.contains(" fail "));
    failed.map(|line| line.replace(" fail  ", " ")).collect()
}

trait OrFailSome<T> {
    fn or_fail_some(self, what: &str) -> T;
}

impl<T> OrFailSome<T> for Option<T> {
    fn or_fail_some(self, what: &str) -> T {
        self.ok_or("is not there").or_fail(what)
    }
}

fn causes(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().or_fail_some("findings");
    let mut causes: Vec<String> =
        findings.iter().filter_map(|finding| finding["cause"].as_str().map(str::to_owned)).collect();
    causes.sort();
    causes.dedup();
    causes
}

/// The image of a server that is as it should be.
fn good_lab() -> Image {
    let tools = ["sh", "bash", "ln", "printf", "mkdir"];
    let system = Layer::default().folder("usr/bin", 0o755).link("bin", "usr/bin");
    let system = tools.iter().fold(system, |layer, tool| layer.file(&format!("usr/bin/{tool}"), 0o755, "ELF"));
    let system = system
        .file("usr/lib/x86_64-linux-gnu/libnss_wrapper.so", 0o644, "ELF")
        .file("etc/passwd", 0o644, "root:x:0:0::/root:/bin/bash\n")
        .file("var/lib/dpkg/status", 0o644, "Package: bash\nStatus: install ok installed\nVersion: 5.2\n")
        .folder("tmp", 0o1777);
    let packages = [
        "jupyterhub-5.3.0",
        "jupyter_server-2.14.1",
        "jupyterlab-4.2.5",
        "nb_conda_kernels-2.5.1",
        "argo_jupyter_scheduler-1.0",
    ];
    let named =
        |layer: Layer, name: &&str| layer.file(&format!("{PACKAGES}/{name}.dist-info/METADATA"), 0o644, "Name: x\n");
    let conda = packages.iter().fold(Layer::default(), named);
    let conda = conda
        .file("opt/conda/envs/default/bin/jupyterhub-singleuser", 0o755, "#!/opt/conda/envs/default/bin/python\n")
        .file("opt/conda/envs/default/bin/python", 0o755, "ELF");
    let labels = json!({
        "org.opencontainers.image.source": "https://example.org/lab",
        "org.opencontainers.image.revision": "abc",
        "org.opencontainers.image.base.name": "docker.io/library/ubuntu:24.04",
        "org.opencontainers.image.base.digest": format!("sha256:{}", "a".repeat(64)),
        "dev.portreeve.image.kind": "jupyterlab",
    });
    Image::new()
        .layer("RUN apt-get install -y libnss-wrapper # buildkit", system)
        .layer("RUN mamba env create # buildkit", conda)
        .with("Env", json!(["PATH=/opt/conda/envs/default/bin:/usr/bin:/bin"]))
        .with("Cmd", json!(["jupyterhub-singleuser"]))
        .with("Labels", labels)
}

fn private_key() -> String {
    let pair = rcgen::KeyPair::generate().or_fail("a key");
    pair.serialize_pem()
}

fn github_token() -> String {
    format!("ghp_{}", "aB3x".repeat(9))
}

/// An image with most of what must not be.
fn bad() -> (Image, Vec<String>) {
    let (key, token) = (private_key(), github_token());
    let values = vec![
        token.clone(),
        "s3cr3t-argument".to_owned(),
        "hunter2".to_owned(),
        key.lines().nth(1).or_fail_some("a body").to_owned(),
    ];
    let image = Image::new()
        .layer(
            "RUN |1 DB_PASSWORD=s3cr3t-argument /bin/sh -c curl -fsSL https://x.example.org/i.sh | bash # buildkit",
            Layer::default().file("opt/tool", 0o4755, "x"),
        )
        .layer(
            "COPY . /srv # buildkit",
            Layer::default().file("srv/id.pem", 0o600, key).file(
                "srv/.netrc",
                0o600,
                format!("machine x login y password {token}"),
            ),
        )
        .layer(
            "RUN rm /srv/id.pem # buildkit",
            Layer::default().file("srv/.wh.id.pem", 0o600, "").file("srv/open", 0o666, "x"),
        )
        .step("ADD https://x.example.org/a /a # buildkit")
        .with("User", json!(""))
        .with("Env", json!(["PATH=.:/usr/bin", "API_TOKEN=hunter2"]))
        .with("Cmd", json!(["/bin/sh", "-c", "jupyter lab --allow-root"]));
    (image, values)
}

/// The same image in a registry, and what crane makes of it on disk.
fn in_all_forms(registry: &Registry, layout: &Layout) -> (String, [PathBuf; 2]) {
    let image = format!("{}/demo/lab:1", registry.host());
    run(registry.crane().args(["push", path(layout.folder()), &image]));
    let folder = scratch("pulled");
    let (oci, archive) = (folder.join("layout"), folder.join("image.tar"));
    run(registry.crane().args(["pull", "--format=oci", &image, path(&oci)]));
    run(registry.crane().args(["pull", "--format=tarball", &image, path(&archive)]));
    (image, [oci, archive])
}

#[tokio::test]
async fn an_image_is_judged_alike_in_registries_layouts_and_archives_and_no_value_is_shown() {
    let (image, values) = bad();
    let folder = scratch("bad");
    let layout = image.layout(&folder);
    let direct = check_layout(&layout, &[]).expect_exit(13);
    let expected = told(&direct.json());
    for code in
        ["PR-2010", "PR-2012", "PR-2013", "PR-2021", "PR-2030", "PR-2031", "PR-2032", "PR-2033", "PR-2040", "PR-2041"]
    {
        assert!(
            failures(&direct.json()).iter().any(|line| line.starts_with(code)),
            "{code}: {:?}",
            failures(&direct.json())
        );
    }
    for registry in [Registry::with_referrers().await, Registry::with_sign_in().await] {
        let (image, [oci, archive]) = in_all_forms(&registry, &layout);
        let compressed = archive.with_extension("tar.gz");
        fs::write(&compressed, gzip(&fs::read(&archive).or_fail("an archive"))).or_fail("a compressed archive");
        let plain_http = ["--plain-http", registry.host()];
        let mut pull =
            Desk::new().command(&["image", "check", "--format", "json", "--all-verdicts", "--max-age", "36500"]);
        pull.args(plain_http).arg(&image).env("DOCKER_CONFIG", registry.docker_config());
        let pulled = portreeve_tests::binary::Portreeve::finish(&mut pull).expect_exit(13);
        let on_disk = [format!("oci:{}", path(&oci)), path(&archive).to_owned(), path(&compressed).to_owned()];
        let outputs = on_disk.iter().map(|target| check(&[target]).expect_exit(13)).chain([pulled]);
        for output in outputs {
            assert_eq!(told(&output.json()), expected, "{}", output.stderr);
            let shown = format!("{}{}", output.stdout, output.stderr);
            values.iter().for_each(|value| assert!(!shown.contains(value), "{value} is shown"));
        }
    }
}

#[tokio::test]
async fn a_good_image_passes_all_and_its_packages_are_listed() {
    let desk = Desk::new();
    let layout = good_lab().layout(&desk.folder().join("layout"));
    let target = format!("oci:{}", path(layout.folder()));
    let inventory = desk.folder().join("packages.json");
    let arguments = ["--hub-version", "5.3.1", "--platforms", "linux/amd64", "--inventory", path(&inventory), &target];
    let passed = check(&arguments).expect_exit(0);
    assert_eq!(failures(&passed.json()), [""; 0]);
    assert!(passed.stderr.contains("checked as jupyterlab, as its label says"), "{}", passed.stderr);
    let listed = desk.json("packages.json");
    let packages = listed["images"][0]["packages"].as_array().or_fail_some("packages");
    let named =
        |name: &str| packages.iter().find(|package| package["name"] == name).map(|package| package["version"].clone());
    assert_eq!((named("bash"), named("jupyterlab")), (Some("5.2".into()), Some("4.2.5".into())));
    let other_hub = check_layout(&layout, &["--hub-version", "4.1.0"]).expect_exit(13).json();
    assert_eq!(failures(&other_hub).len(), 1, "{:?}", failures(&other_hub));
    let missing = check_layout(&layout, &["--platforms", "linux/amd64,linux/arm64", "--hub-version", "5.3.0"])
        .expect_exit(13)
        .json();
    assert_eq!(failures(&missing), ["PR-2003 wanted linux/arm64"]);
    check_layout(&layout, &["--platforms", "linux/arm64", "--fail-on", "high", "--hub-version", "5.3.0"])
        .expect_exit(0);
    check_layout(&layout, &["--kind", "dask-worker"]).expect_exit(13);
}

#[test]
fn a_finding_names_layer_digest_and_history_line_of_a_file_that_is_deleted_later() {
    let (image, _) = bad();
    let layout = image.layout(&scratch("bad"));
    let manifest = layout.document(&serde_json::from_slice::<Value>(&fs::read(layout.folder().join("index.json")).or_fail("x")).or_fail("x")["manifests"][0]);
    let second = manifest["layers"][1]["digest"].as_str().or_fail_some("a digest").to_owned();
    let report = check_layout(&layout, &[]).expect_exit(13).json();
    let finding = report["findings"]
        .as_array()
        .or_fail_some("findings")
        .iter()
        .find(|f| f["code"] == "PR-2030" && f["check"] == "own");
    let evidence = finding.or_fail_some("PR-2030")["evidence"][0]["value"].as_str().or_fail_some("evidence").to_owned();
    assert_eq!(
        evidence,
        format!(
            "private key, hidden by a later layer and still in this one; layer 2 {second}; by: COPY . /srv # buildkit"
        )
    );
}

#[test]
fn every_platform_of_an_index_is_judged_and_one_can_be_chosen() {
    let layout = Layout::new(&scratch("index"));
    let (amd64, arm64) = (
        good_lab().write(&layout),
        good_lab().architecture("arm64").layer("RUN x", Layer::default().file("x", 0o4755, "")).write(&layout),
    );
    let index = layout.nested_index(&[amd64, arm64]);
    layout.index(&[index]);
    let options = ["--hub-version", "5.3.0", "--platforms", "linux/amd64,linux/arm64"];
    let report = check_layout(&layout, &options).expect_exit(13).json();
    assert_eq!(failures(&report), ["PR-2012 own /x"], "the worst platform counts");
    assert_eq!(report["images"].as_array().map(Vec::len), Some(2));
    check_layout(&layout, &[&options[..], &["--platform", "linux/amd64"]].concat()).expect_exit(0);
    check_layout(&layout, &[&options[..], &["--platform", "linux/arm64/v8"]].concat()).expect_exit(13);
    let none = check_layout(&layout, &["--platform", "linux/s390x"]).expect_exit(3);
    assert!(none.stderr.contains("those there are: linux/amd64, linux/arm64"), "{}", none.stderr);
}

/// A good image, spoiled; the exit is 5, the cause is this one, and no question about files passes.
#[track_caller]
fn assert_unknown(layout: &Layout, cause: &str, why: &str) {
    let output = check_layout(layout, &["--fail-on", "none", "--hub-version", "5.3.0"]).expect_exit(5);
    let report = output.json();
    assert!(causes(&report).contains(&cause.to_owned()), "{:?}", causes(&report));
    assert!(output.stdout.contains(why), "'{why}' in {}", output.stdout);
    let passed = told(&report).into_iter().filter(|line| line.contains(" pass "));
    let of_files: Vec<String> =
        passed.filter(|line| ["PR-2001", "PR-2011", "PR-2012", "PR-2061", "PR-2070"].contains(&&line[..7])).collect();
    assert_eq!(of_files, [""; 0]);
}

#[test]
fn images_that_cannot_be_read_whole_are_unknown_with_the_cause() {
    let layer_of = |layout: &Layout, index: usize| {
        let top: Value =
            serde_json::from_slice(&fs::read(layout.folder().join("index.json")).or_fail("x")).or_fail("x");
        layout
            .path_of(layout.document(&top["manifests"][0])["layers"][index]["digest"].as_str().or_fail_some("a digest"))
    };
    let flipped = good_lab().layout(&scratch("flipped"));
    let mut bytes = fs::read(layer_of(&flipped, 1)).or_fail("a layer");
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    fs::write(layer_of(&flipped, 1), bytes).or_fail("a layer");
    assert_unknown(&flipped, "unreadable", "layer 2");

    let missing = good_lab().layout(&scratch("missing"));
    fs::remove_file(layer_of(&missing, 0)).or_fail("a layer");
    assert_unknown(&missing, "unreadable", "layer 1");

    let other = good_lab().stored("RUN evil", b"not what is stored".to_vec(), gzip(b"something else"));
    assert_unknown(&other.layout(&scratch("other")), "unreadable", "layer 3");

    let archive = vec![7_u8; 4096];
    let mut truncated = gzip(&archive);
    truncated.truncate(20);
    assert_unknown(&good_lab().stored("RUN x", archive, truncated).layout(&scratch("cut")), "unreadable", "layer 3");

    // A gigabyte of zeros in a megabyte.
    let bomb = {
        let header = Layer::default().entry((tar::EntryType::Regular, b"zeros"), 0o644, &vec![0; 96 << 20], b"");
        Image::new().layer("RUN bomb", header)
    };
    assert_unknown(&bomb.layout(&scratch("bomb")), "too-large", "times as large");

    let garbage = Layout::new(&scratch("garbage"));
    fs::write(garbage.folder().join("index.json"), "{").or_fail("an index");
    assert_unknown(&garbage, "unreadable", "index.json is not the JSON");
}

#[test]
fn hostile_layers_are_told_and_nothing_is_written_or_followed() {
    let outside = scratch("outside").join("target");
    fs::write(&outside, "untouched").or_fail("a file");
    let escape = format!("../../../../../..{}", path(&outside));
    let layer = Layer::default()
        .entry((tar::EntryType::Regular, escape.as_bytes()), 0o644, b"overwritten", b"")
        .link("loop", "loop")
        .file("loop/x", 0o644, "")
        .link("out", "../../../../../../tmp")
        .file("out/x", 0o644, "")
        .entry((tar::EntryType::Char, b"dev/mem"), 0o666, b"", b"")
        .entry((tar::EntryType::Link, b"dead"), 0o644, b"", b"nowhere")
        .entry((tar::EntryType::Regular, b"bad\xff\x1b[31mname"), 0o4755, b"", b"")
        .file("twice", 0o4755, "first")
        .file("twice", 0o755, "second");
    let report = check_layout(&Image::new().layer("ADD evil.tar / # buildkit", layer).layout(&scratch("hostile")), &[]);
    let report = report.expect_exit(13);
    assert_eq!(fs::read_to_string(&outside).or_fail("a file"), "untouched");
    let failed = failures(&report.json());
    let of = |start: &str| failed.iter().find(|line| line.starts_with(start)).cloned().unwrap_or_default();
    assert!(of("PR-2002 names").contains("target") && of("PR-2002 names").contains("/out/x"), "{failed:?}");
    assert!(of("PR-2002 devices").contains("/dev/mem") && of("PR-2002 links").contains("/dead"), "{failed:?}");
    assert!(of("PR-2012 own").contains("/bad") && !of("PR-2012 own").contains("/twice"), "the last of two counts");
    let table = Desk::new().run(&["image", "check", &format!("oci:{}", path(&scratch("none")))]);
    assert!(!table.stdout.contains('\u{1b}'), "no control characters reach a terminal");
}

#[test]
fn an_image_without_layers_is_an_image() {
    let report = check_layout(&Image::new().layout(&scratch("empty")), &["--fail-on", "high"]).expect_exit(0).json();
    assert!(told(&report).contains(&"PR-2001  pass  ".to_owned()), "{:?}", told(&report));
}

#[tokio::test]
async fn what_is_not_there_or_refused_or_not_reached_is_told_by_the_exit() {
    let desk = Desk::new();
    assert_eq!(desk.run(&["image", "check", "./nothing.tar"]).code, Some(2));
    assert_eq!(desk.run(&["image", "check", "oci:nowhere"]).code, Some(2));
    assert_eq!(desk.run(&["image", "check", "--kind", "toaster", "x"]).code, Some(2));
    desk.file("quay.io/app:1", "");
    let ambiguous = desk.run(&["image", "check", "quay.io/app:1"]).expect_exit(2);
    assert!(ambiguous.stderr.contains("is a file and an image"), "{}", ambiguous.stderr);
    desk.file("empty.tar", "");
    check(&[path(&desk.folder().join("empty.tar"))]).expect_exit(5);
    check(&["--offline", "quay.io/org/app:1"]).expect_exit(5);

    let registry = Registry::with_sign_in().await;
    let absent = format!("{}/demo/none:1", registry.host());
    check(&["--plain-http", registry.host(), &absent]).expect_exit(4);
    let mut signed_in = desk.command(&["image", "check", "--plain-http", registry.host(), &absent]);
    signed_in.env("DOCKER_CONFIG", registry.docker_config());
    portreeve_tests::binary::Portreeve::finish(&mut signed_in).expect_exit(3);
}

#[test]
fn an_exception_covers_a_code_of_an_image_by_its_name() {
    let desk = Desk::new();
    let layout =
        good_lab().layer("RUN x", Layer::default().file("x", 0o4755, "")).layout(&desk.folder().join("layout"));
    let target = format!("oci:{}", path(layout.folder()));
    let exception = desk.file(
        "exceptions.yaml",
        "apiVersion: portreeve.dev/v1alpha1\nkind: ClusterException\nmetadata: {name: tool}\nspec:\n  codes: [PR-2012]\n  \
         subjects: {kinds: [Image], names: [quay.io/org/lab]}\n  owner: data\n  approvedBy: sec\n  reason: needed\n  \
         expires: 2036-01-31\n",
    );
    let options = ["--hub-version", "5.3.0", "--name", "quay.io/org/lab:1", "--exceptions", path(&exception), &target];
    let report = check(&options).expect_exit(0).json();
    assert!(told(&report).iter().any(|line| line.starts_with("PR-2012 own excepted")), "{:?}", told(&report));
    let other = ["--hub-version", "5.3.0", "--name", "quay.io/org/other:1", "--exceptions", path(&exception), &target];
    check(&other).expect_exit(13);
}

#[test]
fn a_layout_is_named_by_its_tag_and_digests_of_blobs_are_never_paths() {
    let layout = Layout::new(&scratch("named"));
    let mut image = Image::new().write(&layout);
    image["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
    layout.index(&[image.clone()]);
    let named = |name: &str| {
        Desk::new().run(&[
            "image",
            "check",
            "--fail-on",
            "high",
            "--format",
            "json",
            &format!("oci:{}:{name}", path(layout.folder())),
        ])
    };
    named("v1").expect_exit(0);
    named("v2").expect_exit(3);
    image["digest"] = "sha256:../../../../etc/passwd".into();
    layout.index(&[image.clone()]);
    named("v1").expect_exit(5);
    image["digest"] = digest(b"what nobody stored").into();
    layout.index(&[image]);
    named("v1").expect_exit(5);
}
