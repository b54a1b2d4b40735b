//! The corpora, once more: what fuzzing has found stays found. With any compiler, without libFuzzer.

use std::env;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

/// Runs each file of a target's corpus; how many there were.
fn replay(name: &str, run: fuzz::Run) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let broken: Vec<_> = files.iter().filter(|file| catch_unwind(|| run(&fs::read(file).unwrap())).is_err()).collect();
    assert!(broken.is_empty(), "{name}: {broken:?}");
    files.len()
}

#[test]
fn the_corpora() {
    let counts = fuzz::TARGETS.map(|(name, run)| (name, replay(name, run)));
    println!("{counts:?} files");
    // As many are there.
    assert!(counts.iter().all(|(_, count)| *count > 20), "{counts:?}");
}

/// One file: FUZZ_FILE=file, in a folder or with a name that has its target's name in it.
#[test]
fn one_file() {
    let Some(file) = env::var_os("FUZZ_FILE") else { return };
    let path = file.to_str().unwrap();
    let (_, run) =
        fuzz::TARGETS.iter().find(|(name, _)| path.contains(&format!("/{name}/"))).expect("no target's name in it");
    run(&fs::read(path).unwrap());
}
