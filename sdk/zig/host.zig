//! The host's functions, a namespace for each capability. Each needs its line in pack.toml; without a live lease they answer
//! error.Denied, error.LeaseExpired and the like, also in the middle of a call: return that error as it is.
const std = @import("std");
const arw = @import("arw.zig");
const json = arw.json;
const Ptr = [*]const u8;

const imports = struct {
    extern "arw:io" fn take(out: [*]u8, cap: u32) u64;
    extern "wasi_snapshot_preview1" fn fd_write(fd: u32, iov: *const [2]u32, count: u32, written: *u32) u32;
};

/// What a panic says: the host shows it beside the trap.
pub fn lastWords(text: []const u8) void {
    var n: u32 = 0;
    const all = std.mem.concat(arw.allocator, u8, &.{ "panic: ", text }) catch text;
    _ = imports.fd_write(2, &.{ @intFromPtr(all.ptr), @intCast(all.len) }, 1, &n);
}

const small = 1024; // most replies fit

fn len(b: []const u8) u32 {
    return @intCast(b.len);
}

var nowhere: [1]u8 = .{0};

/// Where bytes lie. No bytes may lie anywhere for Zig, but not for the host.
fn ptr(b: []const u8) Ptr {
    return if (b.len == 0) &nowhere else b.ptr;
}
fn room(b: []u8) [*]u8 {
    return if (b.len == 0) &nowhere else b.ptr;
}

fn done(status: u64) arw.Error!u32 {
    const code = status >> 32;
    const n: u32 = @truncate(status);
    if (code == 0) return n;
    if (code == 1) return arw.fail(error.Internal, "the host answered with more than was asked", .{});
    const text = arw.allocator.alloc(u8, n) catch return error.MemoryExhausted;
    if (n > 0 and imports.take(text.ptr, n) >> 32 != 0) return arw.fail(arw.errorOf(code), "", .{});
    return arw.failText(arw.errorOf(code), text, null);
}

fn buffer() ![]u8 {
    return arw.allocator.alloc(u8, small);
}

/// What a function wrote to buf, or the larger reply that waits.
fn reply(status: u64, buf: []u8) anyerror![]u8 {
    const n: u32 = @truncate(status);
    if (status >> 32 == 1) {
        const large = try arw.allocator.alloc(u8, n);
        _ = try done(imports.take(large.ptr, n));
        return large;
    }
    return buf[0..try done(status)];
}

fn typed(comptime T: type, status: u64, buf: []u8) anyerror!T {
    return json.read(T, try json.parse(try reply(status, buf)), "reply");
}

fn written(v: anytype) anyerror![]u8 {
    var out: json.Out = .empty;
    try json.write(&out, v);
    return out.items;
}

pub const log = struct {
    extern "arw:log" fn write(level: u32, msg: Ptr, n: u32) u64;
    pub const Level = enum(u32) { debug, info, warn, err };
    /// A refusal is not the tool's business.
    pub fn line(level: Level, text: []const u8) void {
        _ = write(@intFromEnum(level), ptr(text), len(text));
    }
};

pub const kv = struct {
    const f = struct {
        extern "arw:kv" fn get(key: Ptr, key_len: u32, out: [*]u8, cap: u32) u64;
        extern "arw:kv" fn put(key: Ptr, key_len: u32, val: Ptr, val_len: u32) u64;
        extern "arw:kv" fn delete(key: Ptr, key_len: u32) u64;
        extern "arw:kv" fn list(req: Ptr, req_len: u32, out: [*]u8, cap: u32) u64;
        extern "arw:kv" fn batch(ops: Ptr, n: u32) u64;
    };
    pub const Key = struct { key: []const u8, size: u32 };
    /// One page of keys; with more set ask again after the last one.
    pub const Keys = struct { keys: []const Key, more: bool };

    /// error.NotFound when there is no such key.
    pub fn get(key: []const u8) anyerror![]u8 {
        const buf = try buffer();
        return reply(f.get(ptr(key), len(key), buf.ptr, small), buf);
    }
    pub fn put(key: []const u8, value: []const u8) arw.Error!void {
        _ = try done(f.put(ptr(key), len(key), ptr(value), len(value)));
    }
    /// An absent key is no error.
    pub fn delete(key: []const u8) arw.Error!void {
        _ = try done(f.delete(ptr(key), len(key)));
    }
    pub const Query = struct { prefix: []const u8 = "", after: []const u8 = "", limit: u32 = 0 };
    /// In byte order; a limit of 0 means 1,000, which is the most.
    pub fn list(q: Query) anyerror!Keys {
        const req = try written(q);
        const buf = try buffer();
        return typed(Keys, f.list(ptr(req), len(req), buf.ptr, small), buf);
    }

    /// Puts and deletes that happen together or not at all.
    pub const Batch = struct {
        ops: json.Out = .empty,
        pub fn put(b: *Batch, key: []const u8, value: []const u8) !void {
            try b.ops.append(arw.allocator, 1);
            try b.field(key);
            try b.field(value);
        }
        pub fn delete(b: *Batch, key: []const u8) !void {
            try b.ops.append(arw.allocator, 2);
            try b.field(key);
        }
        pub fn apply(b: *const Batch) arw.Error!void {
            _ = try done(f.batch(ptr(b.ops.items), len(b.ops.items)));
        }
        fn field(b: *Batch, s: []const u8) !void {
            try b.ops.appendSlice(arw.allocator, &std.mem.toBytes(std.mem.nativeToLittle(u32, len(s))));
            try b.ops.appendSlice(arw.allocator, s);
        }
    };
};

