// diff.lines: an example of the AssemblyScript SDK.
import { Code, fail, Fields, Record, tool } from "arw";
export { arw_alloc, arw_call } from "arw";

class Input extends Record {
  before: string = "";
  after: string = "";
  fields(f: Fields): void {
    this.before = f.text("before", this.before);
    this.after = f.text("after", this.after);
  }
}

class Output extends Record {
  lines: string[] = [];
  removed: i64 = 0;
  added: i64 = 0;
  fields(f: Fields): void {
    this.lines = f.texts("lines", this.lines);
    this.removed = f.integer("removed", this.removed);
    this.added = f.integer("added", this.added);
  }
}

const MOST_LINES = 2000;

// The longest common lines, by the table of their lengths from each pair of lines on.
tool<Input, Output>("diff.lines", (input) => {
  const a = input.before.split("\n"), b = input.after.split("\n"), width = b.length + 1;
  if (a.length > MOST_LINES || b.length > MOST_LINES) return fail<Output>(Code.TooLarge, "diff: a text has more than " + MOST_LINES.toString() + " lines");
  const common = new StaticArray<u16>((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      common[i * width + j] = a[i] == b[j] ? common[(i + 1) * width + j + 1] + 1 : max(common[(i + 1) * width + j], common[i * width + j + 1]);
  const out = new Output();
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] == b[j]) {
      out.lines.push(" " + a[i++]);
      j++;
    } else if (i < a.length && (j == b.length || common[(i + 1) * width + j] >= common[i * width + j + 1])) {
      out.lines.push("-" + a[i++]);
      out.removed++;
    } else {
      out.lines.push("+" + b[j++]);
      out.added++;
    }
  }
  return out;
});
