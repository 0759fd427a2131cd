//! Replays the fuzz corpus: every input that was interesting once holds for good.

#[path = "../../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets reach it: there it is a library")]
mod properties;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use properties::TARGETS;

/// One input of a few kilobytes is enough for everything these formats can say.
const LARGEST_INPUT: usize = 4096;

#[test]
fn every_target_holds_for_its_whole_corpus() {
    for (name, target) in TARGETS {
        let inputs = entries(&fuzz().join("corpus").join(name));
        assert!(!inputs.is_empty(), "the corpus of {name} is empty");
        for path in inputs {
            let input = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(input.len() <= LARGEST_INPUT, "{} is too large to be a minimal input", path.display());
            if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
                panic!("{name} does not hold for {}", path.display());
            }
        }
    }
}

#[test]
fn every_target_and_every_corpus_is_replayed() {
    let replayed: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    for directory in ["corpus", "fuzz_targets"] {
        let stems = entries(&fuzz().join(directory))
            .into_iter()
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
        assert_eq!(stems.collect::<Vec<_>>(), replayed, "fuzz/{directory} and the list of targets");
    }
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// What is in `directory`, in order.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = listed.map(|entry| entry.expect("a directory can be listed").path()).collect();
    paths.sort();
    paths
}