pub const event = struct {
    const f = struct {
        extern "arw:event" fn emit(kind: Ptr, kind_len: u32, body: Ptr, body_len: u32) u64;
    };
    pub fn emit(kind: []const u8, body: anytype) anyerror!void {
        const raw = try written(body);
        _ = try done(f.emit(ptr(kind), len(kind), ptr(raw), len(raw)));
    }
};

pub const state = struct {
    const f = struct {
        extern "arw:state" fn get(name: Ptr, name_len: u32, out: [*]u8, cap: u32) u64;
        extern "arw:state" fn put(name: Ptr, name_len: u32, doc: Ptr, doc_len: u32) u64;
    };
    pub fn get(comptime T: type, name: []const u8) anyerror!T {
        const buf = try buffer();
        return typed(T, f.get(ptr(name), len(name), buf.ptr, small), buf);
    }
    pub fn put(name: []const u8, doc: anytype) anyerror!void {
        const raw = try written(doc);
        _ = try done(f.put(ptr(name), len(name), ptr(raw), len(raw)));
    }
};

pub const fs = struct {
    const f = struct {
        extern "arw:fs" fn list(req: Ptr, req_len: u32, out: [*]u8, cap: u32) u64;
        extern "arw:fs" fn stat(path: Ptr, path_len: u32, out: [*]u8, cap: u32) u64;
        extern "arw:fs" fn read(path: Ptr, path_len: u32, low: u32, high: u32, out: [*]u8, cap: u32) u64;
        extern "arw:fs" fn write(path: Ptr, path_len: u32, data: Ptr, data_len: u32) u64;
        extern "arw:fs" fn remove(path: Ptr, path_len: u32) u64;
        extern "arw:fs" fn open(path: Ptr, path_len: u32, out: [*]u8, cap: u32) u64;
        extern "arw:fs" fn create(path: Ptr, path_len: u32, out: [*]u8, cap: u32) u64;
    };
    /// mode is file, dir, symlink or other.
    pub const Entry = struct { path: []const u8, size: i64, mode: []const u8, mtime_ms: i64 };
    pub const Entries = struct { entries: []const Entry, more: bool };
    pub const Query = struct { path: []const u8, recursive: bool = false, after: []const u8 = "", limit: u32 = 0 };

    pub fn list(q: Query) anyerror!Entries {
        const req = try written(q);
        const buf = try buffer();
        return typed(Entries, f.list(ptr(req), len(req), buf.ptr, small), buf);
    }
    pub fn stat(path: []const u8) anyerror!Entry {
        const buf = try buffer();
        return typed(Entry, f.stat(ptr(path), len(path), buf.ptr, small), buf);
    }
    /// Reads into buf from an offset and says how much; 0 is the end.
    pub fn readAt(path: []const u8, offset: u64, buf: []u8) arw.Error!usize {
        return done(f.read(ptr(path), len(path), @truncate(offset), @truncate(offset >> 32), room(buf), len(buf)));
    }
    pub fn read(path: []const u8) anyerror![]u8 {
        var all: json.Out = .empty;
        const piece = try arw.allocator.alloc(u8, 64 << 10);
        while (true) {
            const n = try readAt(path, all.items.len, piece);
            if (n == 0) return all.items;
            try all.appendSlice(arw.allocator, piece[0..n]);
        }
    }
    pub fn write(path: []const u8, data: []const u8) arw.Error!void {
        _ = try done(f.write(ptr(path), len(path), ptr(data), len(data)));
    }
    pub fn remove(path: []const u8) arw.Error!void {
        _ = try done(f.remove(ptr(path), len(path)));
    }

    /// A file that is read by handle, piece by piece, from its beginning. The lease is asked at each piece. Close it: 16 handles
    /// may be open in a call.
    pub const File = struct {
        handle: u32,
        /// Reads on into buf and says how much; 0 is the end.
        pub fn read(file: File, buf: []u8) arw.Error!usize {
            return done(stream.f.read(file.handle, room(buf), len(buf)));
        }
        pub fn close(file: File) arw.Error!void {
            _ = try done(stream.f.close(file.handle));
        }
    };
    pub fn open(path: []const u8) arw.Error!File {
        var out: [4]u8 = undefined;
        _ = try done(f.open(ptr(path), len(path), &out, 4));
        return .{ .handle = std.mem.readInt(u32, &out, .little) };
    }

    /// A file in the making, of any size. Nothing is at its path before commit; one that is left open is thrown away when the
    /// call ends.
    pub const Draft = struct {
        handle: u32,
        pub fn write(draft: Draft, data: []const u8) arw.Error!void {
            return stream.parts(draft.handle, data);
        }
        /// Puts the file in its place, whole and durable.
        pub fn commit(draft: Draft) arw.Error!void {
            _ = try done(stream.f.close(draft.handle));
        }
    };
    pub fn create(path: []const u8) arw.Error!Draft {
        var out: [4]u8 = undefined;
        _ = try done(f.create(ptr(path), len(path), &out, 4));
        return .{ .handle = std.mem.readInt(u32, &out, .little) };
    }
};

