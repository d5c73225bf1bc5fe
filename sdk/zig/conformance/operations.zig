//! conform.do: host functions, one after another.
const std = @import("std");
const arw = @import("arw");

const Pair = struct { key: []const u8, value: []const u8 };
const Op = struct {
    op: []const u8,
    key: []const u8 = "",
    value: []const u8 = "",
    prefix: []const u8 = "",
    after: []const u8 = "",
    limit: u32 = 0,
    puts: []const Pair = &.{},
    deletes: []const []const u8 = &.{},
    level: u32 = 1,
    kind: []const u8 = "",
    name: []const u8 = "",
    path: []const u8 = "",
    recursive: bool = false,
    offset: u64 = 0,
    size: usize = 0,
    tool: []const u8 = "",
    doc: arw.json.Value = .null,
    method: []const u8 = "",
    url: []const u8 = "",
    header: []const u8 = "",
    secret: []const u8 = "",
    from: []const u8 = "",
    to: []const u8 = "",
    strip: u32 = 0,
    most: i64 = 0,
    texts: []const []const u8 = &.{},
};
const Outcome = struct {
    code: u32 = 0,
    message: ?[]const u8 = null,
    value: ?[]const u8 = null,
    keys: ?[]const arw.kv.Key = null,
    more: ?bool = null,
    entries: ?[]const arw.fs.Entry = null,
    entry: ?arw.fs.Entry = null,
    ns: ?i64 = null,
    hex: ?[]const u8 = null,
    status: ?i64 = null,
    size: ?usize = null,
    unpacked: ?arw.archive.Unpacked = null,
    doc: ?arw.json.Value = null,
    finish: ?[]const u8 = null,
    tokens: ?i64 = null,
};

pub fn run(in: struct { ops: []const Op }) anyerror!struct { results: []const Outcome } {
    const results = try arw.allocator.alloc(Outcome, in.ops.len);
    for (in.ops, results) |op, *r| {
        r.* = .{};
        one(op, r) catch |err| {
            if (err == error.OutOfMemory) return err;
            r.* = .{ .code = arw.numberOf(err), .message = arw.message() };
        };
    }
    return .{ .results = results };
}

const Name = enum { @"log.write", @"kv.get", @"kv.put", @"kv.delete", @"kv.list", @"kv.batch", @"event.emit", @"state.get", @"state.put", @"fs.list", @"fs.stat", @"fs.read", @"fs.read_all", @"fs.write", @"fs.remove", @"fs.copy", @"fs.draft", @"fs.hold", @"secret.public", @"secret.mac", @"secret.sign", @"archive.unpack", @"config.get", @"clock.now", @"clock.monotonic", @"rand.bytes", @"action.call", @"http.fetch", @"http.upload", @"http.chat", @"infer.generate", @"infer.chat", @"infer.embed", @"infer.rerank", @"infer.tokenize", @"infer.count" };

