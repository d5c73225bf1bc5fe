# JavaScript: the engine that runs in a pack, QuickJS-NG built for WebAssembly (MIT). "arw pack build" checks its SHA-256.
npm_add javascript quickjs-wasi@3.6.2