/// Secrets that the operator stored under names. The pack uses them and never sees one.
pub const secret = struct {
    const f = struct {
        extern "arw:secret" fn public(name: Ptr, name_len: u32, out: [*]u8, cap: u32) u64;
        extern "arw:secret" fn mac(name: Ptr, name_len: u32, data: Ptr, data_len: u32, out: [*]u8, cap: u32) u64;
        extern "arw:secret" fn sign(name: Ptr, name_len: u32, data: Ptr, data_len: u32, out: [*]u8, cap: u32) u64;
    };
    /// The public half of a key pair, PKIX in DER.
    pub fn public(name: []const u8) anyerror![]u8 {
        const buf = try buffer();
        return reply(f.public(ptr(name), len(name), buf.ptr, small), buf);
    }
    /// The 32 bytes of HMAC-SHA-256 over at most 1 MiB.
    pub fn mac(name: []const u8, data: []const u8) anyerror![]u8 {
        const buf = try buffer();
        return reply(f.mac(ptr(name), len(name), ptr(data), len(data), buf.ptr, small), buf);
    }
    /// A signature over at most 1 MiB: Ed25519, or ECDSA on P-256 over SHA-256 as ASN.1.
    pub fn sign(name: []const u8, data: []const u8) anyerror![]u8 {
        const buf = try buffer();
        return reply(f.sign(ptr(name), len(name), ptr(data), len(data), buf.ptr, small), buf);
    }
};

/// Archives, unpacked by the host within its bounds.
pub const archive = struct {
    const f = struct {
        extern "arw:archive" fn unpack(req: Ptr, req_len: u32, out: [*]u8, cap: u32) u64;
    };
    /// The archive from, a file of a leased folder, goes into to, a new folder of another. Bounds of 0 are the host's own.
    pub const Request = struct {
        from: []const u8,
        to: []const u8,
        /// Leading folders taken off each name.
        strip_components: u32 = 0,
        /// Unpack archives found inside, too.
        nested: bool = false,
        /// Leave out links instead of refusing the archive.
        skip_links: bool = false,
        max_total_bytes: i64 = 0,
        max_entries: i64 = 0,
        max_depth: i64 = 0,
    };
    pub const Unpacked = struct { format: []const u8, files: i64, folders: i64, bytes: i64, skipped: i64, depth: i64 };
    /// Unpacks wholly or not at all.
    pub fn unpack(req: Request) anyerror!Unpacked {
        const raw = try written(req);
        const buf = try buffer();
        return typed(Unpacked, f.unpack(ptr(raw), len(raw), buf.ptr, small), buf);
    }
};

