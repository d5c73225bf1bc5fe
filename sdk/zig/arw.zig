//! Write arw packs in Zig: typed functions, and one line that exports them.
//!
//!     const arw = @import("arw");
//!     pub const panic = arw.panic;
//!     comptime {
//!         arw.exports(.{arw.tool("hello.greet", greet)});
//!     }
//!     const Greeting = struct { name: []const u8 };
//!     const Reply = struct { text: []const u8 };
//!     fn greet(in: Greeting) !Reply {
//!         return .{ .text = try arw.print("Hello, {s}!", .{in.name}) };
//!     }
//!
//! Structs are read from JSON, written as JSON and described by JSON Schemas by their fields: one with a default value may be
//! absent, an optional one may be null and is left out when it is null. An error of `Error` reaches the caller with its code; any
//! other is tool_failed with its name. `message()` is what went with the last one. Memory of `allocator` is gone when the
//! call ends; `keep` copies what a session shall keep. A pack runs one call at a time.
const std = @import("std");
pub const json = @import("json.zig");
pub const host = @import("host.zig");
pub const kv = host.kv;
pub const log = host.log;
pub const event = host.event;
pub const state = host.state;
pub const fs = host.fs;
pub const clock = host.clock;
pub const rand = host.rand;
pub const action = host.action;
pub const stream = host.stream;
pub const http = host.http;
pub const secret = host.secret;
pub const archive = host.archive;
pub const config = host.config;
pub const infer = host.infer;

pub const ABI = "1.3.0";

/// The codes of docs/spec/errors.md as errors, in the order of their numbers from 2.
pub const Error = error{
    Invalid,        NotFound,      Denied,          Unauthenticated, LeaseExpired,    LeaseRevoked, BudgetExhausted, Untrusted,
    Unsigned,       DigestMismatch, Corrupt,        TooLarge,        Unsupported,     Incompatible, Conflict,        Busy,
    Unavailable,    Deadline,      Cancelled,       GasExhausted,    MemoryExhausted, DepthExceeded, Trap,           Exited,
    Quarantined,    Interrupted,   ToolFailed,      StorageFull,     Internal,     NoModel,
};

const codes = [_]Error{
    error.Invalid,     error.NotFound,       error.Denied,    error.Unauthenticated, error.LeaseExpired,    error.LeaseRevoked,  error.BudgetExhausted, error.Untrusted,
    error.Unsigned,    error.DigestMismatch, error.Corrupt,   error.TooLarge,        error.Unsupported,     error.Incompatible,  error.Conflict,        error.Busy,
    error.Unavailable, error.Deadline,       error.Cancelled, error.GasExhausted,    error.MemoryExhausted, error.DepthExceeded, error.Trap,            error.Exited,
    error.Quarantined, error.Interrupted,    error.ToolFailed, error.StorageFull,    error.Internal,      error.NoModel,
};

/// The error of a code's number; ToolFailed for a number that is no error's.
pub fn errorOf(number: u64) Error {
    return if (number >= 2 and number - 2 < codes.len) codes[@intCast(number - 2)] else error.ToolFailed;
}

/// The number of an error's code.
pub fn numberOf(err: anyerror) u32 {
    for (codes, 2..) |e, n| if (e == err) return @intCast(n);
    return numberOf(error.ToolFailed);
}

var arena = std.heap.ArenaAllocator.init(std.heap.wasm_allocator);

/// Memory until the call ends.
pub const allocator = arena.allocator();

/// A copy that stays for the calls of a session.
pub fn keep(text: []const u8) []u8 {
    return std.heap.wasm_allocator.dupe(u8, text) catch @panic("out of memory");
}

/// Text made by a format of std.fmt.
pub fn print(comptime format: []const u8, args: anytype) ![]u8 {
    return std.fmt.allocPrint(allocator, format, args);
}

var words: ?[]const u8 = null;
var detail: ?json.Value = null;

/// Notes a message for the error that is returned: return arw.fail(error.Conflict, "…", .{}).
pub fn fail(err: Error, comptime format: []const u8, args: anytype) Error {
    return failText(err, std.fmt.allocPrint(allocator, format, args) catch "", null);
}

/// fail with a finished message and detail for a machine.
pub fn failText(err: Error, text: []const u8, more: ?json.Value) Error {
    words = text;
    detail = more;
    return err;
}

/// What went with the last error.
pub fn message() []const u8 {
    return words orelse "";
}

/// The panic handler: what a panic says reaches the caller beside the trap. Put `pub const panic = arw.panic;` into main.zig.
pub const panic = std.debug.FullPanic(onPanic);

fn onPanic(text: []const u8, _: ?usize) noreturn {
    host.lastWords(text);
    @trap();
}

