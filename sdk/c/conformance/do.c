// conform.do: host functions, one after another.
#include "arw.h"

typedef struct { arw_list entries; bool more; } page;
static const arw_type entries_type = ARW_LIST_OF(arw_entry_type);

static arw_str text(const arw_json *op, const char *key) { return arw_json_text(arw_json_get(op, key)); }
static int64_t integer(const arw_json *op, const char *key) {
  int64_t n = 0;
  arw_json_i64(arw_json_get(op, key), &n);
  return n;
}
static arw_str doc(const arw_json *op) {
  const arw_json *v = arw_json_get(op, "doc");
  arw_buf b = {0};
  if (!v) return ARW_STR("null");
  arw_put_json(&b, v);
  return arw_built(&b);
}
static void put_text(arw_buf *out, const char *key, arw_str value) {
  arw_put(out, arw_format(",\"%z\":", key));
  arw_put_quoted(out, value);
}
static void put_raw(arw_buf *out, const char *key, arw_str value) { arw_put(out, arw_format(",\"%z\":%s", key, value)); }

static arw_code kv(arw_str name, const arw_json *op, arw_buf *out) {
  arw_code code;
  if (arw_equal(name, ARW_STR("kv.get"))) {
    arw_str value;
    if (!(code = arw_kv_get(text(op, "key"), &value))) put_text(out, "value", value);
    return code;
  }
  if (arw_equal(name, ARW_STR("kv.put"))) return arw_kv_put(text(op, "key"), text(op, "value"));
  if (arw_equal(name, ARW_STR("kv.delete"))) return arw_kv_delete(text(op, "key"));
  if (arw_equal(name, ARW_STR("kv.batch"))) {
    arw_buf batch = {0};
    const arw_json *puts = arw_json_get(op, "puts"), *deletes = arw_json_get(op, "deletes");
    for (const arw_json *p = puts ? puts->first : NULL; p; p = p->next) arw_batch_put(&batch, text(p, "key"), text(p, "value"));
    for (const arw_json *d = deletes ? deletes->first : NULL; d; d = d->next) arw_batch_delete(&batch, arw_json_text(d));
    return arw_kv_apply(&batch);
  }
  arw_list keys;
  bool more;
  if ((code = arw_kv_list(text(op, "prefix"), text(op, "after"), (uint32_t)integer(op, "limit"), &keys, &more))) return code;
  arw_put(out, ARW_STR(",\"keys\":["));
  for (uint32_t i = 0; i < keys.len; i++) {
    arw_kv_key *k = (arw_kv_key *)keys.items + i;
    arw_put(out, i ? ARW_STR(",{\"key\":") : ARW_STR("{\"key\":"));
    arw_put_quoted(out, k->key);
    arw_put(out, arw_format(",\"size\":%d}", (int64_t)k->size));
  }
  arw_put_char(out, ']');
  put_raw(out, "more", more ? ARW_STR("true") : ARW_STR("false"));
  return ARW_OK;
}

// copy moves a file by handle, piece by piece.
static arw_code copy(arw_str from, arw_str to, arw_buf *out) {
  uint32_t source, target, n;
  int64_t size = 0;
  char *buf = arw_new(1 << 16);
  arw_code code;
  if ((code = arw_fs_open(from, &source)) || (code = arw_fs_create(to, &target))) return code;
  for (;; size += n) {
    if ((code = arw_fs_next(source, buf, 1 << 16, &n))) return code;
    if (n == 0) break;
    if ((code = arw_fs_append(target, (arw_str){buf, n}))) return code;
  }
  arw_put(out, arw_format(",\"size\":%d", size));
  return (code = arw_fs_commit(target)) ? code : arw_fs_close(source);
}

