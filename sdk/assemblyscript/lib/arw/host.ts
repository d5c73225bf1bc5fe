// The host's functions. Each capability needs its line in pack.toml; without a live lease failure() has the code denied,
// lease_expired and the like. What is imported is what the code reaches.
import { Bytes } from "./bytes";
import { Code, failCode, failWith } from "./error";
import { Fields, Json, Record } from "./json";

@external("arw:io", "take") declare function io_take(out: usize, cap: u32): u64;
@external("arw:log", "write") declare function log_write(level: u32, msg: usize, len: u32): u64;
@external("arw:kv", "get") declare function kv_get(key: usize, keyLen: u32, out: usize, cap: u32): u64;
@external("arw:kv", "put") declare function kv_put(key: usize, keyLen: u32, val: usize, valLen: u32): u64;
@external("arw:kv", "delete") declare function kv_delete(key: usize, keyLen: u32): u64;
@external("arw:kv", "list") declare function kv_list(req: usize, reqLen: u32, out: usize, cap: u32): u64;
@external("arw:kv", "batch") declare function kv_batch(ops: usize, len: u32): u64;
@external("arw:event", "emit") declare function event_emit(kind: usize, kindLen: u32, body: usize, bodyLen: u32): u64;
@external("arw:state", "get") declare function state_get(name: usize, nameLen: u32, out: usize, cap: u32): u64;
@external("arw:state", "put") declare function state_put(name: usize, nameLen: u32, doc: usize, docLen: u32): u64;
@external("arw:fs", "list") declare function fs_list(req: usize, reqLen: u32, out: usize, cap: u32): u64;
@external("arw:fs", "stat") declare function fs_stat(path: usize, pathLen: u32, out: usize, cap: u32): u64;
@external("arw:fs", "read") declare function fs_read(path: usize, pathLen: u32, low: u32, high: u32, out: usize, cap: u32): u64;
@external("arw:fs", "write") declare function fs_write(path: usize, pathLen: u32, data: usize, dataLen: u32): u64;
@external("arw:fs", "remove") declare function fs_remove(path: usize, pathLen: u32): u64;
@external("arw:fs", "open") declare function fs_open(path: usize, pathLen: u32, out: usize, cap: u32): u64;
@external("arw:fs", "create") declare function fs_create(path: usize, pathLen: u32, out: usize, cap: u32): u64;
@external("arw:secret", "public") declare function secret_public(name: usize, nameLen: u32, out: usize, cap: u32): u64;
@external("arw:secret", "mac") declare function secret_mac(name: usize, nameLen: u32, data: usize, dataLen: u32, out: usize, cap: u32): u64;
@external("arw:secret", "sign") declare function secret_sign(name: usize, nameLen: u32, data: usize, dataLen: u32, out: usize, cap: u32): u64;
@external("arw:archive", "unpack") declare function archive_unpack(req: usize, reqLen: u32, out: usize, cap: u32): u64;
@external("arw:config", "get") declare function config_get(name: usize, nameLen: u32, out: usize, cap: u32): u64;
@external("arw:clock", "now") declare function clock_now(out: usize, cap: u32): u64;
@external("arw:clock", "monotonic") declare function clock_monotonic(out: usize, cap: u32): u64;
@external("arw:rand", "bytes") declare function rand_bytes(out: usize, cap: u32): u64;
@external("arw:action", "call") declare function action_call(tool: usize, toolLen: u32, input: usize, inputLen: u32, out: usize, cap: u32): u64;
@external("arw:stream", "read") declare function stream_read(handle: u32, out: usize, cap: u32): u64;
@external("arw:stream", "write") declare function stream_write(handle: u32, data: usize, len: u32): u64;
@external("arw:stream", "send") declare function stream_send(handle: u32, doc: usize, len: u32): u64;
@external("arw:stream", "close") declare function stream_close(handle: u32): u64;
@external("arw:http", "fetch") declare function http_fetch(req: usize, reqLen: u32, body: usize, bodyLen: u32, out: usize, cap: u32): u64;
@external("arw:http", "open") declare function http_open(req: usize, reqLen: u32, out: usize, cap: u32): u64;
@external("arw:http", "response") declare function http_response(handle: u32, out: usize, cap: u32): u64;
@external("arw:http", "connect") declare function http_connect(req: usize, reqLen: u32, out: usize, cap: u32): u64;
@external("arw:http", "send") declare function http_send(handle: u32, kind: u32, data: usize, len: u32): u64;
@external("arw:http", "receive") declare function http_receive(handle: u32, out: usize, cap: u32): u64;
@external("arw:infer", "generate") declare function infer_generate(req: usize, reqLen: u32, out: usize, cap: u32): u64;
@external("arw:infer", "finish") declare function infer_finish(handle: u32, out: usize, cap: u32): u64;
@external("arw:infer", "embed") declare function infer_embed(req: usize, reqLen: u32, out: usize, cap: u32): u64;
@external("arw:infer", "rerank") declare function infer_rerank(req: usize, reqLen: u32, out: usize, cap: u32): u64;
@external("arw:infer", "tokenize") declare function infer_tokenize(req: usize, reqLen: u32, out: usize, cap: u32): u64;

