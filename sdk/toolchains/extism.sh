# Extism: AssemblyScript with Extism's PDK, and clang for plugins in C. The PDK for Go is no module that can be had everywhere:
# the example in Go declares its imports by hand.
apt clang lld nodejs && npm_add extism assemblyscript@0.28.20 @extism/as-pdk@1.0.0