/// A tool that takes and answers JSON: fn (In) !Out. An input of no bytes is an object without fields.
pub fn tool(comptime id: []const u8, comptime run: anytype) Tool {
    const info = @typeInfo(@TypeOf(run)).@"fn";
    const In = @typeInfo(@TypeOf(run)).@"fn".param_types[0].?;
    const Out = @typeInfo(info.return_type.?).error_union.payload;
    const T = struct {
        fn serve(raw: []const u8, out: *json.Out) anyerror!void {
            const value = try json.parse(if (raw.len == 0) "{}" else raw);
            const reply = try run(try json.read(In, value, ""));
            try out.append(allocator, 0);
            try json.write(out, reply);
        }
        fn describe(out: *json.Out) anyerror!void {
            try out.appendSlice(allocator, ",\"input\":");
            try json.schema(out, In);
            try out.appendSlice(allocator, ",\"output\":");
            try json.schema(out, Out);
        }
    };
    return .{ .id = id, .serve = T.serve, .describe = T.describe };
}

/// A tool that takes and answers bytes as they are: fn ([]const u8) ![]const u8.
pub fn bytes(comptime id: []const u8, comptime run: anytype) Tool {
    const T = struct {
        fn serve(raw: []const u8, out: *json.Out) anyerror!void {
            const reply = try run(raw);
            try out.ensureTotalCapacityPrecise(allocator, reply.len + 1);
            out.appendAssumeCapacity(1);
            out.appendSliceAssumeCapacity(reply);
        }
    };
    return .{ .id = id, .serve = T.serve, .describe = null };
}

pub const Tool = struct {
    id: []const u8,
    serve: *const fn ([]const u8, *json.Out) anyerror!void,
    describe: ?*const fn (*json.Out) anyerror!void,
};

var request: []u8 = &.{};

/// Exports the module's functions to the host, for a tuple of tools.
pub fn exports(comptime tools: anytype) void {
    const table: [tools.len]Tool = tools;
    const Module = struct {
        fn alloc(size: u32) callconv(.c) u32 {
            if (request.len < size or request.len == 0)
                request = std.heap.wasm_allocator.alloc(u8, @max(size, 16)) catch return 0;
            return @intCast(@intFromPtr(request.ptr));
        }
        fn call(id: u32, id_len: u32, in: u32, in_len: u32) callconv(.c) u64 {
            _ = arena.reset(.retain_capacity);
            words = null;
            detail = null;
            var out: json.Out = .empty;
            serve(&table, given(id, id_len), given(in, in_len), &out) catch |err| writeError(&out, err);
            return @as(u64, @intFromPtr(out.items.ptr)) << 32 | out.items.len;
        }
    };
    @export(&Module.alloc, .{ .name = "arw_alloc" });
    @export(&Module.call, .{ .name = "arw_call" });
}

fn given(at: u32, len: u32) []const u8 {
    return if (len == 0) "" else @as([*]const u8, @ptrFromInt(at))[0..len];
}

fn serve(table: []const Tool, id: []const u8, in: []const u8, out: *json.Out) anyerror!void {
    for (table) |t| if (std.mem.eql(u8, t.id, id)) return t.serve(in, out);
    if (std.mem.eql(u8, id, "_describe")) return describe(table, out);
    return fail(error.NotFound, "call \"{s}\": the pack has no such tool", .{id});
}

/// describe answers the tool that every module has besides its own, for a build to hold the manifest against the code.
fn describe(table: []const Tool, out: *json.Out) anyerror!void {
    try out.appendSlice(allocator, "\x00{\"sdk\":\"zig\",\"abi\":\"" ++ ABI ++ "\",\"tools\":[");
    for (table, 0..) |t, i| {
        try out.appendSlice(allocator, if (i > 0) ",{\"id\":\"" else "{\"id\":\"");
        try out.appendSlice(allocator, t.id);
        try out.append(allocator, '"');
        if (t.describe) |d| try d(out);
        try out.append(allocator, '}');
    }
    try out.appendSlice(allocator, "]}");
}

fn writeError(out: *json.Out, err: anyerror) void {
    if (err == error.OutOfMemory) @panic("out of memory");
    const text = words orelse @errorName(err);
    var head: [9]u8 = undefined;
    head[0] = 2;
    std.mem.writeInt(u32, head[1..5], numberOf(err), .little);
    std.mem.writeInt(u32, head[5..9], @intCast(text.len), .little);
    out.clearRetainingCapacity();
    out.appendSlice(allocator, &head) catch @panic("out of memory");
    out.appendSlice(allocator, text) catch @panic("out of memory");
    if (detail) |d| json.write(out, d) catch @panic("out of memory");
}