/// Documents of the configuration, as they are for the project and the agent that call.
pub const config = struct {
    const f = struct {
        extern "arw:config" fn get(name: Ptr, name_len: u32, out: [*]u8, cap: u32) u64;
    };
    pub fn get(comptime T: type, name: []const u8) anyerror!T {
        const buf = try buffer();
        return typed(T, f.get(ptr(name), len(name), buf.ptr, small), buf);
    }
};

pub const clock = struct {
    const f = struct {
        extern "arw:clock" fn now(out: *i64, cap: u32) u64;
        extern "arw:clock" fn monotonic(out: *i64, cap: u32) u64;
    };
    /// Nanoseconds since 1970.
    pub fn now() arw.Error!i64 {
        var ns: i64 = 0;
        _ = try done(f.now(&ns, 8));
        return ns;
    }
    /// Nanoseconds of a clock that never steps back.
    pub fn monotonic() arw.Error!i64 {
        var ns: i64 = 0;
        _ = try done(f.monotonic(&ns, 8));
        return ns;
    }
};

pub const rand = struct {
    extern "arw:rand" fn bytes(out: [*]u8, cap: u32) u64;
    pub fn fill(buf: []u8) arw.Error!void {
        _ = try done(bytes(room(buf), len(buf)));
    }
};

pub const action = struct {
    const f = struct {
        extern "arw:action" fn call(tool: Ptr, tool_len: u32, in: Ptr, in_len: u32, out: [*]u8, cap: u32) u64;
    };
    pub const Reply = union(enum) { value: json.Value, bytes: []const u8 };

    /// The other tool's own error comes back as it is.
    pub fn call(tool: []const u8, in: anytype) anyerror!Reply {
        const raw = try written(in);
        const buf = try buffer();
        const frame = try reply(f.call(ptr(tool), len(tool), ptr(raw), len(raw), buf.ptr, small), buf);
        if (frame.len > 0 and frame[0] == 0) return .{ .value = try json.parse(frame[1..]) };
        if (frame.len > 0 and frame[0] == 1) return .{ .bytes = frame[1..] };
        if (frame.len < 9) return arw.fail(error.Internal, "the other tool's frame is broken", .{});
        const code = std.mem.readInt(u32, frame[1..5], .little);
        const end = 9 + @min(std.mem.readInt(u32, frame[5..9], .little), frame.len - 9);
        const more = if (end < frame.len) json.parse(frame[end..]) catch null else null;
        return arw.failText(arw.errorOf(code), frame[9..end], more);
    }
};

/// Bytes that the caller gives and takes while the call runs. They carry no authority: no capability, no lease.
pub const stream = struct {
    const f = struct {
        extern "arw:stream" fn read(handle: u32, out: [*]u8, cap: u32) u64;
        extern "arw:stream" fn write(handle: u32, data: Ptr, n: u32) u64;
        extern "arw:stream" fn send(handle: u32, doc: Ptr, n: u32) u64;
        extern "arw:stream" fn close(handle: u32) u64;
    };
    pub const max_part = 1 << 20;

    /// Waits for input and says how much there is; 0 is the end. error.NotFound: the caller streams nothing in.
    pub fn read(buf: []u8) arw.Error!usize {
        return done(f.read(0, room(buf), len(buf)));
    }
    pub fn write(data: []const u8) arw.Error!void {
        return parts(1, data);
    }
    fn parts(handle: u32, data: []const u8) arw.Error!void {
        var at: usize = 0;
        while (at < data.len) : (at += max_part) {
            const part = data[at..@min(at + max_part, data.len)];
            _ = try done(f.write(handle, ptr(part), len(part)));
        }
    }
    /// Gives one JSON value as a part of its own.
    pub fn send(doc: anytype) anyerror!void {
        const raw = try written(doc);
        _ = try done(f.send(1, ptr(raw), len(raw)));
    }
    pub fn closeInput() arw.Error!void {
        _ = try done(f.close(0));
    }
    pub fn closeOutput() arw.Error!void {
        _ = try done(f.close(1));
    }
};

