# A program by rustc with two code generation threads, and the same in a crate by cargo.
set -eu
export RUSTC=/usr/bin/rustc CARGO_HOME="$PWD/cargo" CARGO_TERM_COLOR=never
"$RUSTC" -O -C codegen-units=2 --edition 2021 collections.rs
./collections
mkdir -p crate/src
mv collections.rs crate/src/main.rs
printf '[package]\nname = "sample"\nversion = "0.1.0"\nedition = "2021"\n' >crate/Cargo.toml
cd crate
/usr/bin/cargo build --quiet --offline
target/debug/sample | tail -n 2
/usr/bin/cargo metadata --offline --no-deps --format-version 1 | grep -c sample
