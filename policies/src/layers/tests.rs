use super::testing::{Tar, gzip, zstd};
use super::tree::{ENTRY_BYTES, Entry, Node, Oddity, Tree};
use super::*;

/// Keeps everything, and remembers what it was shown.
#[derive(Default)]
struct Everything(Vec<(usize, String, usize, bool)>);

impl Inspector for Everything {
    fn keeps(&self, _: &[u8]) -> bool {
        true
    }

    fn look(&mut self, layer: usize, path: &[u8], content: &[u8], is_whole: bool) {
        self.0.push((layer, String::from_utf8_lossy(path).into_owned(), content.len(), is_whole));
    }
}

fn read_with(caps: &Caps, layers: &[Vec<u8>]) -> Result<(Tree, Vec<LayerSummary>), Problem> {
    let mut reading = Layers::new(caps, Everything::default());
    let summaries = layers.iter().map(|layer| reading.add(layer.as_slice())).collect::<Result<Vec<_>, _>>()?;
    Ok((reading.finish().0, summaries))
}

fn read(layers: &[Vec<u8>]) -> Tree {
    read_with(&Caps::default(), layers).unwrap().0
}

fn problem(layer: Vec<u8>) -> Problem {
    read_with(&Caps::default(), &[layer]).map(|(tree, _)| tree).unwrap_err()
}

fn paths(tree: &Tree) -> Vec<String> {
    tree.iter().map(|(path, _)| String::from_utf8_lossy(path).into_owned()).collect()
}

const ODDITIES: [Oddity; 5] = [Oddity::Escape, Oddity::Absolute, Oddity::Device, Oddity::Circle, Oddity::DeadLink];

fn oddities(tree: &Tree) -> Vec<Oddity> {
    tree.oddities(&ODDITIES).0.iter().map(|(oddity, ..)| *oddity).collect()
}

#[test]
fn a_layer_is_the_same_in_every_compression_and_has_both_digests() {
    let plain = Tar::default().folder("etc/", 0o755).file("etc/hosts", 0o644, "x").end();
    let twice = [gzip(&plain[..700]), gzip(&plain[700..])].concat();
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd(&plain)].concat();
    let frames = [zstd(&plain[..700]), zstd(&plain[700..])].concat();
    for stored in [plain.clone(), gzip(&plain), twice, zstd(&plain), skipped, frames] {
        let (tree, summaries) = read_with(&Caps::default(), std::slice::from_ref(&stored)).unwrap();
        assert_eq!(paths(&tree), ["etc", "etc/hosts"]);
        assert_eq!(summaries[0].digest, portreeve_reports::digest::sha256(&stored));
        assert_eq!(summaries[0].diff_id, portreeve_reports::digest::sha256(&plain));
        assert_eq!((summaries[0].stored, summaries[0].bytes), (stored.len() as u64, plain.len() as u64));
    }
}

#[test]
fn bytes_behind_the_end_belong_to_the_digests() {
    let long = [Tar::default().file("a", 0o644, "x").end(), vec![0; 8_192]].concat();
    let (_, summaries) = read_with(&Caps::default(), &[gzip(&long)]).unwrap();
    assert_eq!(summaries[0].diff_id, portreeve_reports::digest::sha256(&long));
    assert_eq!(summaries[0].digest, portreeve_reports::digest::sha256(&gzip(&long)));
}

#[test]
fn whiteouts_hide_what_is_below_and_nothing_of_their_own_layer() {
    let below = Tar::default().file("a/one", 0o644, "1").file("a/two", 0o644, "2").file("b/x/y", 0o644, "3").end();
    let above = Tar::default().file("a/.wh.one", 0o600, "").file("b/new", 0o644, "").file("b/.wh..wh..opq", 0o600, "");
    let above = above.file("b/newer", 0o644, "").end();
    assert_eq!(paths(&read(&[below.clone(), above])), ["a", "a/two", "b", "b/new", "b/newer"]);
    let in_one = Tar::default().file("c/.wh.d", 0o600, "").file("c/d", 0o644, "").end();
    assert_eq!(paths(&read(&[in_one])), ["c", "c/d"]);
    let folder = Tar::default().file(".wh.b", 0o600, "").file("b/z", 0o644, "").end();
    assert_eq!(paths(&read(&[below, folder])), ["a", "a/one", "a/two", "b", "b/z"]);
    let of_aufs = Tar::default().file(".wh..wh.plnk", 0o600, "").end();
    assert_eq!(paths(&read(&[of_aufs])), [".wh..wh.plnk"]);
}

