//! System calls that fail: `faulty_io.c`, made into a library by the C compiler that a build needs
//! anyway.

use std::{process::Command, sync::LazyLock};

use tempfile::TempDir;

static SHIM: LazyLock<(TempDir, String)> = LazyLock::new(|| {
    let folder = TempDir::new().unwrap();
    let library = folder.path().join("faulty_io.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/faulty_io.c");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .status();
    assert!(compiled.expect("a C compiler, called cc").success());
    let library = library.display().to_string();
    (folder, library)
});

/// The library, to be loaded by `LD_PRELOAD` into the process under test.
pub fn library() -> &'static str {
    &SHIM.1
}
