//! Metrics as Prometheus' own strict OpenMetrics parser reads them.

use std::collections::BTreeMap;
use std::fs;

use crate::OrFail;
use crate::parts::Part;
use crate::process::scratch;

/// What a scraper asks for that reads OpenMetrics.
pub const MEDIA_TYPE: &str = "application/openmetrics-text;version=1.0.0";

/// Prints each sample as a line: name with labels in order, a tab, the value.
const SCRIPT: &str = r#"
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(open(sys.argv[1]).read()):
    for sample in family.samples:
        labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
        print(f"{sample.name}{{{labels}}}\t{float(sample.value)}")
"#;

/// The samples of an exposition, by `name{label=value,…}`; or what the parser has against it.
pub fn parse(exposition: &str) -> Result<BTreeMap<String, f64>, String> {
    let file = scratch("metrics").join("metrics.txt");
    fs::write(&file, exposition).or_fail("a file of metrics");
    let output = Part::python().args(["-c", SCRIPT]).arg(&file).output().or_fail("running python3");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let sample = |line: &str| line.split_once('\t').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let samples = lines.lines().filter_map(sample);
    Ok(samples.map(|(name, value)| (name, value.parse().or_fail("the value of a sample"))).collect())
}
