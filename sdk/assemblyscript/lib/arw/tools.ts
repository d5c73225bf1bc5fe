import { Bytes } from "./bytes";
import { Code, fail, Failure, failure, forget } from "./error";
import { Fields, Json, Record } from "./json";

const ABI = "1.3.0";

abstract class Tool {
  constructor(public id: string) {}
  // run writes a value frame; false after a failure.
  abstract run(ptr: usize, length: i32, out: Bytes): bool;
  describe(out: Bytes): void {}
}

const empty = "{}";

function parse(ptr: usize, length: i32): Json | null {
  if (length > 0) return Json.parse(ptr, length);
  return Json.object();
}

class Typed<I extends Record, O extends Record> extends Tool {
  constructor(id: string, private body: (input: I) => O | null) {
    super(id);
  }
  run(ptr: usize, length: i32, out: Bytes): bool {
    const json = parse(ptr, length);
    if (!json) return false;
    const input = instantiate<I>();
    if (!Fields.read(json, input)) return false;
    const reply = this.body(input);
    if (!reply) return false;
    out.byte(0);
    Fields.write(reply, out);
    return true;
  }
  describe(out: Bytes): void {
    out.text(',"input":');
    Fields.schema(instantiate<I>(), out);
    out.text(',"output":');
    Fields.schema(instantiate<O>(), out);
  }
}

class General extends Tool {
  constructor(id: string, private body: (input: Json) => Json | null) {
    super(id);
  }
  run(ptr: usize, length: i32, out: Bytes): bool {
    const json = parse(ptr, length);
    if (!json) return false;
    const reply = this.body(json);
    if (!reply) return false;
    out.byte(0);
    reply.write(out);
    return true;
  }
}

class Plain extends Tool {
  constructor(id: string, private body: (input: Uint8Array) => Uint8Array | null) {
    super(id);
  }
  run(ptr: usize, length: i32, out: Bytes): bool {
    const input = new Uint8Array(length);
    memory.copy(input.dataStart, ptr, length);
    const reply = this.body(input);
    if (!reply) return false;
    const at = out.room(reply.length + 1);
    store<u8>(at, 1);
    memory.copy(at + 1, reply.dataStart, reply.length);
    return true;
  }
}

const tools: Tool[] = [];

// tool adds a tool that takes and answers records. An input of no bytes is an object without fields.
export function tool<I extends Record, O extends Record>(id: string, body: (input: I) => O | null): void {
  tools.push(new Typed<I, O>(id, body));
}

// jsonTool adds one that takes and answers any JSON.
export function jsonTool(id: string, body: (input: Json) => Json | null): void {
  tools.push(new General(id, body));
}

// bytesTool adds one that takes and answers bytes as they are.
export function bytesTool(id: string, body: (input: Uint8Array) => Uint8Array | null): void {
  tools.push(new Plain(id, body));
}

// utf8 and text turn text into bytes and back.
export function utf8(s: string): Uint8Array {
  return Uint8Array.wrap(String.UTF8.encode(s));
}
export function text(bytes: Uint8Array): string {
  return String.UTF8.decodeUnsafe(bytes.dataStart, bytes.length);
}

let request: usize = 0;
let requestSize: u32 = 0;
let reply: Bytes = new Bytes();
let settled: i32 = memory.size();

export function arw_alloc(size: u32): usize {
  if (request == 0 || size > requestSize) {
    request = heap.alloc(max<u32>(size, 16));
    requestSize = size;
  }
  return request;
}

export function arw_call(id: usize, idLength: u32, input: usize, inputLength: u32): u64 {
  reply = new Bytes();
  forget();
  if (memory.size() > settled + 64) { // a session that grew: collect while nothing is in use
    __collect();
    settled = memory.size();
  }
  const name = String.UTF8.decodeUnsafe(id, idLength);
  if (!serve(name, input, inputLength)) {
    reply.length = 0;
    writeFailure(failure());
  }
  return ((<u64>reply.ptr) << 32) | reply.length;
}

function serve(name: string, input: usize, inputLength: i32): bool {
  for (let i = 0, n = tools.length; i < n; i++) if (tools[i].id == name) return tools[i].run(input, inputLength, reply);
  if (name == "_describe") {
    describe();
    return true;
  }
  fail<Json>(Code.NotFound, 'call "' + name + '": the pack has no such tool');
  return false;
}

function writeFailure(f: Failure): void {
  const known = f.code > Code.More && f.code <= Code.NoModel;
  reply.byte(2);
  reply.u32(known ? f.code : Code.ToolFailed);
  const n = String.UTF8.byteLength(f.message);
  reply.u32(n);
  reply.text(f.message);
  const detail = f.detail;
  if (detail) detail.write(reply);
}

// describe answers the tool that every module has besides its own, for a build to hold the manifest against the code.
function describe(): void {
  reply.byte(0);
  reply.text('{"sdk":"assemblyscript","abi":"' + ABI + '","tools":[');
  for (let i = 0; i < tools.length; i++) {
    reply.text(i > 0 ? ',{"id":' : '{"id":');
    reply.quoted(tools[i].id);
    tools[i].describe(reply);
    reply.byte(0x7d);
  }
  reply.text("]}");
}
