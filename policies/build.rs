//! Embeds every file of `controls/` and `frameworks/`: adding a control or a framework is adding a file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut code = String::new();
    for (constant, folder) in [("CONTROLS", "controls"), ("FRAMEWORKS", "frameworks")] {
        println!("cargo::rerun-if-changed={folder}");
        write_list(&mut code, constant, folder, &yaml_names(&root.join(folder))?);
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    std::fs::write(out.join("embedded.rs"), code)
}

fn yaml_names(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".yaml") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn write_list(code: &mut String, constant: &str, folder: &str, names: &[String]) {
    let _ = writeln!(code, "const {constant}: &[(&str, &[u8])] = &[");
    for name in names {
        let _ = writeln!(
            code,
            "    ({:?}, include_bytes!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {:?}))),",
            format!("{folder}/{name}"),
            format!("/{folder}/{name}")
        );
    }
    code.push_str("];\n");
}
