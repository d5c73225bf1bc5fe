// As much of semantic versions as release notes need.
import { ToolError } from "arw";

export function parse(version) {
  const m = /^(\d+)\.(\d+)\.(\d+)$/.exec(version);
  if (!m) throw new ToolError("invalid", `version ${JSON.stringify(version)} is not three numbers with dots between`);
  return m.slice(1).map(Number);
}

export function next(version, bump) {
  const [major, minor, patch] = parse(version);
  switch (bump) {
    case "major": return `${major + 1}.0.0`;
    case "minor": return `${major}.${minor + 1}.0`;
  }
  return `${major}.${minor}.${patch + 1}`;
}

export function compare(a, b) {
  const [x, y] = [parse(a), parse(b)];
  const at = x.findIndex((n, i) => n !== y[i]);
  return at < 0 ? 0 : x[at] - y[at];
}
