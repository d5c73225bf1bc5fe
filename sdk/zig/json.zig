//! JSON for tools: std.json parses, types say by their fields how they are read, written and described.
const std = @import("std");
const arw = @import("arw.zig");

/// Any JSON value. Numbers come as `number_string`, so that no digit is lost.
pub const Value = std.json.Value;
pub const Out = std.ArrayList(u8);

/// How deep arrays and objects may nest.
pub const max_depth = 128;

/// Reads one value; error.Invalid when it is none.
pub fn parse(text: []const u8) anyerror!Value {
    if (depth(text) > max_depth) return arw.fail(error.Invalid, "read JSON: values that nest deeper than {d}", .{max_depth});
    return std.json.parseFromSliceLeaky(Value, arw.allocator, text, .{ .parse_numbers = false }) catch |err| switch (err) {
        error.OutOfMemory => err,
        else => arw.fail(error.Invalid, "read JSON: {s}", .{@errorName(err)}),
    };
}

fn depth(text: []const u8) usize {
    var now: usize = 0;
    var most: usize = 0;
    var inside = false;
    var i: usize = 0;
    while (i < text.len) : (i += 1) switch (text[i]) {
        '"' => inside = !inside,
        '\\' => if (inside) {
            i += 1;
        },
        '[', '{' => if (!inside) {
            now += 1;
            most = @max(most, now);
        },
        ']', '}' => if (!inside) {
            now -|= 1;
        },
        else => {},
    };
    return most;
}

/// Reads a value as a type; `at` names it in errors.
pub fn read(comptime T: type, v: Value, at: []const u8) anyerror!T {
    if (T == Value) return v;
    switch (@typeInfo(T)) {
        .optional => |o| return if (v == .null) null else try read(o.child, v, at),
        .bool => return if (v == .bool) v.bool else mismatch(at, "true or false"),
        .int => {
            if (v != .number_string) return mismatch(at, "an integer");
            return std.fmt.parseInt(T, v.number_string, 10) catch mismatch(at, "an integer of type " ++ @typeName(T));
        },
        .float => {
            if (v != .number_string) return mismatch(at, "a number");
            const n = std.fmt.parseFloat(T, v.number_string) catch return mismatch(at, "a number");
            return if (std.math.isFinite(n)) n else mismatch(at, "a number of type " ++ @typeName(T));
        },
        .pointer => |p| {
            if (p.child == u8) return if (v == .string) v.string else mismatch(at, "a text");
            if (v != .array) return mismatch(at, "a list");
            const items = try arw.allocator.alloc(p.child, v.array.items.len);
            for (v.array.items, items) |from, *to| to.* = try read(p.child, from, at);
            return items;
        },
        .@"struct" => return readStruct(T, v, at),
        .void => return,
        else => @compileError(@typeName(T) ++ " has no JSON form"),
    }
}

fn readStruct(comptime T: type, v: Value, at: []const u8) anyerror!T {
    if (v != .object) return mismatch(at, "an object");
    var out: T = undefined;
    inline for (comptime std.meta.fieldNames(T)) |name| {
        const F = @FieldType(T, name);
        const found = v.object.get(name);
        if (found != null and !(found.? == .null and comptime hasDefault(T, name))) {
            @field(out, name) = try read(F, found.?, name);
        } else if (comptime hasDefault(T, name)) {
            @field(out, name) = comptime defaultOf(T, name);
        } else return arw.fail(error.Invalid, "read the input: \"{s}\" is missing", .{name});
    }
    return out;
}

fn mismatch(at: []const u8, comptime what: []const u8) arw.Error {
    return arw.fail(error.Invalid, "read the input: \"{s}\" is not " ++ what, .{at});
}

/// Writes a value as JSON.
pub fn write(out: *Out, v: anytype) anyerror!void {
    const T = @TypeOf(v);
    if (T == Value) return writeAny(out, v);
    switch (@typeInfo(T)) {
        .optional => return if (v) |some| write(out, some) else out.appendSlice(arw.allocator, "null"),
        .bool => return out.appendSlice(arw.allocator, if (v) "true" else "false"),
        .int, .comptime_int => return put(out, "{d}", v),
        .float => {
            if (!std.math.isFinite(v)) return out.appendSlice(arw.allocator, "null");
            const size = @abs(v);
            return if (size != 0 and (size < 1e-6 or size >= 1e21)) put(out, "{e}", v) else put(out, "{d}", v);
        },
        .pointer => |p| {
            if (p.child == u8) return quoted(out, v);
            if (p.size == .one) return quoted(out, v); // a literal
            try out.append(arw.allocator, '[');
            for (v, 0..) |item, i| {
                if (i > 0) try out.append(arw.allocator, ',');
                try write(out, item);
            }
            return out.append(arw.allocator, ']');
        },
        .@"struct" => {
            var before: u8 = '{';
            inline for (comptime std.meta.fieldNames(T)) |name| {
                const F = @FieldType(T, name);
                const left_out = if (@typeInfo(F) == .optional) @field(v, name) == null else false;
                if (!left_out) {
                    try out.append(arw.allocator, before);
                    before = ',';
                    try quoted(out, name);
                    try out.append(arw.allocator, ':');
                    try write(out, @field(v, name));
                }
            }
            return out.appendSlice(arw.allocator, if (before == '{') "{}" else "}");
        },
        .void => return out.appendSlice(arw.allocator, "{}"),
        else => @compileError(@typeName(T) ++ " has no JSON form"),
    }
}