const small: u32 = 1024; // most replies fit
const scratch = memory.data(1024, 8);

function done(status: u64): bool {
  const code = <u32>(status >> 32), n = <u32>status;
  if (code == <u32>Code.OK) return true;
  if (code == <u32>Code.More || code > <u32>Code.NoModel) return failCode(Code.Internal, "the host answered with a status that fits nothing that was asked");
  let message = "";
  if (n > 0) {
    const buf = new ArrayBuffer(n);
    if (io_take(changetype<usize>(buf), n) >> 32 == 0) message = String.UTF8.decode(buf);
  }
  return failCode(code, message);
}

// fetch is what a function wrote to scratch, or the larger reply that waits.
function fetch(status: u64): Uint8Array | null {
  const n = <u32>status;
  if (status >> 32 == Code.More) {
    const large = new Uint8Array(n);
    return done(io_take(large.dataStart, n)) ? large : null;
  }
  if (!done(status)) return null;
  const reply = new Uint8Array(n);
  memory.copy(reply.dataStart, scratch, n);
  return reply;
}
function fetchJson(status: u64): Json | null {
  const raw = fetch(status);
  return raw ? Json.parse(raw.dataStart, raw.length) : null;
}

// Text is UTF-8 of a string, for the time of one host function.
class Text {
  bytes: ArrayBuffer;
  constructor(s: string) {
    this.bytes = String.UTF8.encode(s, false, String.UTF8.ErrorMode.REPLACE);
  }
  get ptr(): usize { return changetype<usize>(this.bytes); }
  get len(): u32 { return this.bytes.byteLength; }
}

function written(doc: Json): Bytes {
  const out = new Bytes();
  doc.write(out);
  return out;
}

export namespace log {
  // A refusal is not the tool's business.
  export function write(level: i32, line: string): void {
    const t = new Text(line);
    log_write(level, t.ptr, t.len);
  }
  export function debug(line: string): void { write(0, line); }
  export function info(line: string): void { write(1, line); }
  export function warn(line: string): void { write(2, line); }
  export function error(line: string): void { write(3, line); }
}

export class KeyEntry extends Record {
  key: string = "";
  size: i64 = 0;
  fields(f: Fields): void {
    this.key = f.text("key", this.key);
    this.size = f.integer("size", this.size);
  }
}
export class KeyPage extends Record {
  keys: KeyEntry[] = [];
  more: bool = false;
  fields(f: Fields): void {
    this.keys = f.records<KeyEntry>("keys", this.keys);
    this.more = f.flag("more", this.more);
  }
}

// Batch is puts and deletes that happen together or not at all.
export class Batch {
  private ops: Bytes = new Bytes();
  put(key: string, value: Uint8Array): void {
    this.ops.byte(1);
    this.key(key);
    this.ops.u32(value.length);
    this.ops.copy(value.dataStart, value.length);
  }
  delete(key: string): void {
    this.ops.byte(2);
    this.key(key);
  }
  apply(): bool { return done(kv_batch(this.ops.ptr, this.ops.length)); }
  private key(key: string): void {
    this.ops.u32(String.UTF8.byteLength(key));
    this.ops.text(key);
  }
}