#[test]
fn files_take_the_place_of_folders_and_folders_keep_what_is_in_them() {
    let below = Tar::default().folder("a/", 0o755).file("a/x", 0o644, "").end();
    let same = Tar::default().folder("a/", 0o700).end();
    let tree = read(&[below.clone(), same]);
    assert_eq!((paths(&tree), tree.entry("a").unwrap().mode), (vec!["a".to_owned(), "a/x".to_owned()], 0o700));
    let file = Tar::default().file("a", 0o644, "").end();
    assert_eq!(paths(&read(&[below.clone(), file.clone()])), ["a"]);
    assert_eq!(paths(&read(&[file, below])), ["a", "a/x"]);
}

#[test]
fn links_are_followed_inside_the_image_and_circles_end() {
    let layer = Tar::default()
        .link("bin", "usr/bin")
        .file("usr/bin/sh", 0o755, "#!")
        .link("usr/bin/bash", "/bin/sh")
        .link("far", "../../../../usr/bin/sh")
        .link("a", "b")
        .link("b", "a")
        .end();
    let tree = read(&[layer]);
    for path in ["/bin/sh", "bin/bash", "usr/bin/bash", "far", "usr/../bin/sh"] {
        let (at, entry) = tree.get(path).unwrap();
        assert_eq!((&*at, entry.mode), (&b"usr/bin/sh"[..], 0o755), "{path}");
    }
    assert!(tree.get("a").is_none() && tree.get("nowhere").is_none());
    assert_eq!(oddities(&tree), []);
}

#[test]
fn an_entry_through_a_link_goes_where_a_runtime_puts_it() {
    let below = Tar::default().link("lib", "usr/lib").link("out", "../../etc").link("loop", "loop").end();
    let above = Tar::default()
        .file("lib/x.so", 0o644, "")
        .file("out/passwd", 0o644, "")
        .file("out/group", 0o644, "")
        .file("loop/x", 0o644, "")
        .end();
    let tree = read(&[below, above]);
    assert!(tree.entry("usr/lib/x.so").is_some(), "{:?}", paths(&tree));
    assert!(tree.entry("etc/passwd").is_some() && tree.entry("out/passwd").is_none());
    assert_eq!(oddities(&tree), [Oddity::Escape, Oddity::Escape, Oddity::Circle]);
}

#[test]
fn as_many_links_are_followed_as_a_runtime_follows() {
    let chain = |links: usize| {
        (0..links).fold(Tar::default(), |tar, index| tar.link(&format!("l{index}"), &format!("l{}", index + 1)))
    };
    for (links, is_placed) in [(40, true), (41, true), (255, true), (256, false)] {
        let tree = read(&[chain(links).file("l0/su", 0o4755, "").end()]);
        assert_eq!(tree.entry(&format!("l{links}/su")).is_some(), is_placed, "{links}");
        assert_eq!(oddities(&tree).is_empty(), is_placed, "{links}");
    }
    let tree = read(&[chain(41).file("l41/x", 0o644, "").end()]);
    assert!(tree.get("l1/x").is_some() && tree.get("l0/x").is_none(), "a system follows 40");
}

#[test]
fn names_that_lead_out_are_told_and_go_where_runtimes_put_them() {
    let layer = Tar::default()
        .file("../../etc/cron.d/x", 0o644, "")
        .file("/etc/hosts", 0o644, "")
        .file("a/../../b", 0o644, "")
        .hard_link("c", "../../etc/hosts")
        .hard_link("d", "not/there")
        .file("e/.wh...", 0o600, "")
        .raw((b'3', b"dev/null"), (0o666, 0), b"", b"")
        .end();
    let tree = read(&[layer]);
    assert_eq!(paths(&tree), ["b", "c", "dev", "dev/null", "etc", "etc/cron.d", "etc/cron.d/x", "etc/hosts"]);
    use Oddity::{Absolute, DeadLink, Device, Escape};
    assert_eq!(oddities(&tree), [Escape, Absolute, Escape, Escape, DeadLink, Escape, Device]);
}

#[test]
fn many_oddities_are_counted_and_few_of_a_kind_are_told() {
    let harmless = (0..150).fold(Tar::default(), |tar, index| tar.file(&format!("/{index}"), 0o644, ""));
    let tree = read(&[harmless.file("x/../usr/bin/su2", 0o4755, "").end()]);
    let counted = |kind| (tree.oddities(&[kind]).0.len(), tree.oddities(&[kind]).1);
    assert_eq!((counted(Oddity::Absolute), counted(Oddity::Escape)), ((100, 50), (1, 0)));
    assert_eq!(tree.entry("usr/bin/su2").unwrap().mode, 0o4755, "it is where a runtime puts it");
}

