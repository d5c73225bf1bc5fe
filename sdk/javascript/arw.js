// The arw SDK for JavaScript: what a pack imports as "arw". It runs inside the pack, on QuickJS. Types: arw.d.ts.
import { codes, functions } from "arw:host";

const sys = globalThis.__arw;
delete globalThis.__arw;

// Numbers below `functions` that the engine's adapter answers itself.
const FAIL = 0, TEXT = 1, BYTES = 2, RANDOM = 3, PRINT = 4;
const OK = 0, MORE = 1;

const scratch = new ArrayBuffer(16384);

/** Bytes of a text, UTF-8. */
export function encode(text) { return new Uint8Array(sys(BYTES, String(text))); }

/** Text of bytes, UTF-8. */
export function decode(bytes) { return sys(TEXT, buffer(bytes)); }

// buffer is the ArrayBuffer that holds exactly these bytes.
function buffer(v) {
  if (typeof v === "string") return sys(BYTES, v);
  if (v instanceof ArrayBuffer) return v;
  if (ArrayBuffer.isView(v)) {
    return v.byteLength === v.buffer.byteLength ? v.buffer : v.buffer.slice(v.byteOffset, v.byteOffset + v.byteLength);
  }
  throw new ToolError("invalid", `expected text or bytes, got ${v === null ? "null" : typeof v}`);
}

/** An error with one of the host's codes. What a host function refuses is thrown as one; a tool throws one to choose its code. */
export class ToolError extends Error {
  constructor(code, message, detail) {
    super(message ?? code);
    this.name = "ToolError";
    this.code = codes.includes(code) && code !== "ok" && code !== "more" ? code : "tool_failed";
    this.detail = detail;
  }
}

// call runs a host function and gives its status as [code, length].
function call(name, args) {
  const s = sys(functions[name], ...args);
  if (s < 0) {
    const capability = name.slice(0, name.indexOf("."));
    throw new ToolError("denied", `${name}: [capabilities.${capability}] was not in pack.toml when this pack was built; add [capabilities.${capability}] with reason = "…" and build again`);
  }
  return [Math.floor(s / 4294967296), s >>> 0];
}

function take(n) {
  const out = new ArrayBuffer(n);
  sys(functions["io.take"], out);
  return out;
}

// run is call for a function without a reply.
function run(name, ...args) {
  const [code, n] = call(name, args);
  if (code !== OK) throw new ToolError(codes[code], sys(TEXT, take(n)));
}

// ask is call for a function with a reply, which comes back as an ArrayBuffer of its own.
function ask(name, ...args) {
  const [code, n] = call(name, [...args, scratch]);
  if (code === OK) return scratch.slice(0, n);
  if (code === MORE) return take(n);
  throw new ToolError(codes[code], sys(TEXT, take(n)));
}

// fill is call for a function that fills as much as there is room for.
function fill(name, size, ...args) {
  const room = new ArrayBuffer(size);
  const [code, n] = call(name, [...args, room]);
  if (code !== OK) throw new ToolError(codes[code], sys(TEXT, take(n)));
  return new Uint8Array(room, 0, n);
}

// JSON, in which an integer that a number cannot hold exactly is a BigInt, both ways.
const mark = "\u0000int:";
const wide = /"(?:[^"\\]|\\.)*"|-?\d{16,}(?![\d.eE])/g;

// nests refuses what nests deeper than a script that walks over it could.
function nests(text) {
  if (text.split("[").length + text.split("{").length < DEEPEST) return;
  let depth = 0;
  for (const [c] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/g)) {
    if (c === "[" || c === "{") {
      if (++depth > DEEPEST) throw new ToolError("invalid", `JSON that nests deeper than ${DEEPEST}`);
    } else if (c === "]" || c === "}") depth--;
  }
}
const DEEPEST = 1000;

