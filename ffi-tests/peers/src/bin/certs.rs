//! `certs DIR`: writes the certificates and keys of the tests; `certificates::RECIPES` is the list.

use std::process::exit;
use std::{env, fs};

use peers::certificates::Folder;

fn main() {
    let Some(path) = env::args_os().nth(1) else {
        eprintln!("usage: certs DIR");
        exit(2);
    };
    let result = fs::create_dir_all(&path).map_err(Into::into).and_then(|()| Folder::new(path)?.fill());
    if let Err(error) = result {
        eprintln!("certs: {error}");
        exit(1);
    }
}