fn put(out: *Out, comptime format: []const u8, v: anytype) anyerror!void {
    var buf: [400]u8 = undefined;
    return out.appendSlice(arw.allocator, try std.fmt.bufPrint(&buf, format, .{v}));
}

fn writeAny(out: *Out, v: Value) anyerror!void {
    switch (v) {
        .null => try out.appendSlice(arw.allocator, "null"),
        .bool => |b| try write(out, b),
        .integer => |n| try write(out, n),
        .float => |n| try write(out, n),
        .number_string => |s| try out.appendSlice(arw.allocator, s),
        .string => |s| try quoted(out, s),
        .array => |a| {
            try out.append(arw.allocator, '[');
            for (a.items, 0..) |item, i| {
                if (i > 0) try out.append(arw.allocator, ',');
                try writeAny(out, item);
            }
            try out.append(arw.allocator, ']');
        },
        .object => |o| {
            try out.append(arw.allocator, '{');
            for (o.keys(), o.values(), 0..) |key, item, i| {
                if (i > 0) try out.append(arw.allocator, ',');
                try quoted(out, key);
                try out.append(arw.allocator, ':');
                try writeAny(out, item);
            }
            try out.append(arw.allocator, '}');
        },
    }
}

/// Writes a JSON string.
pub fn quoted(out: *Out, s: []const u8) anyerror!void {
    try out.append(arw.allocator, '"');
    var from: usize = 0;
    for (s, 0..) |c, i| {
        if (c >= 0x20 and c != '"' and c != '\\') continue;
        try out.appendSlice(arw.allocator, s[from..i]);
        from = i + 1;
        const hex = "0123456789abcdef";
        switch (c) {
            '"', '\\' => try out.appendSlice(arw.allocator, &.{ '\\', c }),
            '\n' => try out.appendSlice(arw.allocator, "\\n"),
            '\t' => try out.appendSlice(arw.allocator, "\\t"),
            else => try out.appendSlice(arw.allocator, &.{ '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] }),
        }
    }
    try out.appendSlice(arw.allocator, s[from..]);
    try out.append(arw.allocator, '"');
}

/// Writes the type's JSON Schema.
pub fn schema(out: *Out, comptime T: type) anyerror!void {
    const a = arw.allocator;
    if (T == Value) return out.appendSlice(a, "true");
    switch (@typeInfo(T)) {
        .optional => |o| return schema(out, o.child),
        .bool => return out.appendSlice(a, "{\"type\":\"boolean\"}"),
        .int => return out.appendSlice(a, "{\"type\":\"integer\"}"),
        .float => return out.appendSlice(a, "{\"type\":\"number\"}"),
        .void => return out.appendSlice(a, "{\"type\":\"object\"}"),
        .pointer => |p| {
            if (p.child == u8) return out.appendSlice(a, "{\"type\":\"string\"}");
            try out.appendSlice(a, "{\"type\":\"array\",\"items\":");
            try schema(out, p.child);
            return out.append(a, '}');
        },
        else => {},
    }
    try out.appendSlice(a, "{\"type\":\"object\",\"properties\":{");
    inline for (comptime std.meta.fieldNames(T), 0..) |name, i| {
        if (i > 0) try out.append(a, ',');
        try quoted(out, name);
        try out.append(a, ':');
        try schema(out, @FieldType(T, name));
    }
    try out.appendSlice(a, "},\"required\":[");
    var some = false;
    inline for (comptime std.meta.fieldNames(T)) |name| {
        if (comptime !hasDefault(T, name)) {
            if (some) try out.append(a, ',');
            some = true;
            try quoted(out, name);
        }
    }
    try out.appendSlice(a, "],\"additionalProperties\":false}");
}

fn hasDefault(comptime T: type, comptime name: []const u8) bool {
    if (@typeInfo(@FieldType(T, name)) == .optional) return true;
    return fieldDefault(T, name) != null;
}

fn defaultOf(comptime T: type, comptime name: []const u8) @FieldType(T, name) {
    if (fieldDefault(T, name)) |d| return d;
    return null;
}

fn fieldDefault(comptime T: type, comptime name: []const u8) ?@FieldType(T, name) {
    @setEvalBranchQuota(100_000);
    const info = @typeInfo(T).@"struct";
    for (info.field_names, info.field_attrs) |field, attrs| {
        if (std.mem.eql(u8, field, name)) return attrs.defaultValue(@FieldType(T, name));
    }
    unreachable;
}
