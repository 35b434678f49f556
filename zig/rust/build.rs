//! Links liballoc.a: from LIBALLOC_LIB_DIR, else from the checkout that this crate lies in.
use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBALLOC_LIB_DIR");
    let folder = match env::var_os("LIBALLOC_LIB_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"))
            .join("../../zig-out/lib"),
    };
    let archive = folder.join("liballoc.a");
    if !archive.is_file() {
        panic!(
            "{} is missing: build liballoc (./dev build in its checkout), or name the folder of \
             liballoc.a in LIBALLOC_LIB_DIR",
            archive.display()
        );
    }
    println!("cargo:rerun-if-changed={}", archive.display());
    println!("cargo:rustc-link-search=native={}", folder.display());
    println!("cargo:rustc-link-lib=static=alloc");
}