export namespace kv {
  // get is null with Code.NotFound when there is no such key.
  export function get(key: string): Uint8Array | null {
    const k = new Text(key);
    return fetch(kv_get(k.ptr, k.len, scratch, small));
  }
  export function put(key: string, value: Uint8Array): bool {
    const k = new Text(key);
    return done(kv_put(k.ptr, k.len, value.dataStart, value.length));
  }
  export function remove(key: string): bool {
    const k = new Text(key);
    return done(kv_delete(k.ptr, k.len));
  }
  // list goes in byte order; a limit of 0 means 1,000, which is the most.
  export function list(prefix: string, after: string, limit: i32): KeyPage | null {
    const req = written(Json.object().set("prefix", Json.of(prefix)).set("after", Json.of(after)).set("limit", Json.integer(limit)));
    const v = fetchJson(kv_list(req.ptr, req.length, scratch, small)), page = new KeyPage();
    return v && Fields.read(v, page) ? page : null;
  }
}

export namespace event {
  export function emit(kind: string, body: Json): bool {
    const k = new Text(kind), b = written(body);
    return done(event_emit(k.ptr, k.len, b.ptr, b.length));
  }
}

export namespace state {
  export function get(name: string): Json | null {
    const n = new Text(name);
    return fetchJson(state_get(n.ptr, n.len, scratch, small));
  }
  export function put(name: string, doc: Json): bool {
    const n = new Text(name), d = written(doc);
    return done(state_put(n.ptr, n.len, d.ptr, d.length));
  }
}

export class FileEntry extends Record {
  path: string = "";
  size: i64 = 0;
  mode: string = ""; // file, dir, symlink or other
  mtimeMS: i64 = 0;
  fields(f: Fields): void {
    this.path = f.text("path", this.path);
    this.size = f.integer("size", this.size);
    this.mode = f.text("mode", this.mode);
    this.mtimeMS = f.integer("mtime_ms", this.mtimeMS);
  }
}
export class FilePage extends Record {
  entries: FileEntry[] = [];
  more: bool = false;
  fields(f: Fields): void {
    this.entries = f.records<FileEntry>("entries", this.entries);
    this.more = f.flag("more", this.more);
  }
}

export namespace fs {
  export function list(path: string, recursive: bool, after: string, limit: i32): FilePage | null {
    const req = written(Json.object().set("path", Json.of(path)).set("recursive", truth(recursive)).set("after", Json.of(after)).set("limit", Json.integer(limit)));
    const v = fetchJson(fs_list(req.ptr, req.length, scratch, small)), page = new FilePage();
    return v && Fields.read(v, page) ? page : null;
  }
  export function stat(path: string): FileEntry | null {
    const p = new Text(path), v = fetchJson(fs_stat(p.ptr, p.len, scratch, small)), entry = new FileEntry();
    return v && Fields.read(v, entry) ? entry : null;
  }
  // readAt answers up to size bytes; none is the end.
  export function readAt(path: string, offset: u64, size: i32): Uint8Array | null {
    const p = new Text(path), buf = new Uint8Array(size);
    const status = fs_read(p.ptr, p.len, <u32>offset, <u32>(offset >> 32), buf.dataStart, size);
    return done(status) ? buf.subarray(0, <i32>status) : null;
  }
  export function read(path: string): Uint8Array | null {
    const all = new Bytes();
    while (true) {
      const piece = readAt(path, all.length, 65536);
      if (!piece) return null;
      if (piece.length == 0) return all.toArray();
      all.copy(piece.dataStart, piece.length);
    }
  }
  export function write(path: string, data: Uint8Array): bool {
    const p = new Text(path);
    return done(fs_write(p.ptr, p.len, data.dataStart, data.length));
  }
  export function remove(path: string): bool {
    const p = new Text(path);
    return done(fs_remove(p.ptr, p.len));
  }
  // open reads a file by handle, piece by piece, from its beginning. 16 handles may be open in a call.
  export function open(path: string): FileReader | null {
    const p = new Text(path);
    return done(fs_open(p.ptr, p.len, scratch, small)) ? new FileReader(load<u32>(scratch)) : null;
  }
  // create begins a file of any size. Nothing is at its path before commit; one that is left open is thrown away when the call ends.
  export function create(path: string): FileDraft | null {
    const p = new Text(path);
    return done(fs_create(p.ptr, p.len, scratch, small)) ? new FileDraft(load<u32>(scratch)) : null;
  }
}

// readInto fills buf from a handle and says how much came; 0 is the end, -1 a failure.
function readInto(handle: u32, buf: Uint8Array): i32 {
  const status = stream_read(handle, buf.dataStart, buf.length);
  return done(status) ? <i32>status : -1;
}
// writeParts gives bytes to a handle in parts that the host takes.
function writeParts(handle: u32, data: Uint8Array): bool {
  for (let at = 0; at < data.length; at += 1 << 20)
    if (!done(stream_write(handle, data.dataStart + at, min(data.length - at, 1 << 20)))) return false;
  return true;
}

