// The AssemblyScript SDK's conformance guest: the tools that abi/abitest asks for.
import { bytesTool, Code, fail, failWith, Fields, Json, jsonTool, Record, stream, tool } from "arw";
import { operations } from "./operations";
export { arw_alloc, arw_call } from "arw";

class Typed extends Record {
  name: string = "";
  count: i64 = 0;
  ratio: f64 = 0;
  on: bool = false;
  tags: string[] = [];
  note: string | null = null;
  fields(f: Fields): void {
    this.name = f.text("name", this.name);
    this.count = f.integer("count", this.count);
    this.ratio = f.number("ratio", this.ratio, false);
    this.on = f.flag("on", this.on, false);
    this.tags = f.texts("tags", this.tags, false);
    this.note = f.optionalText("note", this.note);
  }
}
class Failing extends Record {
  code: i64 = 0;
  message: string = "";
  detail: Json | null = null;
  fields(f: Fields): void {
    this.code = f.integer("code", this.code);
    this.message = f.text("message", this.message);
    this.detail = f.json_("detail", this.detail);
  }
}
class Nothing extends Record {
  fields(f: Fields): void {}
}
class Counted extends Record {
  count: i64 = 0;
  fields(f: Fields): void {
    this.count = f.integer("count", this.count);
  }
}
class Text extends Record {
  text: string = "";
  fields(f: Fields): void {
    this.text = f.text("text", this.text);
  }
}
class Texts extends Record {
  texts: string[] = [];
  fields(f: Fields): void {
    this.texts = f.texts("texts", this.texts);
  }
}
class Pumped extends Record {
  bytes: i64 = 0;
  fields(f: Fields): void {
    this.bytes = f.integer("bytes", this.bytes);
  }
}

let count: i64 = 0;
const kept: string[] = [];
const taken: ArrayBuffer[] = [];

function deeper(n: i64): i64 {
  count = n;
  return deeper(n + 1) + count;
}

bytesTool("conform.echo", (input) => input);
bytesTool("conform.size", (input) => {
  const v = Json.parse(input.dataStart, input.length);
  if (!v) return null;
  const out = new Uint8Array(<i32>v.integer("size"));
  for (let i = 0; i < out.length; i++) out[i] = <u8>(i * 7 + (i >> 8));
  return out;
});
jsonTool("conform.json", (input) => input);
tool<Typed, Typed>("conform.typed", (input) => input);
tool<Failing, Nothing>("conform.fail", (input) => failWith<Nothing>(<i32>input.code, input.message, input.detail));
jsonTool("conform.do", operations);
tool<Nothing, Counted>("conform.count", () => {
  const out = new Counted();
  out.count = ++count;
  return out;
});
tool<Text, Texts>("conform.keep", (input) => {
  kept.push(input.text);
  const out = new Texts();
  out.texts = kept;
  return out;
});
tool<Nothing, Nothing>("conform.spin", () => {
  while (true) count++;
});
tool<Nothing, Nothing>("conform.grow", () => {
  while (true) taken.push(new ArrayBuffer(1 << 20));
});
tool<Nothing, Counted>("conform.recurse", () => {
  const out = new Counted();
  out.count = deeper(1);
  return out;
});
tool<Nothing, Nothing>("conform.trap", () => {
  assert(count < 0, "the guest was told to");
  return fail<Nothing>(Code.Internal, "the assertion held");
});
tool<Nothing, Pumped>("conform.pump", () => {
  const out = new Pumped(), buf = new Uint8Array(65536);
  while (true) {
    const n = stream.readInto(buf);
    if (n < 0) return null;
    if (n == 0) break;
    if (!stream.write(n == buf.length ? buf : Uint8Array.wrap(buf.buffer, 0, n))) return null;
    out.bytes += n;
  }
  if (!stream.send(Json.object().set("bytes", Json.integer(out.bytes))) || !stream.closeOutput()) return null;
  return out;
});