#[test]
fn a_hard_link_is_the_same_file_and_the_last_of_two_entries_counts() {
    let layer = Tar::default().file("su", 0o4755, "x").hard_link("also", "su").file("su", 0o755, "yy").end();
    let tree = read(&[layer]);
    assert_eq!((tree.entry("also").unwrap().mode, tree.entry("su").unwrap().mode), (0o4755, 0o755));
    assert_eq!(tree.entry("su").unwrap().size, 2);
}

#[test]
fn names_need_not_be_text_and_two_of_them_stay_two() {
    let layer = Tar::default().raw((b'0', b"x\xff"), (0o4755, 0), b"", b"").file("x\\xff", 0o644, "").end();
    assert_eq!(read(&[layer]).iter().count(), 2);
}

#[test]
fn long_names_and_records_are_applied_as_go_does() {
    let long = "d/".repeat(100) + "file";
    let layer = Tar::default()
        .raw((b'L', b"././@LongLink"), (0, 0), format!("{long}\0").as_bytes(), b"")
        .file("short", 0o644, "1")
        .pax(&[("path", "by/records"), ("uid", "1000"), ("SCHILY.xattr.security.capability", "x")])
        .file("short", 0o755, "22")
        .raw((b'g', b"pax_global_header"), (0o644, 0), b"20 path=ignored/it\n", b"")
        .file("plain", 0o644, "")
        .end();
    let tree = read(&[layer]);
    assert_eq!(tree.entry(&long).unwrap().size, 1);
    let by_records = tree.entry("by/records").unwrap();
    assert_eq!((by_records.uid, by_records.has_capabilities, by_records.size), (1000, true, 2));
    assert!(tree.entry("plain").is_some() && tree.entry("short").is_none());
}

#[test]
fn damaged_archives_are_unreadable_and_never_empty() {
    let good = Tar::default().file("a", 0o644, "content").end();
    let mut flipped = good.clone();
    flipped[0] ^= 1;
    let hidden = [Tar::default().file("a", 0o644, "").unfinished(), vec![0; 512], good.clone()].concat();
    let mut truncated = gzip(&good);
    truncated.truncate(truncated.len() - 9);
    let mut damaged = gzip(&good);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    let mut zstd_cut = zstd(&good);
    zstd_cut.truncate(zstd_cut.len() / 2);
    let cases = [
        (flipped, "sum is wrong"),
        (hidden, "single empty block"),
        ([good.clone(), good.clone()].concat(), "more behind its end"),
        ([good.clone(), b"-----BEGIN".to_vec()].concat(), "more behind its end"),
        (good[..300].to_vec(), "header that breaks off"),
        (good[..515].to_vec(), "breaks off"),
        (truncated, "breaks off or is damaged"),
        (damaged, ""),
        (zstd_cut, "breaks off or is damaged"),
        (b"not a tar archive at all".repeat(40), "no tar archive"),
        (Tar::default().raw((b'S', b"sparse"), (0o644, 0), b"", b"").end(), "sparse"),
        (Tar::default().raw((b'Z', b"odd"), (0o644, 0), b"", b"").end(), "nobody knows"),
        (Tar::default().raw((b'x', b"pax"), (0o644, 0), b"no records", b"").end(), "no PAX records"),
        (Tar::default().pax(&[("size", "many")]).end(), "no number"),
        (Tar::default().pax(&[("path", "a\0b")]).file("x", 0o644, "").end(), "zero byte"),
        (Tar::default().pax(&[("GNU.sparse.major", "1")]).file("x", 0o644, "").end(), "sparse"),
    ];
    for (layer, expected) in cases {
        let problem = problem(layer);
        assert_eq!(problem.cause, Cause::Unreadable, "{problem}");
        assert!(problem.message.contains(expected), "{problem}");
    }
    assert_eq!(paths(&read(&[Vec::new()])), [""; 0], "no byte is no file, and its digest says which bytes were meant");
}

/// What each cap allows, and what not: below and at it all is well, above it the reading ends as too large.
#[track_caller]
fn at_cap(of: impl Fn(usize) -> (Caps, Vec<Vec<u8>>), cap: usize) {
    for allowed in [cap - 1, cap] {
        let (caps, layers) = of(allowed);
        assert!(read_with(&caps, &layers).is_ok(), "{allowed} of {cap}");
    }
    let (caps, layers) = of(cap + 1);
    assert_eq!(read_with(&caps, &layers).map(drop).unwrap_err().cause, Cause::TooLarge, "{} of {cap}", cap + 1);
}