// FileReader is an open file. The lease is asked at each piece.
export class FileReader {
  constructor(public handle: u32) {}
  // readInto reads on and says how much came; 0 is the end, -1 a failure.
  readInto(buf: Uint8Array): i32 { return readInto(this.handle, buf); }
  close(): bool { return done(stream_close(this.handle)); }
}

// FileDraft is a file in the making.
export class FileDraft {
  constructor(public handle: u32) {}
  write(data: Uint8Array): bool { return writeParts(this.handle, data); }
  // commit puts the file in its place, whole and durable.
  commit(): bool { return done(stream_close(this.handle)); }
}

// Secrets that the operator stored under names. The pack uses them and never sees one.
export namespace secret {
  // publicKey is the public half of a key pair, PKIX in DER. (public is a word of the language.)
  export function publicKey(name: string): Uint8Array | null {
    const n = new Text(name);
    return fetch(secret_public(n.ptr, n.len, scratch, small));
  }
  // mac is the 32 bytes of HMAC-SHA-256 over at most 1 MiB.
  export function mac(name: string, data: Uint8Array): Uint8Array | null {
    const n = new Text(name);
    return fetch(secret_mac(n.ptr, n.len, data.dataStart, data.length, scratch, small));
  }
  // sign is a signature over at most 1 MiB: Ed25519, or ECDSA on P-256 as ASN.1.
  export function sign(name: string, data: Uint8Array): Uint8Array | null {
    const n = new Text(name);
    return fetch(secret_sign(n.ptr, n.len, data.dataStart, data.length, scratch, small));
  }
}

// UnpackRequest asks for the archive from, a file of a leased folder, to be unpacked into to, a new folder of another. Bounds of 0
// are the host's own.
export class UnpackRequest {
  stripComponents: i64 = 0; // leading folders taken off each name
  nested: bool = false; // unpack archives found inside, too
  skipLinks: bool = false; // leave out links instead of refusing the archive
  maxTotalBytes: i64 = 0;
  maxEntries: i64 = 0;
  maxDepth: i64 = 0;
  constructor(public from: string, public to: string) {}
}
export class Unpacked extends Record {
  format: string = "";
  files: i64 = 0;
  folders: i64 = 0;
  bytes: i64 = 0;
  skipped: i64 = 0;
  depth: i64 = 0;
  fields(f: Fields): void {
    this.format = f.text("format", this.format);
    this.files = f.integer("files", this.files);
    this.folders = f.integer("folders", this.folders);
    this.bytes = f.integer("bytes", this.bytes);
    this.skipped = f.integer("skipped", this.skipped);
    this.depth = f.integer("depth", this.depth);
  }
}

function truth(v: bool): Json {
  const j = new Json();
  j.kind = 1;
  j.truth = v;
  return j;
}

export namespace archive {
  // unpack unpacks wholly or not at all.
  export function unpack(req: UnpackRequest): Unpacked | null {
    const raw = written(Json.object().set("from", Json.of(req.from)).set("to", Json.of(req.to)).set("strip_components", Json.integer(req.stripComponents))
      .set("nested", truth(req.nested)).set("skip_links", truth(req.skipLinks)).set("max_total_bytes", Json.integer(req.maxTotalBytes))
      .set("max_entries", Json.integer(req.maxEntries)).set("max_depth", Json.integer(req.maxDepth)));
    const v = fetchJson(archive_unpack(raw.ptr, raw.length, scratch, small)), made = new Unpacked();
    return v && Fields.read(v, made) ? made : null;
  }
}

// Documents of the configuration, as they are for the project and the agent that call.
export namespace config {
  export function get(name: string): Json | null {
    const n = new Text(name);
    return fetchJson(config_get(n.ptr, n.len, scratch, small));
  }
}

export namespace clock {
  // Nanoseconds, and -1 after a failure.
  export function now(): i64 {
    return done(clock_now(scratch, 8)) ? load<i64>(scratch) : -1;
  }
  export function monotonic(): i64 {
    return done(clock_monotonic(scratch, 8)) ? load<i64>(scratch) : -1;
  }
}

