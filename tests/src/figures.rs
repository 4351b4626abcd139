//! How benches measure whole processes: commands in turn, peaks and medians.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::OrFail as _;

/// How many runs count; one before them does not.
pub const RUNS: usize = 7;

/// A command with the name that it is printed by.
pub type Named<'a> = (&'a str, &'a dyn Fn() -> Command);

/// Runs two commands in turn and prints the medians of time and peak memory, and the ratio of the times.
#[expect(clippy::print_stdout, reason = "the figures are the output of a bench")]
pub fn pair(ours: Named<'_>, peer: Named<'_>) {
    let [ours_median, peer_median] = in_turn([ours, peer]);
    println!("  ratio of medians     {:.2}", ours_median.as_secs_f64() / peer_median.as_secs_f64());
}

/// Runs commands in turn, so that a drift of the machine meets all, and prints and gives their medians.
#[expect(clippy::print_stdout, reason = "the figures are the output of a bench")]
pub fn in_turn<const N: usize>(commands: [Named<'_>; N]) -> [Duration; N] {
    let mut figures = [const { Vec::new() }; N];
    for run in 0..=RUNS {
        for ((_, command), figures) in commands.iter().zip(&mut figures) {
            let figure = timed(&mut command());
            if run > 0 {
                figures.push(figure);
            }
        }
    }
    let mut of = commands.iter().map(|(name, _)| *name);
    figures.map(|figures| {
        let times: Vec<Duration> = figures.iter().map(|(time, _)| *time).collect();
        let peak = figures.iter().map(|(_, peak)| *peak).max().unwrap_or_default();
        let (name, median) = (of.next().unwrap_or_default(), quantile(&times, 0.5));
        println!("  {name:<20} median of {RUNS}: {median:>9.1?}  peak {:>4} MB", peak / 1000);
        median
    })
}

/// Time of a whole process, and its peak resident memory in kB as the kernel last said it.
pub fn timed(command: &mut Command) -> (Duration, u64) {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().or_fail("starting the command");
    let mut peak = 0;
    while child.try_wait().or_fail("waiting for the command").is_none() {
        peak = peak.max(status_line(child.id(), "VmHWM:").unwrap_or_default());
        std::thread::sleep(Duration::from_micros(500));
    }
    (started.elapsed(), peak)
}

/// Resident memory of a process in MB: now, and its peak.
pub fn memory(process: u32) -> (u64, u64) {
    let of = |name| status_line(process, name).unwrap_or_default() / 1000;
    (of("VmRSS:"), of("VmHWM:"))
}

/// The value below which this share of the times is.
pub fn quantile(times: &[Duration], quantile: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * quantile).round() as usize).copied().unwrap_or_default()
}

fn status_line(process: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
