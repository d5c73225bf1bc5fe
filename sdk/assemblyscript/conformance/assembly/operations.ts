// conform.do: host functions, one after another.
import { action, archive, Batch, clock, Code, config, event, fail, failCode, failure, FileEntry, fs, http, HttpRequest, HttpResponse, infer, Json, kv, log, rand, secret, state, text, UnpackRequest, utf8 } from "arw";

function bool_(v: bool): Json {
  const j = new Json();
  j.kind = 1;
  j.truth = v;
  return j;
}

function entry(e: FileEntry): Json {
  return Json.object().set("path", Json.of(e.path)).set("size", Json.integer(e.size)).set("mode", Json.of(e.mode)).set("mtime_ms", Json.integer(e.mtimeMS));
}

function value(out: Json, bytes: Uint8Array | null): bool {
  if (!bytes) return false;
  out.set("value", Json.of(text(bytes)));
  return true;
}

function nanoseconds(out: Json, ns: i64): bool {
  if (ns < 0) return false;
  out.set("ns", Json.integer(ns));
  return true;
}

function doc(op: Json): Json {
  const v = op.get("doc");
  return v ? v : new Json();
}

function keys(op: Json, out: Json): bool {
  const page = kv.list(op.text("prefix"), op.text("after"), <i32>op.integer("limit"));
  if (!page) return false;
  const list = Json.list();
  for (let i = 0; i < page.keys.length; i++) list.push(Json.object().set("key", Json.of(page.keys[i].key)).set("size", Json.integer(page.keys[i].size)));
  out.set("keys", list).set("more", bool_(page.more));
  return true;
}

function batch(op: Json): bool {
  const b = new Batch(), puts = op.get("puts"), deletes = op.get("deletes");
  if (puts) for (let i = 0; i < puts.items.length; i++) b.put(puts.items[i].text("key"), utf8(puts.items[i].text("value")));
  if (deletes) for (let i = 0; i < deletes.items.length; i++) b.delete(deletes.items[i].words);
  return b.apply();
}

function files(op: Json, out: Json): bool {
  const page = fs.list(op.text("path"), op.flag("recursive"), op.text("after"), <i32>op.integer("limit"));
  if (!page) return false;
  const list = Json.list();
  for (let i = 0; i < page.entries.length; i++) list.push(entry(page.entries[i]));
  out.set("entries", list).set("more", bool_(page.more));
  return true;
}

function copy(op: Json, out: Json): bool {
  const source = fs.open(op.text("path"));
  if (!source) return false;
  const target = fs.create(op.text("to"));
  if (!target) return false;
  const buf = new Uint8Array(65536);
  let size: i64 = 0;
  while (true) {
    const n = source.readInto(buf);
    if (n < 0) return false;
    if (n == 0) break;
    if (!target.write(Uint8Array.wrap(buf.buffer, 0, n))) return false;
    size += n;
  }
  out.set("size", Json.integer(size));
  return target.commit() && source.close();
}

function draft(op: Json): bool {
  const target = fs.create(op.text("path"));
  return target ? target.write(utf8(op.text("value"))) : false;
}

function hold(op: Json): bool {
  for (let i: i64 = 0; i < op.integer("size"); i++) if (!fs.open(op.text("path"))) return false;
  return true;
}

function unpack(op: Json, out: Json): bool {
  const req = new UnpackRequest(op.text("from"), op.text("to"));
  req.stripComponents = op.integer("strip");
  req.maxTotalBytes = op.integer("most");
  const made = archive.unpack(req);
  if (!made) return false;
  out.set("unpacked", Json.object().set("format", Json.of(made.format)).set("files", Json.integer(made.files)).set("folders", Json.integer(made.folders))
    .set("bytes", Json.integer(made.bytes)).set("skipped", Json.integer(made.skipped)).set("depth", Json.integer(made.depth)));
  return true;
}

function hexed(out: Json, bytes: Uint8Array | null): bool {
  if (!bytes) return false;
  let hex = "";
  for (let i = 0; i < bytes.length; i++) hex += "0123456789abcdef".charAt(bytes[i] >> 4) + "0123456789abcdef".charAt(bytes[i] & 15);
  out.set("hex", Json.of(hex));
  return true;
}

function call(op: Json, out: Json): bool {
  const reply = action.call(op.text("tool"), doc(op));
  if (!reply) return false;
  const json = reply.json;
  if (!json) return value(out, reply.bytes);
  out.set("doc", json);
  return true;
}

function told(answer: HttpResponse | null, out: Json): bool {
  if (!answer) return false;
  const body = answer.readAll();
  if (!body) return false;
  out.set("status", Json.integer(answer.status)).set("value", Json.of(text(body)));
  return answer.close();
}