#[test]
fn every_cap_holds_at_below_and_above() {
    let files = |count: usize| (0..count).fold(Tar::default(), |tar, index| tar.file(&format!("f{index}"), 0o644, ""));
    let caps = Caps::default;
    at_cap(|count| (Caps { entries: 3, ..caps() }, vec![files(count).end()]), 3);
    at_cap(|count| (Caps { layers: 2, ..caps() }, vec![files(1).end(); count]), 2);
    // One file of so many bytes, with header and end.
    let sized = |bytes: usize| Tar::default().file("f", 0o644, vec![b'x'; bytes - 1536]).end();
    let layer = |blocks: usize| vec![gzip(&sized(blocks * 512))];
    at_cap(|blocks| (Caps { layer_bytes: 8 * 512, ..caps() }, layer(blocks)), 8);
    at_cap(|blocks| (Caps { total_bytes: 12 * 512, ..caps() }, [layer(4), layer(blocks)].concat()), 8);
    at_cap(
        |length| (Caps { name_bytes: 20, ..caps() }, vec![Tar::default().file(&"n".repeat(length), 0o644, "").end()]),
        20,
    );
    at_cap(|length| (Caps { name_bytes: 20, ..caps() }, vec![Tar::default().link("a", &"n".repeat(length)).end()]), 20);
    let long = |length: usize| {
        let name = format!("{}\0", "n".repeat(length));
        Tar::default().raw((b'L', b"long"), (0, 0), name.as_bytes(), b"").file("x", 0o644, "").end()
    };
    at_cap(|length| (Caps { name_bytes: 200, ..caps() }, vec![long(length)]), 200);
    at_cap(|depth| (Caps { depth: 4, ..caps() }, vec![Tar::default().file(&"d/".repeat(depth), 0o644, "").end()]), 4);
    // A file in a folder that no entry describes: both names count, and what two entries cost.
    let named = |length: usize| Tar::default().file(&format!("d/{}", "n".repeat(length - 3)), 0o644, "").end();
    at_cap(|length| (Caps { table_bytes: 20 + 2 * ENTRY_BYTES, ..caps() }, vec![named(length)]), 20);
    // Three names to a folder behind a link, two on the way to a file in it.
    let through = |count: usize| {
        let name = |tar: Tar, index: usize| tar.file(&format!("l/{index}/f"), 0o644, "");
        (0..count).fold(Tar::default().link("l", "d"), name).end()
    };
    at_cap(|count| (Caps { steps: 4 * 5, ..caps() }, vec![through(count)]), 4);
    // Chains of folders that no entry describes, each with a short name and many entries.
    let chains = |count: usize| {
        let chain = |tar: Tar, index: usize| tar.file(&format!("{index}/{}f", "d/".repeat(8)), 0o644, "");
        (0..count).fold(Tar::default(), chain).end()
    };
    let names: usize = (0..9).map(|depth| 1 + 2 * depth).sum::<usize>() + 19;
    let of_one = 10 * ENTRY_BYTES + names;
    at_cap(|count| (Caps { table_bytes: 5 * of_one, ..caps() }, vec![chains(count)]), 5);
}

#[test]
fn a_bomb_ends_early_in_both_compressions() {
    let zeros = Tar::default().file("zeros", 0o644, vec![0; 1 << 20]).end();
    let caps = Caps { ratio: 20, ratio_from: 64 << 10, ..Caps::default() };
    for bomb in [gzip(&zeros), zstd(&zeros)] {
        assert_eq!(read_with(&caps, &[bomb]).map(drop).unwrap_err().cause, Cause::TooLarge);
    }
    let from_later = Caps { ratio_from: 2 << 20, ..caps };
    assert!(read_with(&from_later, &[gzip(&zeros)]).is_ok());
}

