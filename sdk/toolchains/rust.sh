# Rust: the compiler that Debian builds with its standard library for wasm32. Any rustc of 1.63 or newer with the target
# wasm32-unknown-unknown does as well.
apt rustc libstd-rust-dev-wasm32 lld