/// The network, behind the host's guard: a row of its ledger for every request. Tools that use it declare effects = "open_world".
pub const http = struct {
    const f = struct {
        extern "arw:http" fn fetch(req: Ptr, req_len: u32, body: Ptr, body_len: u32, out: [*]u8, cap: u32) u64;
        extern "arw:http" fn open(req: Ptr, req_len: u32, out: [*]u8, cap: u32) u64;
        extern "arw:http" fn response(handle: u32, out: [*]u8, cap: u32) u64;
        extern "arw:http" fn connect(req: Ptr, req_len: u32, out: [*]u8, cap: u32) u64;
        extern "arw:http" fn send(handle: u32, kind: u32, data: Ptr, n: u32) u64;
        extern "arw:http" fn receive(handle: u32, out: [*]u8, cap: u32) u64;
    };
    pub const Pair = [2][]const u8;
    /// redirect is "follow" (each hop judged anew) or "manual"; bounds of 0 are the host's own.
    pub const Request = struct {
        url: []const u8,
        method: []const u8 = "GET",
        headers: []const Pair = &.{},
        redirect: []const u8 = "follow",
        timeout_ms: i64 = 0,
        max_bytes: i64 = 0,
        /// Names of tokens that the host puts in for their audience, at most 4; each needs a lease of secret.
        secrets: []const []const u8 = &.{},
    };
    /// The head of an answer; its body is read from it. Close it: 16 may be open in a call.
    pub const Response = struct {
        handle: u32,
        status: i64,
        url: []const u8,
        headers: []const Pair,
        /// -1 when the server announced none.
        length: i64,

        /// Waits for bytes of the body and says how many there are; 0 is the end.
        pub fn read(r: Response, buf: []u8) arw.Error!usize {
            return done(stream.f.read(r.handle, room(buf), len(buf)));
        }
        pub fn readAll(r: Response) anyerror![]u8 {
            var all: json.Out = .empty;
            const piece = try arw.allocator.alloc(u8, 64 << 10);
            while (true) {
                const n = try r.read(piece);
                if (n == 0) return all.items;
                try all.appendSlice(arw.allocator, piece[0..n]);
            }
        }
        pub fn close(r: Response) arw.Error!void {
            _ = try done(stream.f.close(r.handle));
        }
    };

    fn head(status: u64, buf: []u8) anyerror!Response {
        const v = try json.parse(try reply(status, buf));
        if (v != .object) return arw.fail(error.Internal, "the host's answer is no object", .{});
        const list = v.object.get("headers") orelse return arw.fail(error.Internal, "the host's answer has no headers", .{});
        const headers = try arw.allocator.alloc(Pair, if (list == .array) list.array.items.len else 0);
        for (headers, 0..) |*to, i| to.* = .{ try json.read([]const u8, list.array.items[i].array.items[0], "headers"), try json.read([]const u8, list.array.items[i].array.items[1], "headers") };
        return .{
            .handle = try json.read(u32, v.object.get("handle").?, "handle"),
            .status = try json.read(i64, v.object.get("status").?, "status"),
            .url = try json.read([]const u8, v.object.get("url").?, "url"),
            .headers = headers,
            .length = try json.read(i64, v.object.get("length").?, "length"),
        };
    }
    fn raw(req: Request) anyerror![]u8 {
        var out: json.Out = .empty;
        const a = arw.allocator;
        try out.appendSlice(a, "{\"url\":");
        try json.quoted(&out, req.url);
        try out.appendSlice(a, ",\"method\":");
        try json.quoted(&out, req.method);
        try out.appendSlice(a, ",\"redirect\":");
        try json.quoted(&out, req.redirect);
        try out.appendSlice(a, ",\"headers\":[");
        for (req.headers, 0..) |pair, i| {
            try out.appendSlice(a, if (i > 0) ",[" else "[");
            try json.quoted(&out, pair[0]);
            try out.append(a, ',');
            try json.quoted(&out, pair[1]);
            try out.append(a, ']');
        }
        try out.appendSlice(a, "],\"secrets\":");
        try json.write(&out, req.secrets);
        try out.appendSlice(a, try arw.print(",\"timeout_ms\":{d},\"max_bytes\":{d}}}", .{ req.timeout_ms, req.max_bytes }));
        return out.items;
    }

    /// Sends a request whose body is all here and waits for the head of the answer.
    pub fn fetch(req: Request, body: []const u8) anyerror!Response {
        const r = try raw(req);
        const buf = try buffer();
        return head(f.fetch(ptr(r), len(r), ptr(body), len(body), buf.ptr, small), buf);
    }

    /// The body of a request under way.
    pub const Upload = struct {
        handle: u32,
        /// Sends bytes and waits while the network is slow.
        pub fn write(u: Upload, data: []const u8) arw.Error!void {
            return stream.parts(u.handle, data);
        }
        /// Ends the body and waits for the head of the answer.
        pub fn response(u: Upload) anyerror!Response {
            const buf = try buffer();
            return head(f.response(u.handle, buf.ptr, small), buf);
        }
    };
    /// Begins a request whose body is written to the Upload.
    pub fn open(req: Request) anyerror!Upload {
        const r = try raw(req);
        var handle: [4]u8 = undefined;
        _ = try done(f.open(ptr(r), len(r), &handle, 4));
        return .{ .handle = std.mem.readInt(u32, &handle, .little) };
    }

    pub const Message = union(enum) { text: []const u8, bytes: []const u8 };
    /// One WebSocket.
    pub const Socket = struct {
        head: Response,
        pub fn send(s: Socket, message: Message) arw.Error!void {
            switch (message) {
                .text => |t| _ = try done(f.send(s.head.handle, 1, ptr(t), len(t))),
                .bytes => |b| _ = try done(f.send(s.head.handle, 2, ptr(b), len(b))),
            }
        }
        /// Waits for one message; null when the other side has closed the socket.
        pub fn receive(s: Socket) anyerror!?Message {
            const buf = try buffer();
            const got = try reply(f.receive(s.head.handle, buf.ptr, small), buf);
            if (got.len == 0) return null;
            return if (got[0] == 1) .{ .text = got[1..] } else .{ .bytes = got[1..] };
        }
        pub fn close(s: Socket) arw.Error!void {
            return s.head.close();
        }
    };
    pub fn connect(req: Request) anyerror!Socket {
        const r = try raw(req);
        const buf = try buffer();
        return .{ .head = try head(f.connect(ptr(r), len(r), buf.ptr, small), buf) };
    }
};

