// Release notes from conventional commits: a pure tool that does the work, and two that remember it.
import { ToolError, kv, t, typed } from "arw";
import { compare, next, parse } from "./semver.js";

const headings = { breaking: "Breaking changes", feat: "Features", fix: "Fixes", perf: "Performance" };
const message = /^(?<type>[a-z]+)(?:\((?<scope>[^)]+)\))?(?<bang>!)?: (?<text>.+)/;

function group(commits) {
  const groups = { breaking: [], feat: [], fix: [], perf: [] };
  for (const commit of commits) {
    const [first] = commit.split("\n");
    const m = message.exec(first)?.groups;
    if (!m) continue;
    const breaking = m.bang || /^BREAKING[ -]CHANGE: /m.test(commit);
    groups[breaking ? "breaking" : m.type]?.push(m.scope ? `**${m.scope}**: ${m.text}` : m.text);
  }
  return groups;
}

function bumpOf(groups) {
  if (groups.breaking.length) return "major";
  if (groups.feat.length) return "minor";
  return groups.fix.length || groups.perf.length ? "patch" : "none";
}

export default {
  "release.notes": typed({ version: t.text, commits: t.list(t.text) }, ({ version, commits }) => {
    const groups = group(commits);
    const bump = bumpOf(groups);
    if (bump === "none") return { next: version, bump, markdown: "" };
    const to = next(version, bump);
    const parts = Object.entries(headings).filter(([g]) => groups[g].length)
      .map(([g, title]) => `## ${title}\n\n${groups[g].map((line) => `- ${line}\n`).join("")}`);
    return { next: to, bump, markdown: `# ${to}\n\n${parts.join("\n")}` };
  }),

  "release.record": typed({ version: t.text, markdown: t.text }, ({ version, markdown }) => {
    parse(version);
    const key = `notes/${version}`;
    if (kv.get(key) !== undefined) throw new ToolError("conflict", `version ${version} was recorded before`);
    kv.put(key, markdown);
    return { recorded: version };
  }),

  "release.history"() {
    const versions = [...kv.list({ prefix: "notes/" })].map(({ key }) => key.slice("notes/".length));
    return { versions: versions.sort(compare).reverse() };
  },
};