static arw_code fs(arw_str name, const arw_json *op, arw_buf *out) {
  arw_code code;
  arw_str path = text(op, "path"), data;
  if (arw_equal(name, ARW_STR("fs.list"))) {
    page p = {0};
    const arw_json *recursive = arw_json_get(op, "recursive");
    if ((code = arw_fs_list(path, recursive && recursive->truth, text(op, "after"), (uint32_t)integer(op, "limit"), &p.entries, &p.more))) return code;
    arw_put(out, ARW_STR(",\"entries\":"));
    arw_write(out, &entries_type, &p.entries);
    put_raw(out, "more", p.more ? ARW_STR("true") : ARW_STR("false"));
    return ARW_OK;
  }
  if (arw_equal(name, ARW_STR("fs.stat"))) {
    arw_entry e = {0};
    if ((code = arw_fs_stat(path, &e))) return code;
    arw_put(out, ARW_STR(",\"entry\":"));
    arw_write(out, &arw_entry_type, &e);
    return ARW_OK;
  }
  if (arw_equal(name, ARW_STR("fs.read"))) {
    uint32_t cap = (uint32_t)integer(op, "size"), n;
    char *buf = arw_new(cap);
    if (!(code = arw_fs_read(path, (uint64_t)integer(op, "offset"), buf, cap, &n))) put_text(out, "value", (arw_str){buf, n});
    return code;
  }
  if (arw_equal(name, ARW_STR("fs.read_all"))) {
    if (!(code = arw_fs_read_all(path, &data))) put_text(out, "value", data);
    return code;
  }
  if (arw_equal(name, ARW_STR("fs.write"))) return arw_fs_write(path, text(op, "value"));
  if (arw_equal(name, ARW_STR("fs.copy"))) return copy(path, text(op, "to"), out);
  uint32_t handle;
  if (arw_equal(name, ARW_STR("fs.draft"))) return (code = arw_fs_create(path, &handle)) ? code : arw_fs_append(handle, text(op, "value"));
  if (arw_equal(name, ARW_STR("fs.hold"))) {
    for (int64_t i = 0; i < integer(op, "size"); i++)
      if ((code = arw_fs_open(path, &handle))) return code;
    return ARW_OK;
  }
  return arw_fs_remove(path);
}

// body reads an answer to its end and tells it.
static arw_code body(const arw_response *head, arw_buf *out) {
  arw_str text;
  arw_code code = arw_http_read_all(head->handle, &text);
  if (code) return code;
  arw_put(out, arw_format(",\"status\":%d", head->status));
  put_text(out, "value", text);
  return arw_http_close(head->handle);
}

static arw_code http(arw_str name, const arw_json *op, arw_buf *out) {
  arw_header header = {ARW_STR("X-A"), text(op, "header")};
  arw_request req = {.method = text(op, "method"), .url = text(op, "url"), .headers = &header, .header_count = header.value.len ? 1 : 0};
  arw_str secret = text(op, "secret");
  req.secrets = &secret;
  req.secret_count = secret.len ? 1 : 0;
  arw_response head = {0};
  arw_code code;
  if (arw_equal(name, ARW_STR("http.fetch"))) return (code = arw_http_fetch(&req, text(op, "value"), &head)) ? code : body(&head, out);
  if (arw_equal(name, ARW_STR("http.upload"))) {
    uint32_t handle;
    req.method = ARW_STR("POST");
    if ((code = arw_http_open(&req, &handle))) return code;
    for (int i = 0; i < 2; i++)
      if ((code = arw_http_write(handle, text(op, "value")))) return code;
    return (code = arw_http_response(handle, &head)) ? code : body(&head, out);
  }
  int kind, again;
  arw_str message, none;
  if ((code = arw_http_connect(&req, &head)) || (code = arw_http_send(head.handle, ARW_HTTP_TEXT, text(op, "value"))) ||
      (code = arw_http_receive(head.handle, &kind, &message)) || (code = arw_http_receive(head.handle, &again, &none)))
    return code;
  arw_put(out, arw_format(",\"status\":%d", head.status));
  put_text(out, "value", message);
  put_raw(out, "more", again ? ARW_STR("true") : ARW_STR("false"));
  return arw_http_close(head.handle);
}

