# C: the compiler and the linker for WebAssembly; no C library is needed.
apt clang lld
