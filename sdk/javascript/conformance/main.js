// The SDK's conformance guest: the tools that abi/abitest asks for.
import { ToolError, abort, bytes, callTool, clock, config, decode, emit, fs, http, infer, input, kv, log, output, randomBytes, secret, state, t, typed, unpack } from "arw";

let count = 0;
const kept = [];
const taken = [];

const recurse = (n) => recurse(n + 1) + n;

const names = {
  2: "invalid", 3: "not_found", 4: "denied", 6: "lease_expired", 7: "lease_revoked", 8: "budget_exhausted", 13: "too_large", 14: "unsupported",
  16: "conflict", 17: "busy", 18: "unavailable", 28: "tool_failed", 30: "internal", 31: "no_model_configured",
};

const operations = {
  "log.write": (o) => void log[["debug", "info", "warn", "error"][o.level]](o.value),
  "kv.get": (o) => ({ value: decode(kv.need(o.key)) }),
  "kv.put": (o) => kv.put(o.key, o.value),
  "kv.delete": (o) => kv.delete(o.key),
  "kv.list": ({ prefix, after, limit }) => kv.page({ prefix, after, limit }),
  "kv.batch": (o) => kv.batch([
    ...(o.puts ?? []).map(({ key, value }) => ({ put: key, value })),
    ...(o.deletes ?? []).map((key) => ({ delete: key })),
  ]),
  "event.emit": (o) => emit(o.kind, o.doc ?? null),
  "state.get": (o) => ({ doc: state.need(o.name) }),
  "state.put": (o) => state.put(o.name, o.doc ?? null),
  "fs.list": ({ path, recursive, after, limit }) => fs.page(path, { recursive, after, limit }),
  "fs.stat": (o) => ({ entry: fs.stat(o.path) }),
  "fs.read": (o) => ({ value: decode(fs.readAt(o.path, o.offset ?? 0, o.size ?? 0)) }),
  "fs.read_all": (o) => ({ value: fs.readText(o.path) }),
  "fs.write": (o) => fs.write(o.path, o.value),
  "fs.remove": (o) => fs.remove(o.path),
  "clock.now": () => ({ ns: clock.nanoseconds() }),
  "clock.monotonic": () => ({ ns: Math.round(clock.monotonic() * 1e6) }),
  "fs.copy"({ path, to }) {
    const source = fs.open(path), target = fs.create(to);
    let size = 0;
    for (const piece of source) {
      target.write(piece);
      size += piece.length;
    }
    target.commit();
    source.close();
    return { size };
  },
  "fs.draft": ({ path, value }) => fs.create(path).write(value),
  "fs.hold"({ path, size }) { for (let i = 0; i < size; i++) fs.open(path); },
  "rand.bytes": (o) => hex(randomBytes(o.size)),
  "secret.public": ({ name }) => hex(secret.publicKey(name)),
  "secret.mac": ({ name, value }) => hex(secret.mac(name, value)),
  "secret.sign": ({ name, value }) => hex(secret.sign(name, value)),
  "archive.unpack": ({ from, to, strip, most }) => ({ unpacked: unpack({ from, to, stripComponents: strip, maxTotalBytes: most }) }),
  "config.get": ({ name }) => ({ doc: config.need(name) }),
  "action.call"(o) {
    const reply = callTool(o.tool, o.doc ?? null);
    return reply instanceof Uint8Array ? { value: decode(reply) } : { doc: reply };
  },
  "http.fetch": ({ url, method, header, secret, value }) =>
    told(http.fetch({ url, method, headers: header ? { "X-A": header } : {}, secrets: secret ? [secret] : [] }, value ?? "")),
  "http.upload"({ url, value }) {
    const up = http.open({ url, method: "POST" });
    up.write(value);
    up.write(value);
    return told(up.response());
  },
  "http.chat"({ url, value }) {
    const s = http.connect(url);
    s.send(value);
    const said = s.receive(), more = s.receive() !== undefined;
    s.close();
    return { status: s.status, value: said, more };
  },
  "infer.generate": (o) => thought(o, { prompt: o.value }),
  "infer.chat": (o) => thought(o, { messages: [{ role: "user", content: o.value }] }),
  "infer.embed": ({ name, texts }) => ({ doc: infer.embed({ model: name, texts }) }),
  "infer.rerank": ({ name, value, texts }) => ({ doc: infer.rerank({ model: name, query: value, documents: texts }) }),
  "infer.tokenize": ({ name, value }) => ({ doc: infer.tokenize({ model: name, prompt: value }) }),
  "infer.count": ({ name, value }) => ({ doc: infer.tokenize({ model: name, prompt: value, count: true }) }),
};

const hex = (bytes) => ({ hex: [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("") });
function thought({ name, size }, req) {
  const a = infer.generate({ model: name, max_tokens: size, ...req });
  const value = a.text(), how = a.finish();
  a.close();
  return { value, finish: how.finish_reason, tokens: how.usage.completion_tokens };
}

function told(answer) {
  const value = answer.text();
  answer.close();
  return { status: answer.status, value };
}

function perform(o) {
  try {
    return { code: 0, ...operations[o.op](o) };
  } catch (e) {
    if (!(e instanceof ToolError)) throw e;
    return { code: e.code, message: e.message };
  }
}

export default {
  "conform.echo": bytes((input) => input),
  "conform.json": (input) => input,
  "conform.typed": typed({
    name: t.text, count: t.integer, ratio: t.optional(t.number, 0), on: t.optional(t.boolean, false),
    tags: t.optional(t.list(t.text), []), note: t.optional(t.text),
  }, (input) => input),
  "conform.fail": ({ code, message, detail }) => { throw new ToolError(names[code], message, detail); },
  "conform.do": ({ ops }) => ({ results: ops.map(perform) }),
  "conform.size"({ size }) {
    const out = new Uint8Array(size);
    const period = Math.min(size, 65536); // the pattern repeats
    for (let i = 0; i < period; i++) out[i] = i * 7 + (i >> 8);
    for (let at = period; at < size; at += period) out.copyWithin(at, 0, Math.min(period, size - at));
    return out;
  },
  "conform.count": () => ({ count: ++count }),
  "conform.keep"({ text }) {
    kept.push(text);
    return { texts: kept };
  },
  "conform.spin": () => { for (;;) count++; },
  "conform.grow": () => { for (;;) taken.push(new Uint8Array(1 << 20)); },
  "conform.recurse": () => ({ count: recurse(1) }),
  "conform.trap": () => abort("on purpose"),
  "conform.pump"() {
    let count = 0;
    for (const piece of input) {
      output.write(piece);
      count += piece.length;
    }
    output.send({ bytes: count });
    output.close();
    return { bytes: count };
  },
};