function parse(buf) {
  const text = sys(TEXT, buf);
  nests(text);
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  JSON.parse(text); // the marks must not make good what is not
  return JSON.parse(text.replace(wide, (m) => (m[0] === '"' || Number.isSafeInteger(Number(m)) ? m : JSON.stringify(mark + m))),
    (_, v) => (typeof v === "string" && v.startsWith(mark) ? BigInt(v.slice(mark.length)) : v));
}

function stringify(v) {
  let marked = false;
  const text = JSON.stringify(v, (_, x) => (typeof x === "bigint" ? (marked = true, mark + x) : x)) ?? "null";
  return marked ? text.replace(/"\\u0000int:(-?\d+)"/g, "$1") : text;
}

// maybe turns not_found into undefined.
function maybe(f) {
  try {
    return f();
  } catch (e) {
    if (e instanceof ToolError && e.code === "not_found") return undefined;
    throw e;
  }
}

// pages walks a list that comes in pages.
function* pages(name, req, field, key) {
  for (let after = req.after; ;) {
    const page = parse(ask(name, buffer(JSON.stringify({ ...req, after }))));
    yield* page[field];
    if (!page.more || page[field].length === 0) return;
    after = page[field].at(-1)[key];
  }
}

/** The pack's own durable keys. */
export const kv = {
  get: (key) => maybe(() => kv.need(key)),
  need: (key) => new Uint8Array(ask("kv.get", buffer(key))),
  getText: (key) => maybe(() => sys(TEXT, ask("kv.get", buffer(key)))),
  getJSON: (key) => maybe(() => parse(ask("kv.get", buffer(key)))),
  put: (key, value) => run("kv.put", buffer(key), buffer(value)),
  putJSON: (key, value) => run("kv.put", buffer(key), buffer(stringify(value))),
  delete: (key) => run("kv.delete", buffer(key)),
  list: (req = {}) => pages("kv.list", req, "keys", "key"),
  page: (req = {}) => parse(ask("kv.list", buffer(JSON.stringify(req)))),
  batch(ops) {
    const parts = [];
    for (const op of ops) {
      const fields = op.delete !== undefined ? [buffer(op.delete)] : [buffer(op.put), buffer(op.value)];
      parts.push(Uint8Array.of(op.delete !== undefined ? 2 : 1));
      for (const f of fields) {
        const n = new DataView(new ArrayBuffer(4));
        n.setUint32(0, f.byteLength, true);
        parts.push(new Uint8Array(n.buffer), new Uint8Array(f));
      }
    }
    run("kv.batch", concat(parts).buffer);
  },
};

