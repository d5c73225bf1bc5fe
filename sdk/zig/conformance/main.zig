//! The Zig SDK's conformance guest: the tools that abi/abitest asks for.
const std = @import("std");
const arw = @import("arw");
const operations = @import("operations.zig");

pub const panic = arw.panic;

comptime {
    arw.exports(.{
        arw.bytes("conform.echo", echo),
        arw.bytes("conform.size", size),
        arw.tool("conform.json", any),
        arw.tool("conform.typed", typed),
        arw.tool("conform.fail", fail),
        arw.tool("conform.do", operations.run),
        arw.tool("conform.count", countCalls),
        arw.tool("conform.keep", keep),
        arw.tool("conform.spin", spin),
        arw.tool("conform.grow", grow),
        arw.tool("conform.recurse", recurse),
        arw.tool("conform.trap", trap),
        arw.tool("conform.pump", pump),
    });
}

const Nothing = struct {};
const Counted = struct { count: i64 };
const Text = struct { text: []const u8 };
const Texts = struct { texts: []const []const u8 };
const Failure = struct { code: u64, message: []const u8, detail: ?arw.json.Value = null };
const Pumped = struct { bytes: u64 };
const Typed = struct {
    name: []const u8,
    count: i64,
    ratio: f64 = 0,
    on: bool = false,
    tags: []const []const u8 = &.{},
    note: ?[]const u8 = null,
};

var count: i64 = 0;
var kept: [100][]const u8 = undefined;
var kept_count: usize = 0;

fn echo(in: []const u8) anyerror![]const u8 {
    return in;
}

fn size(in: []const u8) anyerror![]const u8 {
    const want = try arw.json.read(struct { size: usize }, try arw.json.parse(in), "");
    const out = try arw.allocator.alloc(u8, want.size);
    for (out, 0..) |*b, i| b.* = @truncate(i * 7 + (i >> 8));
    return out;
}

fn any(in: arw.json.Value) anyerror!arw.json.Value {
    return in;
}

fn typed(in: Typed) anyerror!Typed {
    return in;
}

fn fail(in: Failure) anyerror!Nothing {
    return arw.failText(arw.errorOf(in.code), in.message, in.detail);
}

fn countCalls(_: Nothing) anyerror!Counted {
    count += 1;
    return .{ .count = count };
}

fn keep(in: Text) anyerror!Texts {
    kept[kept_count] = arw.keep(in.text);
    kept_count += 1;
    return .{ .texts = kept[0..kept_count] };
}

fn spin(_: Nothing) anyerror!Nothing {
    const sink: *volatile i64 = &count;
    while (true) sink.* = sink.* +% 1;
}

fn grow(_: Nothing) anyerror!Nothing {
    const sink: *volatile i64 = &count;
    while (true) sink.* = @intCast((try arw.allocator.alloc(u8, 1 << 20)).len);
}

fn deeper(n: i64) i64 {
    const sink: *volatile i64 = &count;
    sink.* = n;
    return deeper(n + 1) +% sink.*;
}

fn recurse(_: Nothing) anyerror!Counted {
    return .{ .count = deeper(1) };
}

fn trap(_: Nothing) anyerror!Nothing {
    @panic("the guest was told to");
}

fn pump(_: Nothing) anyerror!Pumped {
    const buf = try arw.allocator.alloc(u8, 64 << 10);
    var out: Pumped = .{ .bytes = 0 };
    while (true) {
        const n = try arw.stream.read(buf);
        if (n == 0) break;
        try arw.stream.write(buf[0..n]);
        out.bytes += n;
    }
    try arw.stream.send(out);
    try arw.stream.closeOutput();
    return out;
}
