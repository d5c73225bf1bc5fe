# Zig: the whole toolchain comes as one Python package.
pip_add zig ziglang==0.17.0