/// Models of the host. A request is any value that is written as JSON in the form of docs/spec/abi.md, 3.3, and so is a reply that
/// is read. Tools that ask declare effects = "reads".
pub const infer = struct {
    const f = struct {
        extern "arw:infer" fn generate(req: Ptr, req_len: u32, out: [*]u8, cap: u32) u64;
        extern "arw:infer" fn finish(handle: u32, out: [*]u8, cap: u32) u64;
        extern "arw:infer" fn embed(req: Ptr, req_len: u32, out: [*]u8, cap: u32) u64;
        extern "arw:infer" fn rerank(req: Ptr, req_len: u32, out: [*]u8, cap: u32) u64;
        extern "arw:infer" fn tokenize(req: Ptr, req_len: u32, out: [*]u8, cap: u32) u64;
    };
    /// A text that a model is making, read as it comes; a read may end within a character. Close it: that frees the model.
    pub const Answer = struct {
        body: http.Response,

        pub fn read(a: Answer, buf: []u8) arw.Error!usize {
            return a.body.read(buf);
        }
        pub fn readAll(a: Answer) anyerror![]u8 {
            return a.body.readAll();
        }
        /// Waits for the end, drops text that was not read, and tells how it ended.
        pub fn finish(a: Answer) anyerror!json.Value {
            var buf: [small]u8 = undefined;
            return json.parse(try reply(f.finish(a.body.handle, &buf, small), &buf));
        }
        pub fn close(a: Answer) arw.Error!void {
            return a.body.close();
        }
    };

    fn ask(comptime call: anytype, req: anytype) anyerror!json.Value {
        var raw: json.Out = .empty;
        try json.write(&raw, req);
        var buf: [small]u8 = undefined;
        return json.parse(try reply(call(ptr(raw.items), len(raw.items), &buf, small), &buf));
    }
    pub fn generate(req: anytype) anyerror!Answer {
        const v = try ask(f.generate, req);
        return .{ .body = .{ .handle = try json.read(u32, v.object.get("handle") orelse .null, "handle"), .status = 0, .url = "", .headers = &.{}, .length = -1 } };
    }
    pub fn embed(req: anytype) anyerror!json.Value {
        return ask(f.embed, req);
    }
    pub fn rerank(req: anytype) anyerror!json.Value {
        return ask(f.rerank, req);
    }
    pub fn tokenize(req: anytype) anyerror!json.Value {
        return ask(f.tokenize, req);
    }
};
