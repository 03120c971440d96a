//! Keeps the checked-in bindings equal to what the .proto files generate.

use std::{env, fs, path::Path};

/// Set to write the bindings instead of comparing them; `make proto` does.
const UPDATE: &str = "UPDATE_BINDINGS";

/// Messages that hold secrets: their `Debug` is written by hand in `src/redact.rs`.
const SECRET_MESSAGES: &[&str] = &[
    ".pb.Auth",
    ".pb.GeneratePasswordFromPolicyReply",
    ".pb.Header",
    ".pb.Request",
    ".pb.Response",
    ".pb.ResponseWrapDataArgs",
    ".pb.ResponseWrapInfo",
    ".pb.Secret",
    ".pb.StorageEntry",
];

#[test]
fn bindings_are_up_to_date() {
    let names = |dir: &Path| {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checked_in = root.join("src/generated");
    let fresh = tempfile::tempdir().unwrap();

    let sources = ["pb.proto", "logical.proto", "multiplexing.proto", "plugin.proto"];
    let descriptors = protox::compile(sources, [root.join("proto")]).unwrap();
    tonic_prost_build::configure()
        .build_transport(false)
        .skip_debug(SECRET_MESSAGES)
        .out_dir(fresh.path())
        .compile_fds(descriptors)
        .unwrap();

    if env::var_os(UPDATE).is_some() {
        let _ = fs::remove_dir_all(&checked_in);
        fs::create_dir_all(&checked_in).unwrap();
        for name in names(fresh.path()) {
            fs::copy(fresh.path().join(&name), checked_in.join(&name)).unwrap();
        }
    }
    assert_eq!(names(fresh.path()), names(&checked_in), "set of bindings: run `make proto`");
    for name in names(fresh.path()) {
        let same = fs::read(fresh.path().join(&name)).unwrap()
            == fs::read(checked_in.join(&name)).unwrap();
        assert!(same, "src/generated/{name} differs from the .proto files: run `make proto`");
    }
}