export namespace rand {
  export function bytes(n: i32): Uint8Array | null {
    const buf = new Uint8Array(n);
    return done(rand_bytes(buf.dataStart, n)) ? buf : null;
  }
}

// Reply of another tool: json, or else bytes.
export class Reply {
  constructor(public json: Json | null, public bytes: Uint8Array) {}
}

export namespace action {
  // The other tool's own error comes back as failure().
  export function call(tool: string, input: Json): Reply | null {
    const t = new Text(tool), i = written(input);
    const frame = fetch(action_call(t.ptr, t.len, i.ptr, i.length, scratch, small));
    if (!frame) return null;
    const rest = frame.length > 0 ? frame.subarray(1) : frame;
    if (frame.length > 0 && frame[0] == 0) {
      const json = Json.parse(rest.dataStart, rest.length);
      return json ? new Reply(json, rest) : null;
    }
    if (frame.length > 0 && frame[0] == 1) return new Reply(null, rest);
    if (rest.length < 8) return failWith<Reply>(Code.Internal, "the other tool's frame is broken", null);
    const code = load<u32>(rest.dataStart), n = load<u32>(rest.dataStart, 4);
    const words = String.UTF8.decodeUnsafe(rest.dataStart + 8, min<u32>(n, rest.length - 8)), end = 8 + <i32>n;
    return failWith<Reply>(code, words, end < rest.length ? Json.parse(rest.dataStart + end, rest.length - end) : null);
  }
}

// Bytes that the caller gives and takes while the call runs. They carry no authority: no capability, no lease.
export namespace stream {
  // read waits for input and answers at most size bytes; none is the end. Null with NotFound: nothing is streamed in.
  export function read(size: i32): Uint8Array | null {
    const buf = new Uint8Array(size), status = stream_read(0, buf.dataStart, size);
    return done(status) ? buf.subarray(0, <i32>status) : null;
  }
  // readInto waits for input and says how much came; 0 is the end, -1 a failure. For streams larger than memory.
  export function readInto(buf: Uint8Array): i32 { return readInto_(0, buf); }
  export function write(data: Uint8Array): bool { return writeParts(1, data); }
  // send gives one JSON value as a part of its own.
  export function send(doc: Json): bool {
    const d = written(doc);
    return done(stream_send(1, d.ptr, d.length));
  }
  export function closeInput(): bool { return done(stream_close(0)); }
  export function closeOutput(): bool { return done(stream_close(1)); }
}

export class HttpRequest {
  headers: string[] = []; // name, value, name, value, …
  manual: bool = false; // a redirect is an answer; otherwise it is followed, each hop judged anew
  timeoutMS: i64 = 0; // 0: the host's own bounds
  maxBytes: i64 = 0;
  secrets: string[] = []; // names of tokens that the host puts in for their audience, at most 4
  constructor(public url: string, public method: string = "GET") {}
  header(name: string, value: string): HttpRequest {
    this.headers.push(name);
    this.headers.push(value);
    return this;
  }
  raw(): Bytes {
    const headers = Json.list();
    for (let i = 0; i + 1 < this.headers.length; i += 2) headers.push(Json.list().push(Json.of(this.headers[i])).push(Json.of(this.headers[i + 1])));
    const secrets = Json.list();
    for (let i = 0; i < this.secrets.length; i++) secrets.push(Json.of(this.secrets[i]));
    return written(Json.object().set("url", Json.of(this.url)).set("secrets", secrets).set("method", Json.of(this.method)).set("headers", headers)
      .set("redirect", Json.of(this.manual ? "manual" : "follow")).set("timeout_ms", Json.integer(this.timeoutMS)).set("max_bytes", Json.integer(this.maxBytes)));
  }
}