static void put_hex(arw_buf *out, arw_str bytes) {
  arw_buf hex = {0};
  for (uint32_t i = 0; i < bytes.len; i++) {
    unsigned char b = (unsigned char)bytes.ptr[i];
    arw_put_char(&hex, "0123456789abcdef"[b >> 4]);
    arw_put_char(&hex, "0123456789abcdef"[b & 15]);
  }
  put_text(out, "hex", arw_built(&hex));
}

static arw_code secret(arw_str name, const arw_json *op, arw_buf *out) {
  arw_str got, of = text(op, "name"), value = text(op, "value");
  arw_code code = arw_equal(name, ARW_STR("secret.mac"))    ? arw_secret_mac(of, value, &got)
                  : arw_equal(name, ARW_STR("secret.sign")) ? arw_secret_sign(of, value, &got)
                                                            : arw_secret_public(of, &got);
  if (!code) put_hex(out, got);
  return code;
}

static arw_code unpack(const arw_json *op, arw_buf *out) {
  arw_unpack_request req = {.from = text(op, "from"), .to = text(op, "to"), .strip_components = integer(op, "strip"), .max_total_bytes = integer(op, "most")};
  arw_unpacked made = {0};
  arw_code code = arw_unpack(&req, &made);
  if (code) return code;
  arw_put(out, ARW_STR(",\"unpacked\":"));
  arw_write(out, &arw_unpacked_type, &made);
  return ARW_OK;
}

// asked is a request to a model: its name, and one more text under a key.
static arw_buf asked(const arw_json *op, const char *key) {
  arw_buf b = {0};
  arw_put(&b, ARW_STR("{\"model\":"));
  arw_put_quoted(&b, text(op, "name"));
  put_text(&b, key, text(op, "value"));
  return b;
}

static arw_code answered(arw_buf *request, arw_buf *out) {
  uint32_t handle;
  arw_str said, how;
  arw_json *v;
  arw_code code;
  int64_t tokens = 0;
  arw_put_char(request, '}');
  if ((code = arw_infer_generate(arw_built(request), &handle)) || (code = arw_infer_read_all(handle, &said)) || (code = arw_infer_finish(handle, &how)) ||
      (code = arw_json_parse(how, &v)))
    return code;
  arw_json_i64(arw_json_get(arw_json_get(v, "usage"), "completion_tokens"), &tokens);
  put_text(out, "value", said);
  put_text(out, "finish", arw_json_text(arw_json_get(v, "finish_reason")));
  arw_put(out, arw_format(",\"tokens\":%d", tokens));
  return arw_infer_close(handle);
}

static arw_code models(arw_str name, const arw_json *op, arw_buf *out) {
  bool chat = arw_equal(name, ARW_STR("infer.chat"));
  if (chat || arw_equal(name, ARW_STR("infer.generate"))) {
    arw_buf b = asked(op, chat ? "was" : "prompt");
    if (chat) {
      b = (arw_buf){0};
      arw_put(&b, ARW_STR("{\"messages\":[{\"role\":\"user\",\"content\":"));
      arw_put_quoted(&b, text(op, "value"));
      arw_put(&b, ARW_STR("}]"));
    }
    if (integer(op, "size")) arw_put(&b, arw_format(",\"max_tokens\":%d", integer(op, "size")));
    return answered(&b, out);
  }
  arw_str reply;
  arw_code code;
  bool rerank = arw_equal(name, ARW_STR("infer.rerank")), embed = arw_equal(name, ARW_STR("infer.embed"));
  arw_buf b = asked(op, rerank ? "query" : "prompt");
  if (embed) {
    b = (arw_buf){0};
    arw_put(&b, ARW_STR("{\"model\":"));
    arw_put_quoted(&b, text(op, "name"));
  }
  if (embed || rerank) {
    const arw_json *list = arw_json_get(op, "texts");
    arw_put(&b, embed ? ARW_STR(",\"texts\":[") : ARW_STR(",\"documents\":["));
    for (const arw_json *t = list ? list->first : NULL; t; t = t->next) {
      if (t != list->first) arw_put_char(&b, ',');
      arw_put_quoted(&b, arw_json_text(t));
    }
    arw_put_char(&b, ']');
  } else if (arw_equal(name, ARW_STR("infer.count"))) {
    arw_put(&b, ARW_STR(",\"count\":true"));
  }
  arw_put_char(&b, '}');
  code = embed ? arw_infer_embed(arw_built(&b), &reply) : rerank ? arw_infer_rerank(arw_built(&b), &reply) : arw_infer_tokenize(arw_built(&b), &reply);
  if (!code) put_raw(out, "doc", reply);
  return code;
}