#[test]
fn whiteouts_and_links_without_end_cost_no_more_than_once() {
    let files = (0..20_000).fold(Tar::default(), |tar, index| tar.file(&format!("d/{index}"), 0o644, ""));
    let many = (0..20_000).fold(files, |tar, _| tar.file("d/.wh..wh..opq", 0o600, "").file(".wh.d", 0o600, ""));
    let started = std::time::Instant::now();
    assert_eq!(read(&[many.end()]).iter().count(), 20_001);
    let far = format!("l/{}", "x/../".repeat(18));
    let links =
        (0..200).fold(Tar::default().link("l", &far), |tar, index| tar.file(&format!("l/{index}/x"), 0o644, ""));
    assert_eq!(oddities(&read(&[links.end()]))[0], Oddity::Circle);
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

#[test]
fn the_cause_of_a_source_is_kept_through_every_decoder() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() {
                return Err(Problem { cause: Cause::TimedOut, message: "late".to_owned() }.into());
            }
            self.0.read(buffer)
        }
    }
    let plain = Tar::default().file("a", 0o644, vec![b'x'; 3_000]).end();
    for stored in [plain.clone(), gzip(&plain), zstd(&plain)] {
        let caps = Caps::default();
        let mut reading = Layers::new(&caps, Everything::default());
        let problem = reading.add(Failing(&stored[..stored.len() - 8])).unwrap_err();
        assert_eq!(problem.cause, Cause::TimedOut, "{problem}");
    }
}

#[test]
fn a_name_of_many_bytes_is_refused_before_it_is_read() {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::new(b'L'));
    header.set_size(10 << 30);
    header.set_cksum();
    assert_eq!(problem(header.as_bytes().to_vec()).cause, Cause::TooLarge);
    header.set_entry_type(tar::EntryType::new(b'x'));
    header.set_cksum();
    assert_eq!(problem(header.as_bytes().to_vec()).cause, Cause::TooLarge);
}

#[test]
fn files_are_looked_into_and_kept_within_bounds() {
    let caps = Caps { file_bytes: 4, kept_bytes: 6, ..Caps::default() };
    let layer =
        Tar::default().file("a", 0o644, "1234").file("b", 0o644, "12345").file("c", 0o644, "12").file("d", 0o644, "1");
    let mut reading = Layers::new(&caps, Everything::default());
    reading.add(layer.end().as_slice()).unwrap();
    let (tree, seen) = reading.finish();
    let seen: Vec<(&str, usize, bool)> =
        seen.0.iter().map(|(_, name, length, is_whole)| (name.as_str(), *length, *is_whole)).collect();
    let expected = [("a", 4, true), ("b", 4, false), ("c", 2, true), ("d", 1, true)];
    assert_eq!(seen, expected, "what is too large is looked into at its start");
    let is_kept = |path: &str| tree.entry(path).is_some_and(|entry| entry.content.is_some());
    assert_eq!(["a", "b", "c", "d"].map(is_kept), [true, false, true, false]);
}

#[test]
fn modes_say_who_may_do_what() {
    let layer = Tar::default()
        .folder("opt/", 0o755)
        .raw((b'5', b"opt/closed/"), (0o750, 0), b"", b"")
        .file("opt/closed/run", 0o755, "")
        .raw((b'0', b"opt/of-group"), (0o750, 100), b"", b"")
        .file("opt/run", 0o755, "")
        .end();
    let tree = read(&[layer]);
    let user = (1000, 100);
    assert!(tree.lets(b"opt/run", user, 5) && !tree.lets(b"opt/run", user, 2));
    assert!(tree.lets(b"opt/of-group", user, 5) && !tree.lets(b"opt/of-group", (1000, 1000), 5));
    assert!(!tree.lets(b"opt/closed/run", user, 5), "the way there is closed");
    assert!(tree.lets(b"opt/closed/run", (0, 0), 5) && !tree.lets(b"opt/none", (0, 0), 4));
}

#[test]
fn below_a_folder_is_what_is_in_it_and_not_what_is_called_alike() {
    let layer =
        Tar::default().file("home/me/x", 0o644, "").file("home-old/y", 0o644, "").file("home0", 0o644, "").end();
    let tree = read(&[layer]);
    let below: Vec<_> = tree.below(b"home").map(|(path, _)| String::from_utf8_lossy(path).into_owned()).collect();
    assert_eq!(below, ["home/me", "home/me/x"]);
    let is_plain = |entry: &Entry| matches!(entry.node, Node::File | Node::Directory);
    assert!(tree.below(b"").all(|(_, entry)| is_plain(entry)));
}

mod any_bytes {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..4096), at in 0_usize..2048, byte: u8) {
            let _anything = read_with(&Caps::default(), &[bytes.clone()]);
            bytes.truncate(64);
            let mut layer = Tar::default().file("a/b", 0o644, &bytes).link("c", "a").file("c/d", 0o644, "").end();
            let index = at % layer.len();
            layer[index] = byte;
            let _changed = read_with(&Caps::default(), &[layer.clone(), gzip(&layer)]);
        }
    }
}