// HttpResponse is the head of an answer; its body is read from it. 16 may be open in a call, whose end closes the rest.
export class HttpResponse {
  status: i32 = 0;
  url: string = "";
  length: i64 = -1;
  headers: string[] = []; // name, value, name, value, …
  constructor(public handle: u32) {}
  static of(v: Json | null): HttpResponse | null {
    if (!v) return null;
    const r = new HttpResponse(<u32>v.integer("handle")), headers = v.get("headers");
    r.status = <i32>v.integer("status");
    r.url = v.text("url");
    r.length = v.integer("length");
    if (headers) for (let i = 0; i < headers.items.length; i++) for (let j = 0; j < headers.items[i].items.length; j++) r.headers.push(headers.items[i].items[j].words);
    return r;
  }
  // read answers at most size bytes; none is the end.
  read(size: i32): Uint8Array | null {
    const buf = new Uint8Array(size), status = stream_read(this.handle, buf.dataStart, size);
    return done(status) ? buf.subarray(0, <i32>status) : null;
  }
  readAll(): Uint8Array | null {
    const all = new Bytes();
    while (true) {
      const piece = this.read(65536);
      if (!piece) return null;
      if (piece.length == 0) return all.toArray();
      all.copy(piece.dataStart, piece.length);
    }
  }
  close(): bool { return done(stream_close(this.handle)); }
}

// HttpMessage is one message of a WebSocket; open is false when the other side has closed it.
export class HttpMessage {
  constructor(public open: bool, public isText: bool, public bytes: Uint8Array) {}
}

// The network, behind the host's guard: a row of its ledger for every request. Tools that use it declare effects = "open_world".
export namespace http {
  export function fetch(req: HttpRequest, body: Uint8Array): HttpResponse | null {
    const r = req.raw();
    return HttpResponse.of(fetchJson(http_fetch(r.ptr, r.length, body.dataStart, body.length, scratch, small)));
  }
  // open begins a request whose body is given to write; it answers a handle, 0 after a failure.
  export function open(req: HttpRequest): u32 {
    const r = req.raw();
    return done(http_open(r.ptr, r.length, scratch, small)) ? load<u32>(scratch) : 0;
  }
  export function write(handle: u32, data: Uint8Array): bool { return writeParts(handle, data); }
  // response ends the body and waits for the head of the answer.
  export function response(handle: u32): HttpResponse | null { return HttpResponse.of(fetchJson(http_response(handle, scratch, small))); }
  // connect opens a WebSocket, which send, receive and the response's close use.
  export function connect(req: HttpRequest): HttpResponse | null {
    const r = req.raw();
    return HttpResponse.of(fetchJson(http_connect(r.ptr, r.length, scratch, small)));
  }
  export function sendText(socket: HttpResponse, message: string): bool {
    const t = new Text(message);
    return done(http_send(socket.handle, 1, t.ptr, t.len));
  }
  export function sendBytes(socket: HttpResponse, message: Uint8Array): bool { return done(http_send(socket.handle, 2, message.dataStart, message.length)); }
  export function receive(socket: HttpResponse): HttpMessage | null {
    const got = fetch_(http_receive(socket.handle, scratch, small));
    if (!got) return null;
    return got.length == 0 ? new HttpMessage(false, false, got) : new HttpMessage(true, got[0] == 1, got.subarray(1));
  }
}

// fetch_ and readInto_ are fetch and readInto for namespaces that have one of their own.
function fetch_(status: u64): Uint8Array | null { return fetch(status); }
function readInto_(handle: u32, buf: Uint8Array): i32 { return readInto(handle, buf); }

// Answer is a text that a model is making, read as it comes; a read may end within a character. Closing it frees the model.
export class Answer {
  // head says what answers: engine, engine_kind and model.
  constructor(private body: HttpResponse, public head: Json) {}
  read(size: i32): Uint8Array | null { return this.body.read(size); }
  readAll(): Uint8Array | null { return this.body.readAll(); }
  // finish waits for the end, drops text that was not read, and tells how it ended.
  finish(): Json | null { return fetchJson(infer_finish(this.body.handle, scratch, small)); }
  close(): bool { return this.body.close(); }
}

// Models of the host. Requests and replies are JSON in the form of docs/spec/abi.md, 3.3. Tools that ask declare effects = "reads".
export namespace infer {
  export function generate(req: Json): Answer | null {
    const r = written(req), head = fetchJson(infer_generate(r.ptr, r.length, scratch, small));
    return head ? new Answer(new HttpResponse(<u32>head.integer("handle")), head) : null;
  }
  export function embed(req: Json): Json | null {
    const r = written(req);
    return fetchJson(infer_embed(r.ptr, r.length, scratch, small));
  }
  export function rerank(req: Json): Json | null {
    const r = written(req);
    return fetchJson(infer_rerank(r.ptr, r.length, scratch, small));
  }
  export function tokenize(req: Json): Json | null {
    const r = written(req);
    return fetchJson(infer_tokenize(r.ptr, r.length, scratch, small));
  }
}