static arw_code rest(arw_str name, const arw_json *op, arw_buf *out) {
  arw_code code;
  arw_str reply;
  int64_t ns;
  if (arw_equal(name, ARW_STR("log.write"))) {
    arw_log((int)integer(op, "level"), text(op, "value"));
    return ARW_OK;
  }
  if (arw_equal(name, ARW_STR("event.emit"))) return arw_emit(text(op, "kind"), doc(op));
  if (arw_equal(name, ARW_STR("state.put"))) return arw_state_put(text(op, "name"), doc(op));
  if (arw_equal(name, ARW_STR("state.get"))) {
    if (!(code = arw_state_get(text(op, "name"), &reply))) put_raw(out, "doc", reply);
    return code;
  }
  if (arw_equal(name, ARW_STR("clock.now")) || arw_equal(name, ARW_STR("clock.monotonic"))) {
    code = name.len == 9 ? arw_now(&ns) : arw_monotonic(&ns);
    if (!code) arw_put(out, arw_format(",\"ns\":%d", ns));
    return code;
  }
  if (arw_equal(name, ARW_STR("rand.bytes"))) {
    uint32_t n = (uint32_t)integer(op, "size");
    char *buf = arw_new(n);
    if (!(code = arw_random(buf, n))) put_hex(out, (arw_str){buf, n});
    return code;
  }
  if (name.ptr[0] == 's') return secret(name, op, out);
  if (arw_equal(name, ARW_STR("archive.unpack"))) return unpack(op, out);
  if (arw_equal(name, ARW_STR("config.get"))) {
    if (!(code = arw_config(text(op, "name"), &reply))) put_raw(out, "doc", reply);
    return code;
  }
  if (arw_equal(name, ARW_STR("action.call"))) {
    bool json;
    if ((code = arw_action(text(op, "tool"), doc(op), &reply, &json))) return code;
    if (json) put_raw(out, "doc", reply);
    else put_text(out, "value", reply);
    return ARW_OK;
  }
  return arw_fail(ARW_UNSUPPORTED, arw_format("there is no operation \"%s\"", name));
}

arw_code conform_do(const arw_json *in, arw_buf *out) {
  arw_put(out, ARW_STR("{\"results\":["));
  const arw_json *ops = arw_json_get(in, "ops");
  for (const arw_json *op = ops ? ops->first : NULL; op; op = op->next) {
    arw_str name = text(op, "op");
    arw_buf result = {0};
    arw_code code = name.len > 3 && name.ptr[0] == 'k' ? kv(name, op, &result) : name.len > 3 && name.ptr[0] == 'f' ? fs(name, op, &result) : name.len > 4 && name.ptr[0] == 'h' ? http(name, op, &result) : name.len > 5 && name.ptr[0] == 'i' ? models(name, op, &result) : rest(name, op, &result);
    if (op != ops->first) arw_put_char(out, ',');
    arw_put(out, arw_format("{\"code\":%d", (int64_t)code));
    if (code) put_text(out, "message", arw_message());
    else arw_put(out, arw_built(&result));
    arw_put_char(out, '}');
  }
  arw_put(out, ARW_STR("]}"));
  return ARW_OK;
}