fn one(op: Op, r: *Outcome) anyerror!void {
    const name = std.meta.stringToEnum(Name, op.op) orelse return arw.fail(error.Unsupported, "there is no operation \"{s}\"", .{op.op});
    switch (name) {
        .@"log.write" => arw.log.line(@enumFromInt(op.level), op.value),
        .@"kv.get" => r.value = try arw.kv.get(op.key),
        .@"kv.put" => try arw.kv.put(op.key, op.value),
        .@"kv.delete" => try arw.kv.delete(op.key),
        .@"kv.list" => {
            const page = try arw.kv.list(.{ .prefix = op.prefix, .after = op.after, .limit = op.limit });
            r.keys = page.keys;
            r.more = page.more;
        },
        .@"kv.batch" => {
            var batch: arw.kv.Batch = .{};
            for (op.puts) |p| try batch.put(p.key, p.value);
            for (op.deletes) |k| try batch.delete(k);
            try batch.apply();
        },
        .@"event.emit" => try arw.event.emit(op.kind, op.doc),
        .@"state.get" => r.doc = try arw.state.get(arw.json.Value, op.name),
        .@"state.put" => try arw.state.put(op.name, op.doc),
        .@"fs.list" => {
            const page = try arw.fs.list(.{ .path = op.path, .recursive = op.recursive, .after = op.after, .limit = op.limit });
            r.entries = page.entries;
            r.more = page.more;
        },
        .@"fs.stat" => r.entry = try arw.fs.stat(op.path),
        .@"fs.read" => {
            const buf = try arw.allocator.alloc(u8, op.size);
            r.value = buf[0..try arw.fs.readAt(op.path, op.offset, buf)];
        },
        .@"fs.read_all" => r.value = try arw.fs.read(op.path),
        .@"fs.write" => try arw.fs.write(op.path, op.value),
        .@"fs.remove" => try arw.fs.remove(op.path),
        .@"clock.now" => r.ns = try arw.clock.now(),
        .@"clock.monotonic" => r.ns = try arw.clock.monotonic(),
        .@"rand.bytes" => {
            const buf = try arw.allocator.alloc(u8, op.size);
            try arw.rand.fill(buf);
            r.hex = try hexOf(buf);
        },
        .@"fs.copy" => r.size = try copy(op.path, op.to),
        .@"fs.draft" => try (try arw.fs.create(op.path)).write(op.value),
        .@"fs.hold" => for (0..op.size) |_| {
            _ = try arw.fs.open(op.path);
        },
        .@"secret.public" => r.hex = try hexOf(try arw.secret.public(op.name)),
        .@"secret.mac" => r.hex = try hexOf(try arw.secret.mac(op.name, op.value)),
        .@"secret.sign" => r.hex = try hexOf(try arw.secret.sign(op.name, op.value)),
        .@"archive.unpack" => r.unpacked = try arw.archive.unpack(.{ .from = op.from, .to = op.to, .strip_components = op.strip, .max_total_bytes = op.most }),
        .@"config.get" => r.doc = try arw.config.get(arw.json.Value, op.name),
        .@"action.call" => switch (try arw.action.call(op.tool, op.doc)) {
            .value => |v| r.doc = v,
            .bytes => |b| r.value = b,
        },
        .@"http.fetch", .@"http.upload", .@"http.chat" => try network(name, op, r),
        .@"infer.generate" => try answered(.{ .model = op.name, .prompt = op.value, .max_tokens = op.size }, r),
        .@"infer.chat" => try answered(.{ .messages = @as([]const Message, &.{.{ .role = "user", .content = op.value }}), .max_tokens = op.size }, r),
        .@"infer.embed" => r.doc = try arw.infer.embed(.{ .model = op.name, .texts = op.texts }),
        .@"infer.rerank" => r.doc = try arw.infer.rerank(.{ .model = op.name, .query = op.value, .documents = op.texts }),
        .@"infer.tokenize", .@"infer.count" => r.doc = try arw.infer.tokenize(.{ .model = op.name, .prompt = op.value, .count = name == .@"infer.count" }),
    }
}

fn hexOf(bytes: []const u8) anyerror![]u8 {
    const hex = try arw.allocator.alloc(u8, bytes.len * 2);
    for (bytes, 0..) |b, i| {
        hex[2 * i] = "0123456789abcdef"[b >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[b & 15];
    }
    return hex;
}

/// Moves a file by handle, piece by piece.
fn copy(from: []const u8, to: []const u8) anyerror!usize {
    const source = try arw.fs.open(from);
    const target = try arw.fs.create(to);
    const buf = try arw.allocator.alloc(u8, 64 << 10);
    var size: usize = 0;
    while (true) {
        const n = try source.read(buf);
        if (n == 0) break;
        try target.write(buf[0..n]);
        size += n;
    }
    try target.commit();
    try source.close();
    return size;
}

const Message = struct { role: []const u8, content: []const u8 };

fn answered(req: anytype, r: *Outcome) anyerror!void {
    const a = try arw.infer.generate(req);
    r.value = try a.readAll();
    const how = try a.finish();
    r.finish = try arw.json.read([]const u8, how.object.get("finish_reason").?, "finish_reason");
    r.tokens = try arw.json.read(i64, how.object.get("usage").?.object.get("completion_tokens").?, "completion_tokens");
    return a.close();
}

fn network(name: Name, op: Op, r: *Outcome) anyerror!void {
    const pairs = [_]arw.http.Pair{.{ "X-A", op.header }};
    var req: arw.http.Request = .{ .url = op.url, .headers = if (op.header.len > 0) &pairs else &.{} };
    const tokens = [_][]const u8{op.secret};
    if (op.secret.len > 0) req.secrets = &tokens;
    if (op.method.len > 0) req.method = op.method;
    if (name == .@"http.chat") {
        const s = try arw.http.connect(req);
        try s.send(.{ .text = op.value });
        if (try s.receive()) |said| r.value = said.text;
        r.more = try s.receive() != null;
        r.status = s.head.status;
        return s.close();
    }
    const answer = if (name == .@"http.fetch") try arw.http.fetch(req, op.value) else blk: {
        req.method = "POST";
        const up = try arw.http.open(req);
        try up.write(op.value);
        try up.write(op.value);
        break :blk try up.response();
    };
    r.status = answer.status;
    r.value = try answer.readAll();
    return answer.close();
}