function network(name: string, op: Json, out: Json): bool {
  const method = op.text("method"), body = utf8(op.text("value")), req = new HttpRequest(op.text("url"), method.length > 0 ? method : "GET");
  if (op.text("secret").length > 0) req.secrets.push(op.text("secret"));
  if (op.text("header").length > 0) req.header("X-A", op.text("header"));
  if (name == "http.fetch") return told(http.fetch(req, body), out);
  if (name == "http.upload") {
    req.method = "POST";
    const handle = http.open(req);
    return handle != 0 && http.write(handle, body) && http.write(handle, body) && told(http.response(handle), out);
  }
  const socket = http.connect(req);
  if (!socket || !http.sendText(socket, op.text("value"))) return false;
  const said = http.receive(socket);
  if (!said) return false;
  const more = http.receive(socket);
  if (!more) return false;
  out.set("status", Json.integer(socket.status)).set("value", Json.of(text(said.bytes))).set("more", bool_(more.open));
  return socket.close();
}

function models(name: string, op: Json, out: Json): bool {
  const req = Json.object().set("model", Json.of(op.text("name"))), value = Json.of(op.text("value")), texts = op.get("texts");
  if (name == "infer.generate" || name == "infer.chat") {
    if (name == "infer.chat") req.set("messages", Json.list().push(Json.object().set("role", Json.of("user")).set("content", value)));
    else req.set("prompt", value);
    if (op.integer("size") > 0) req.set("max_tokens", Json.integer(op.integer("size")));
    const a = infer.generate(req);
    if (!a) return false;
    const said = a.readAll();
    if (!said) return false;
    const how = a.finish();
    if (!how) return false;
    const usage = how.get("usage");
    out.set("value", Json.of(text(said))).set("finish", Json.of(how.text("finish_reason"))).set("tokens", Json.integer(usage ? usage.integer("completion_tokens") : 0));
    return a.close();
  }
  let reply: Json | null = null;
  if (name == "infer.embed") reply = infer.embed(req.set("texts", texts ? texts : Json.list()));
  else if (name == "infer.rerank") reply = infer.rerank(req.set("query", value).set("documents", texts ? texts : Json.list()));
  else {
    req.set("prompt", value);
    if (name == "infer.count") req.set("count", bool_(true));
    reply = infer.tokenize(req);
  }
  if (!reply) return false;
  out.set("doc", reply);
  return true;
}

function one(name: string, op: Json, out: Json): bool {
  const key = op.text("key"), path = op.text("path");
  if (name == "log.write") {
    log.write(<i32>op.integer("level"), op.text("value"));
    return true;
  }
  if (name == "kv.get") return value(out, kv.get(key));
  if (name == "kv.put") return kv.put(key, utf8(op.text("value")));
  if (name == "kv.delete") return kv.remove(key);
  if (name == "kv.list") return keys(op, out);
  if (name == "kv.batch") return batch(op);
  if (name == "event.emit") return event.emit(op.text("kind"), doc(op));
  if (name == "state.get") {
    const v = state.get(op.text("name"));
    if (v) out.set("doc", v);
    return v !== null;
  }
  if (name == "state.put") return state.put(op.text("name"), doc(op));
  if (name == "fs.list") return files(op, out);
  if (name == "fs.stat") {
    const e = fs.stat(path);
    if (e) out.set("entry", entry(e));
    return e !== null;
  }
  if (name == "fs.read") return value(out, fs.readAt(path, op.integer("offset"), <i32>op.integer("size")));
  if (name == "fs.read_all") return value(out, fs.read(path));
  if (name == "fs.write") return fs.write(path, utf8(op.text("value")));
  if (name == "fs.remove") return fs.remove(path);
  if (name == "clock.now") return nanoseconds(out, clock.now());
  if (name == "clock.monotonic") return nanoseconds(out, clock.monotonic());
  if (name == "rand.bytes") return hexed(out, rand.bytes(<i32>op.integer("size")));
  if (name == "fs.copy") return copy(op, out);
  if (name == "fs.draft") return draft(op);
  if (name == "fs.hold") return hold(op);
  if (name == "secret.public") return hexed(out, secret.publicKey(op.text("name")));
  if (name == "secret.mac") return hexed(out, secret.mac(op.text("name"), utf8(op.text("value"))));
  if (name == "secret.sign") return hexed(out, secret.sign(op.text("name"), utf8(op.text("value"))));
  if (name == "archive.unpack") return unpack(op, out);
  if (name == "config.get") {
    const v = config.get(op.text("name"));
    if (v) out.set("doc", v);
    return v !== null;
  }
  if (name == "action.call") return call(op, out);
  if (name.startsWith("http.")) return network(name, op, out);
  if (name.startsWith("infer.")) return models(name, op, out);
  return failCode(Code.Unsupported, 'there is no operation "' + name + '"');
}

export function operations(input: Json): Json | null {
  const ops = input.get("ops"), results = Json.list();
  if (!ops) return fail<Json>(Code.Invalid, "ops is missing");
  for (let i = 0; i < ops.items.length; i++) {
    let out = Json.object().set("code", Json.integer(0));
    if (!one(ops.items[i].text("op"), ops.items[i], out)) out = Json.object().set("code", Json.integer(failure().code)).set("message", Json.of(failure().message));
    results.push(out);
  }
  return Json.object().set("results", results);
}
