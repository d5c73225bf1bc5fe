//! glob.match: an example of the Zig SDK.
const std = @import("std");
const arw = @import("arw");

pub const panic = arw.panic;

comptime {
    arw.exports(.{arw.tool("glob.match", match)});
}

const Input = struct { pattern: []const u8, paths: []const []const u8 };
const Output = struct { paths: []const []const u8 };

fn match(in: Input) !Output {
    if (in.pattern.len > 1000) return arw.fail(error.TooLarge, "match paths: the pattern has {d} bytes, 1000 are the most", .{in.pattern.len});
    const fitting = try arw.allocator.alloc([]const u8, in.paths.len);
    const row = try arw.allocator.alloc(bool, in.pattern.len + 1);
    var n: usize = 0;
    for (in.paths) |path| {
        if (!fits(in.pattern, path, row)) continue;
        fitting[n] = path;
        n += 1;
    }
    return .{ .paths = fitting[0..n] };
}

/// Each character of the path moves the set of places in the pattern that were reached: no pattern takes more time than
/// its length times the path's.
fn fits(pattern: []const u8, path: []const u8, reached: []bool) bool {
    @memset(reached, false);
    reached[0] = true;
    skipStars(pattern, reached);
    for (path) |c| {
        var i = pattern.len;
        reached[i] = false;
        while (i > 0) {
            i -= 1;
            const here = reached[i];
            const star = pattern[i] == '*';
            const double = star and (i + 1 < pattern.len and pattern[i + 1] == '*' or i > 0 and pattern[i - 1] == '*');
            if (here and !star and (pattern[i] == c or pattern[i] == '?' and c != '/')) reached[i + 1] = true;
            reached[i] = here and star and (double or c != '/');
        }
        skipStars(pattern, reached);
    }
    return reached[pattern.len];
}

fn skipStars(pattern: []const u8, reached: []bool) void {
    for (pattern, 0..) |c, i| {
        if (c == '*' and reached[i]) reached[i + 1] = true;
    }
}