function concat(parts) {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

/** The pack's read models. */
export const state = {
  get: (name) => maybe(() => state.need(name)),
  need: (name) => parse(ask("state.get", buffer(name))),
  put: (name, doc) => run("state.put", buffer(name), buffer(stringify(doc))),
};

/** Journals an event. */
export function emit(kind, body = {}) { run("event.emit", buffer(kind), buffer(stringify(body))); }

const lo = (n) => n % 4294967296, hi = (n) => Math.floor(n / 4294967296);
const CHUNK = 65536, PART = 1 << 20;

/** Leased folders. */
export const fs = {
  list: (path, req = {}) => pages("fs.list", { ...req, path }, "entries", "path"),
  page: (path, req = {}) => parse(ask("fs.list", buffer(JSON.stringify({ ...req, path })))),
  stat: (path) => parse(ask("fs.stat", buffer(path))),
  exists: (path) => maybe(() => fs.stat(path)) !== undefined,
  readAt: (path, offset, size) => fill("fs.read", Math.min(size, PART), buffer(path), lo(offset), hi(offset)),
  *chunks(path, size = CHUNK) {
    for (let at = 0; ;) {
      const part = fs.readAt(path, at, size);
      if (part.length === 0) return;
      at += part.length;
      yield part;
    }
  },
  read: (path) => concat([...fs.chunks(path, PART)]),
  readText: (path) => decode(fs.read(path)),
  write: (path, data) => run("fs.write", buffer(path), buffer(data)),
  remove: (path) => run("fs.remove", buffer(path)),
  // open reads a file by handle, from its beginning and whatever takes its place meanwhile.
  open(path) {
    const file = handle("fs.open", path);
    return {
      read(size = CHUNK) {
        const part = fill("stream.read", Math.min(size, PART), file);
        return part.length === 0 ? undefined : part;
      },
      *[Symbol.iterator]() {
        for (let part; (part = this.read()) !== undefined;) yield part;
      },
      close: () => run("stream.close", file),
    };
  },
  // create begins a file, which is in its place once it is committed; one that never is, is thrown away when the call ends.
  create(path) {
    const file = handle("fs.create", path);
    return { write: (data) => parts(file, data), commit: () => run("stream.close", file) };
  },
};

const handle = (name, path) => new DataView(ask(name, buffer(path))).getUint32(0, true);

// parts gives bytes to a handle in parts that the host takes.
function parts(to, data) {
  const bytes = new Uint8Array(buffer(data));
  for (let at = 0; at < bytes.length; at += PART) run("stream.write", to, buffer(bytes.subarray(at, at + PART)));
}

/** Secrets that the operator stored under names. The pack uses them and never sees one. */
export const secret = {
  publicKey: (name) => new Uint8Array(ask("secret.public", buffer(name))),
  mac: (name, data) => new Uint8Array(ask("secret.mac", buffer(name), buffer(data))),
  sign: (name, data) => new Uint8Array(ask("secret.sign", buffer(name), buffer(data))),
};

/** Unpacks an archive of a leased folder into a new folder of another, wholly or not at all. */
export function unpack({ from, to, stripComponents, nested, skipLinks, maxTotalBytes, maxEntries, maxDepth }) {
  return parse(ask("archive.unpack", buffer(JSON.stringify({
    from, to, strip_components: stripComponents, nested, skip_links: skipLinks, max_total_bytes: maxTotalBytes, max_entries: maxEntries, max_depth: maxDepth,
  }))));
}

/** Documents of the configuration. */
export const config = {
  get: (name) => maybe(() => config.need(name)),
  need: (name) => parse(ask("config.get", buffer(name))),
};

const nanos = (name) => new DataView(ask(name)).getBigUint64(0, true);

/** The host's clocks. Date follows the wall clock where the capability is granted and stands still otherwise. */
export const clock = {
  now: () => new Date(Number(nanos("clock.now") / 1000000n)),
  nanoseconds: () => nanos("clock.now"),
  monotonic: () => Number(nanos("clock.monotonic")) / 1e6,
};

/** Bytes from the host's cryptographic source; needs the rand capability. */
export function randomBytes(n) { return fill("rand.bytes", n); }

/** Calls another tool: "namespace/name:tool". Its value, or bytes as a Uint8Array; its error is thrown. */
export function callTool(tool, input = {}) {
  const frame = ask("action.call", buffer(tool), input instanceof Uint8Array ? buffer(input) : buffer(stringify(input)));
  const view = new DataView(frame);
  switch (view.getUint8(0)) {
    case 0: return parse(frame.slice(1));
    case 1: return new Uint8Array(frame.slice(1));
  }
  const end = 9 + view.getUint32(5, true);
  throw new ToolError(codes[view.getUint32(1, true)], sys(TEXT, frame.slice(9, end)), end < frame.byteLength ? parse(frame.slice(end)) : undefined);
}

const line = (args) => args.map((a) => (typeof a === "string" ? a : a instanceof Error ? `${a}\n${a.stack ?? ""}` : JSON.stringify(a) ?? String(a))).join(" ");

/** The pack's log, which needs the log capability; console.* says the same through standard output, and vanishes without it. */
export const log = {
  debug: (...a) => tell(0, a),
  info: (...a) => tell(1, a),
  warn: (...a) => tell(2, a),
  error: (...a) => tell(3, a),
};

// tell logs; a line that is refused is no reason for a tool to fail.
function tell(level, args) {
  try {
    run("log.write", level, buffer(line(args)));
  } catch (e) {
    if (!(e instanceof ToolError)) throw e;
  }
}

/** What the caller streams in: bytes as they come. */
export const input = {
  read(size = CHUNK) {
    const part = fill("stream.read", Math.min(size, PART), 0);
    return part.length === 0 ? undefined : part;
  },
  *[Symbol.iterator]() {
    for (let part; (part = input.read()) !== undefined;) yield part;
  },
  close: () => run("stream.close", 0),
};

/** What the caller takes while the call runs. */
export const output = {
  write: (data) => parts(1, data),
  send: (value) => run("stream.send", 1, buffer(stringify(value))),
  close: () => run("stream.close", 1),
};

// request is what the host reads: a URL alone is one with GET, headers may be an object or pairs.
function request(req) {
  const { headers, timeoutMS, maxBytes, ...rest } = typeof req === "string" ? { url: req } : req;
  const pairs = headers === undefined ? [] : Array.isArray(headers) ? headers : Object.entries(headers);
  return buffer(JSON.stringify({ ...rest, headers: pairs.map(([k, v]) => [k, String(v)]), timeout_ms: timeoutMS, max_bytes: maxBytes }));
}

// answer is the head of an answer, and its body.
function answer(head) {
  const { handle } = head;
  return {
    ...head,
    header: (name) => head.headers.find(([k]) => k.toLowerCase() === name.toLowerCase())?.[1],
    read(size = CHUNK) {
      const part = fill("stream.read", Math.min(size, PART), handle);
      return part.length === 0 ? undefined : part;
    },
    *[Symbol.iterator]() {
      for (let part; (part = this.read()) !== undefined;) yield part;
    },
    bytes() { return concat([...this]); },
    text() { return decode(this.bytes()); },
    json() { return parse(buffer(this.bytes())); },
    close: () => run("stream.close", handle),
  };
}

/** The network, behind the host's guard; a row of its ledger for every request. */
export const http = {
  fetch: (req, body = "") => answer(parse(ask("http.fetch", request(req), buffer(body)))),
  open(req) {
    const handle = new DataView(ask("http.open", request(req))).getUint32(0, true);
    return {
      write: (data) => parts(handle, data),
      response: () => answer(parse(ask("http.response", handle))),
      close: () => run("stream.close", handle),
    };
  },
  connect(req) {
    const head = parse(ask("http.connect", request(req)));
    return {
      ...head,
      send: (data) => run("http.send", head.handle, typeof data === "string" ? 1 : 2, buffer(data)),
      receive() {
        const got = ask("http.receive", head.handle);
        if (got.byteLength === 0) return undefined;
        return new Uint8Array(got)[0] === 1 ? decode(got.slice(1)) : new Uint8Array(got.slice(1));
      },
      close: () => run("stream.close", head.handle),
    };
  },
};

/** Models of the host; requests and replies are those of the ABI. */
export const infer = {
  generate(req) {
    const head = parse(ask("infer.generate", buffer(JSON.stringify(req))));
    const { read, bytes, text, close, [Symbol.iterator]: parts } = answer(head);
    return { ...head, read, bytes, text, close, [Symbol.iterator]: parts, finish: () => parse(ask("infer.finish", head.handle)) };
  },
  embed: (req) => parse(ask("infer.embed", buffer(JSON.stringify(req)))),
  rerank: (req) => parse(ask("infer.rerank", buffer(JSON.stringify(req)))),
  tokenize: (req) => parse(ask("infer.tokenize", buffer(JSON.stringify(req)))),
};

/** Ends the call at once, as a crash does: the instance is thrown away, a session with it. */
export function abort(message = "aborted") { sys(FAIL, buffer(`panic: ${message}\n`)); }

// Kinds of values for typed tools: each checks a value and gives it back, and knows its JSON Schema.
const kind = (schema, ok) => ({ schema, read(v, at) {
  if (!ok(v)) throw new ToolError("invalid", `${at || "the input"} must be ${schema.type === "integer" ? "an integer" : `a ${schema.type}`}, not ${v === null ? "null" : Array.isArray(v) ? "an array" : typeof v === "object" ? "an object" : JSON.stringify(String(v))}`);
  return v;
} });
const whole = (v) => (typeof v === "bigint" ? v >= -(2n ** 63n) && v < 2n ** 63n : Number.isInteger(v));

/** Kinds of values, for typed. */
export const t = {
  text: kind({ type: "string" }, (v) => typeof v === "string"),
  number: kind({ type: "number" }, (v) => typeof v === "number"),
  integer: kind({ type: "integer" }, whole),
  boolean: kind({ type: "boolean" }, (v) => typeof v === "boolean"),
  any: { schema: true, read: (v) => v },
  list: (of) => ({ schema: { type: "array", items: of.schema }, read(v, at) {
    if (!Array.isArray(v)) throw new ToolError("invalid", `${at || "the input"} must be an array`);
    return v.map((x, i) => of.read(x, `${at}[${i}]`));
  } }),
  optional: (of, otherwise) => ({ ...of, optional: true, read: (v, at) => (v === undefined || v === null ? otherwise : of.read(v, at)) }),
  object(fields) {
    const required = Object.keys(fields).filter((name) => !fields[name].optional);
    const properties = Object.fromEntries(Object.entries(fields).map(([name, of]) => [name, of.schema]));
    return { schema: { type: "object", properties, required }, read(v, at) {
      if (v === null || typeof v !== "object" || Array.isArray(v)) throw new ToolError("invalid", `${at || "the input"} must be an object`);
      const out = {};
      for (const [name, of] of Object.entries(fields)) {
        const path = at ? `${at}.${name}` : name;
        if (v[name] === undefined && !of.optional) throw new ToolError("invalid", `${path} is missing`);
        const x = of.read(v[name], path);
        if (x !== undefined) out[name] = x;
      }
      return out;
    } };
  },
};

/** A tool whose input has these fields: what does not fit is invalid, by name, and the tool's schema is known to _describe. */
export function typed(fields, fn) {
  const shape = t.object(fields);
  const tool = (input) => fn(shape.read(input === undefined ? {} : input, ""));
  schemas.set(tool, shape.schema);
  return tool;
}
const schemas = new WeakMap();

/** Marks a tool that takes its input as bytes rather than JSON. */
export function bytes(fn) {
  raw.add(fn);
  return fn;
}
const raw = new WeakSet();

// What JavaScript programs expect to find.
globalThis.console = Object.fromEntries(["debug", "log", "info", "warn", "error", "trace"].map((name) => {
  const fd = name === "warn" || name === "error" ? 2 : 1;
  return [name, (...a) => void sys(PRINT, fd, buffer(line(a) + "\n"))];
}));
globalThis.TextEncoder ??= class TextEncoder {
  get encoding() { return "utf-8"; }
  encode(text = "") { return encode(text); }
};
globalThis.TextDecoder ??= class TextDecoder {
  constructor(label = "utf-8") {
    if (!/^utf-?8$/i.test(label)) throw new RangeError(`TextDecoder: only utf-8, not ${label}`);
  }
  get encoding() { return "utf-8"; }
  decode(data = new ArrayBuffer(0)) { return sys(TEXT, buffer(data)); }
};
globalThis.crypto ??= {
  getRandomValues(view) {
    const some = new Uint8Array(view.byteLength);
    sys(RANDOM, some.buffer);
    new Uint8Array(view.buffer, view.byteOffset, view.byteLength).set(some);
    return view;
  },
};

// Math.random: seeded when it is first used in a call, so that no two calls see the same numbers (except in a pure tool).
let seed;
Math.random = () => {
  if (seed === undefined) {
    seed = new Uint32Array(4);
    sys(RANDOM, seed.buffer);
  }
  const t = seed[3] ^ (seed[3] << 11);
  seed.copyWithin(1, 0, 3);
  seed[0] = seed[1] ^ (seed[1] >>> 19) ^ t ^ (t >>> 8);
  return seed[0] / 4294967296;
};

function frame(kind, body) {
  const out = new Uint8Array(1 + body.byteLength);
  out[0] = kind;
  out.set(new Uint8Array(body), 1);
  return out.buffer;
}

function value(v) {
  if (v instanceof Uint8Array || v instanceof ArrayBuffer) return frame(1, buffer(v));
  return frame(0, buffer(stringify(v)));
}

function failure(e) {
  if (!(e instanceof ToolError) && e instanceof Error) {
    if (e.message === "out of memory") e = new ToolError("memory_exhausted", "the script ran out of memory");
    else if (/call stack size exceeded/.test(e.message)) e = new ToolError("depth_exceeded", `the script's calls nest too deep${where(e)}`);
  }
  const known = e instanceof ToolError;
  const message = new Uint8Array(buffer(known ? e.message : e instanceof Error ? `${e.name}: ${e.message}${where(e)}` : String(e)));
  const detail = new Uint8Array(known && e.detail !== undefined ? buffer(stringify(e.detail)) : 0);
  const out = new Uint8Array(9 + message.length + detail.length);
  const view = new DataView(out.buffer);
  out[0] = 2;
  view.setUint32(1, codes.indexOf(known ? e.code : "tool_failed"), true);
  view.setUint32(5, message.length, true);
  out.set(message, 9);
  out.set(detail, 9 + message.length);
  return out.buffer;
}

// where is the innermost place of the pack's own code.
function where(e) {
  const at = (e.stack ?? "").split("\n").find((l) => l.includes("(") && !l.includes("(arw") && !l.includes("native"));
  return at ? ` ${at.trim()}` : "";
}

let reply;

function tools(module) {
  const found = new Map();
  for (const [id, fn] of [...Object.entries(module), ...Object.entries(module.default ?? {})]) {
    if (typeof fn === "function" && id !== "default") found.set(id, fn);
  }
  const described = { sdk: "javascript", tools: [...found].map(([id, fn]) => ({ id, input: schemas.get(fn) })) };
  found.set("_describe", () => described);
  return found;
}

function serve(found) {
  const enter = (id, body) => {
    seed = undefined;
    reply = undefined;
    try {
      const fn = found.get(id);
      if (fn === undefined) throw new ToolError("not_found", `this pack has no tool ${JSON.stringify(id)}`);
      const out = fn(raw.has(fn) ? new Uint8Array(body) : read(body));
      if (typeof out?.then === "function") out.then((v) => { reply = settle(() => value(v)); }, (e) => { reply = settle(() => failure(e)); });
      else reply = value(out);
    } catch (e) {
      reply = failure(e);
    }
  };
  const leave = () => reply ?? failure(new ToolError("tool_failed", "the tool returned a promise that nothing will settle: there are no timers and no network in a pack"));
  Object.defineProperty(globalThis, "__arw_enter", { value: enter });
  Object.defineProperty(globalThis, "__arw_leave", { value: leave });
}

function settle(f) {
  try {
    return f();
  } catch (e) {
    return failure(e);
  }
}

function read(body) {
  if (body.byteLength === 0) return undefined;
  try {
    return parse(body);
  } catch (e) {
    throw e instanceof ToolError ? e : new ToolError("invalid", `the input is not JSON, or nests too deep: ${e.message}`);
  }
}

/** Called by the adapter, once, before the state is kept that every call starts from. */
export function start(load) {
  load().then((m) => serve(tools(m))).catch((e) => sys(FAIL, buffer(`${e}${e?.stack ? `\n${e.stack}` : ""}\n`)));
}
