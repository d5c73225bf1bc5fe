# AssemblyScript: its compiler asc, which runs on Node.js.
apt nodejs && npm_add assemblyscript assemblyscript@0.28.20
