// The host's functions, one C function each, so that a module imports only what its code reaches.
#include "arw.h"

#define HOST(module, name, params) __attribute__((import_module("arw:" #module), import_name(#name))) extern uint64_t host_##module##_##name params
typedef const char *in;
HOST(io, take, (char *, uint32_t));
HOST(log, write, (uint32_t, in, uint32_t));
HOST(kv, get, (in, uint32_t, char *, uint32_t));
HOST(kv, put, (in, uint32_t, in, uint32_t));
HOST(kv, delete, (in, uint32_t));
HOST(kv, list, (in, uint32_t, char *, uint32_t));
HOST(kv, batch, (in, uint32_t));
HOST(event, emit, (in, uint32_t, in, uint32_t));
HOST(state, get, (in, uint32_t, char *, uint32_t));
HOST(state, put, (in, uint32_t, in, uint32_t));
HOST(fs, list, (in, uint32_t, char *, uint32_t));
HOST(fs, stat, (in, uint32_t, char *, uint32_t));
HOST(fs, read, (in, uint32_t, uint32_t, uint32_t, char *, uint32_t));
HOST(fs, write, (in, uint32_t, in, uint32_t));
HOST(fs, open, (in, uint32_t, char *, uint32_t));
HOST(fs, create, (in, uint32_t, char *, uint32_t));
HOST(fs, remove, (in, uint32_t));
HOST(clock, now, (int64_t *, uint32_t));
HOST(clock, monotonic, (int64_t *, uint32_t));
HOST(rand, bytes, (char *, uint32_t));
HOST(action, call, (in, uint32_t, in, uint32_t, char *, uint32_t));
HOST(secret, public, (in, uint32_t, char *, uint32_t));
HOST(secret, mac, (in, uint32_t, in, uint32_t, char *, uint32_t));
HOST(secret, sign, (in, uint32_t, in, uint32_t, char *, uint32_t));
HOST(archive, unpack, (in, uint32_t, char *, uint32_t));
HOST(config, get, (in, uint32_t, char *, uint32_t));
HOST(stream, read, (uint32_t, char *, uint32_t));
HOST(stream, write, (uint32_t, in, uint32_t));
HOST(stream, send, (uint32_t, in, uint32_t));
HOST(stream, close, (uint32_t));
HOST(http, fetch, (in, uint32_t, in, uint32_t, char *, uint32_t));
HOST(http, open, (in, uint32_t, char *, uint32_t));
HOST(http, response, (uint32_t, char *, uint32_t));
HOST(http, connect, (in, uint32_t, char *, uint32_t));
HOST(http, send, (uint32_t, uint32_t, in, uint32_t));
HOST(http, receive, (uint32_t, char *, uint32_t));
HOST(infer, generate, (in, uint32_t, char *, uint32_t));
HOST(infer, finish, (uint32_t, char *, uint32_t));
HOST(infer, embed, (in, uint32_t, char *, uint32_t));
HOST(infer, rerank, (in, uint32_t, char *, uint32_t));
HOST(infer, tokenize, (in, uint32_t, char *, uint32_t));

enum { small = 1024 }; // most replies fit; the others are collected

// refused collects the message that goes with a status.
static arw_code refused(uint64_t status) {
  uint32_t code = (uint32_t)(status >> 32), n = (uint32_t)status;
  if (code == ARW_MORE || code > ARW_NO_MODEL) return arw_fail(ARW_INTERNAL, ARW_STR("the host answered with a status that fits nothing that was asked"));
  char *message = arw_new(n);
  if (n && host_io_take(message, n) >> 32 != ARW_OK) n = 0;
  return arw_fail(code, (arw_str){message, n});
}
static arw_code done(uint64_t status) { return status >> 32 == ARW_OK ? ARW_OK : refused(status); }

// reply is what a function wrote to buf, or the larger reply that waits.
static arw_code reply(uint64_t status, char *buf, arw_str *out) {
  uint32_t n = (uint32_t)status;
  if (status >> 32 == ARW_MORE) {
    buf = arw_new(n);
    if (host_io_take(buf, n) >> 32 != ARW_OK) return arw_fail(ARW_INTERNAL, ARW_STR("the host announced a reply and then did not give it"));
  } else if (status >> 32 != ARW_OK) {
    return refused(status);
  }
  *out = (arw_str){buf, n};
  return ARW_OK;
}
static arw_code typed(uint64_t status, char *buf, const arw_type *type, void *out) {
  arw_str json;
  arw_code code = reply(status, buf, &json);
  return code ? code : arw_read(json, type, out);
}

void arw_log(int level, arw_str line) { host_log_write((uint32_t)level, line.ptr, line.len); }

arw_code arw_kv_get(arw_str key, arw_str *value) {
  char *buf = arw_new(small);
  return reply(host_kv_get(key.ptr, key.len, buf, small), buf, value);
}
arw_code arw_kv_put(arw_str key, arw_str value) { return done(host_kv_put(key.ptr, key.len, value.ptr, value.len)); }
arw_code arw_kv_delete(arw_str key) { return done(host_kv_delete(key.ptr, key.len)); }

typedef struct { arw_str key; int64_t size; } listed;
typedef struct { arw_list keys; bool more; } key_page;
static const arw_field listed_fields[] = {ARW_FIELD(listed, key, arw_text, 0), ARW_FIELD(listed, size, arw_i64, 0)};
static const arw_type listed_type = ARW_OBJECT(listed, listed_fields), listed_list = ARW_LIST_OF(listed_type);
static const arw_field key_page_fields[] = {ARW_FIELD(key_page, keys, listed_list, 0), ARW_FIELD(key_page, more, arw_bool, 0)};
static const arw_type key_page_type = ARW_OBJECT(key_page, key_page_fields);

arw_code arw_kv_list(arw_str prefix, arw_str after, uint32_t limit, arw_list *keys, bool *more) {
  arw_buf req = {0};
  arw_put(&req, ARW_STR("{\"prefix\":"));
  arw_put_quoted(&req, prefix);
  arw_put(&req, ARW_STR(",\"after\":"));
  arw_put_quoted(&req, after);
  arw_put(&req, arw_format(",\"limit\":%d}", (int64_t)limit));
  char *buf = arw_new(small);
  key_page page = {0};
  arw_code code = typed(host_kv_list(req.ptr, req.len, buf, small), buf, &key_page_type, &page);
  if (code) return code;
  arw_kv_key *out = arw_new(page.keys.len * sizeof *out);
  for (uint32_t i = 0; i < page.keys.len; i++) {
    listed *l = (listed *)page.keys.items + i;
    out[i] = (arw_kv_key){l->key, (uint32_t)l->size};
  }
  *keys = (arw_list){out, page.keys.len};
  *more = page.more;
  return ARW_OK;
}

static void put_field(arw_buf *b, arw_str s) {
  arw_put(b, (arw_str){(char *)&s.len, 4});
  arw_put(b, s);
}
void arw_batch_put(arw_buf *b, arw_str key, arw_str value) {
  arw_put_char(b, 1);
  put_field(b, key);
  put_field(b, value);
}
void arw_batch_delete(arw_buf *b, arw_str key) {
  arw_put_char(b, 2);
  put_field(b, key);
}
arw_code arw_kv_apply(const arw_buf *b) { return done(host_kv_batch(b->ptr, b->len)); }

arw_code arw_emit(arw_str kind, arw_str json) { return done(host_event_emit(kind.ptr, kind.len, json.ptr, json.len)); }
arw_code arw_state_get(arw_str name, arw_str *json) {
  char *buf = arw_new(small);
  return reply(host_state_get(name.ptr, name.len, buf, small), buf, json);
}
arw_code arw_state_put(arw_str name, arw_str json) { return done(host_state_put(name.ptr, name.len, json.ptr, json.len)); }

static const arw_field entry_fields[] = {ARW_FIELD(arw_entry, path, arw_text, 0), ARW_FIELD(arw_entry, size, arw_i64, 0),
                                         ARW_FIELD(arw_entry, mode, arw_text, 0), ARW_FIELD(arw_entry, mtime_ms, arw_i64, 0)};
const arw_type arw_entry_type = ARW_OBJECT(arw_entry, entry_fields);
typedef struct { arw_list entries; bool more; } entry_page;
static const arw_type entry_list = ARW_LIST_OF(arw_entry_type);
static const arw_field entry_page_fields[] = {ARW_FIELD(entry_page, entries, entry_list, 0), ARW_FIELD(entry_page, more, arw_bool, 0)};
static const arw_type entry_page_type = ARW_OBJECT(entry_page, entry_page_fields);

arw_code arw_fs_list(arw_str path, bool recursive, arw_str after, uint32_t limit, arw_list *entries, bool *more) {
  arw_buf req = {0};
  arw_put(&req, ARW_STR("{\"path\":"));
  arw_put_quoted(&req, path);
  arw_put(&req, recursive ? ARW_STR(",\"recursive\":true,\"after\":") : ARW_STR(",\"recursive\":false,\"after\":"));
  arw_put_quoted(&req, after);
  arw_put(&req, arw_format(",\"limit\":%d}", (int64_t)limit));
  char *buf = arw_new(small);
  entry_page page = {0};
  arw_code code = typed(host_fs_list(req.ptr, req.len, buf, small), buf, &entry_page_type, &page);
  if (code) return code;
  *entries = page.entries;
  *more = page.more;
  return ARW_OK;
}
arw_code arw_fs_stat(arw_str path, arw_entry *entry) {
  char *buf = arw_new(small);
  return typed(host_fs_stat(path.ptr, path.len, buf, small), buf, &arw_entry_type, entry);
}
arw_code arw_fs_read(arw_str path, uint64_t offset, void *buf, uint32_t cap, uint32_t *n) {
  uint64_t status = host_fs_read(path.ptr, path.len, (uint32_t)offset, (uint32_t)(offset >> 32), buf, cap);
  *n = status >> 32 == ARW_OK ? (uint32_t)status : 0;
  return done(status);
}
arw_code arw_fs_read_all(arw_str path, arw_str *data) {
  char *piece = arw_new(1 << 16);
  arw_buf b = {0};
  for (;;) {
    uint32_t n;
    arw_code code = arw_fs_read(path, b.len, piece, 1 << 16, &n);
    if (code) return code;
    if (n == 0) break;
    arw_put(&b, (arw_str){piece, n});
  }
  *data = arw_built(&b);
  return ARW_OK;
}
arw_code arw_fs_write(arw_str path, arw_str data) { return done(host_fs_write(path.ptr, path.len, data.ptr, data.len)); }
arw_code arw_fs_remove(arw_str path) { return done(host_fs_remove(path.ptr, path.len)); }

static arw_code filled(uint64_t status, uint32_t *n) {
  *n = status >> 32 == ARW_OK ? (uint32_t)status : 0;
  return done(status);
}
static arw_code parts(uint32_t handle, arw_str data) {
  for (uint32_t at = 0; at < data.len; at += ARW_MAX_PART) {
    uint32_t left = data.len - at;
    arw_code code = done(host_stream_write(handle, data.ptr + at, left < ARW_MAX_PART ? left : ARW_MAX_PART));
    if (code) return code;
  }
  return ARW_OK;
}
arw_code arw_fs_open(arw_str path, uint32_t *handle) { return done(host_fs_open(path.ptr, path.len, (char *)handle, 4)); }
arw_code arw_fs_next(uint32_t handle, void *buf, uint32_t cap, uint32_t *n) { return filled(host_stream_read(handle, buf, cap), n); }
arw_code arw_fs_close(uint32_t handle) { return done(host_stream_close(handle)); }
arw_code arw_fs_create(arw_str path, uint32_t *handle) { return done(host_fs_create(path.ptr, path.len, (char *)handle, 4)); }
arw_code arw_fs_append(uint32_t handle, arw_str data) { return parts(handle, data); }
arw_code arw_fs_commit(uint32_t handle) { return done(host_stream_close(handle)); }

arw_code arw_secret_public(arw_str name, arw_str *der) {
  char *buf = arw_new(small);
  return reply(host_secret_public(name.ptr, name.len, buf, small), buf, der);
}
arw_code arw_secret_mac(arw_str name, arw_str data, arw_str *mac) {
  char *buf = arw_new(small);
  return reply(host_secret_mac(name.ptr, name.len, data.ptr, data.len, buf, small), buf, mac);
}
arw_code arw_secret_sign(arw_str name, arw_str data, arw_str *signature) {
  char *buf = arw_new(small);
  return reply(host_secret_sign(name.ptr, name.len, data.ptr, data.len, buf, small), buf, signature);
}

static const arw_field unpack_fields[] = {
    ARW_FIELD(arw_unpack_request, from, arw_text, 0), ARW_FIELD(arw_unpack_request, to, arw_text, 0),
    ARW_FIELD(arw_unpack_request, strip_components, arw_i64, 0), ARW_FIELD(arw_unpack_request, nested, arw_bool, 0),
    ARW_FIELD(arw_unpack_request, skip_links, arw_bool, 0), ARW_FIELD(arw_unpack_request, max_total_bytes, arw_i64, 0),
    ARW_FIELD(arw_unpack_request, max_entries, arw_i64, 0), ARW_FIELD(arw_unpack_request, max_depth, arw_i64, 0)};
static const arw_type unpack_type = ARW_OBJECT(arw_unpack_request, unpack_fields);
static const arw_field unpacked_fields[] = {ARW_FIELD(arw_unpacked, format, arw_text, 0), ARW_FIELD(arw_unpacked, files, arw_i64, 0),
                                            ARW_FIELD(arw_unpacked, folders, arw_i64, 0), ARW_FIELD(arw_unpacked, bytes, arw_i64, 0),
                                            ARW_FIELD(arw_unpacked, skipped, arw_i64, 0), ARW_FIELD(arw_unpacked, depth, arw_i64, 0)};
const arw_type arw_unpacked_type = ARW_OBJECT(arw_unpacked, unpacked_fields);
arw_code arw_unpack(const arw_unpack_request *req, arw_unpacked *made) {
  arw_buf raw = {0};
  arw_write(&raw, &unpack_type, req);
  char *buf = arw_new(small);
  return typed(host_archive_unpack(raw.ptr, raw.len, buf, small), buf, &arw_unpacked_type, made);
}

arw_code arw_config(arw_str name, arw_str *json) {
  char *buf = arw_new(small);
  return reply(host_config_get(name.ptr, name.len, buf, small), buf, json);
}

arw_code arw_now(int64_t *ns) { return done(host_clock_now(ns, 8)); }
arw_code arw_monotonic(int64_t *ns) { return done(host_clock_monotonic(ns, 8)); }
arw_code arw_random(void *buf, uint32_t len) { return done(host_rand_bytes(buf, len)); }

arw_code arw_action(arw_str tool, arw_str in, arw_str *out, bool *json) {
  char *buf = arw_new(small);
  arw_str frame;
  arw_code code = reply(host_action_call(tool.ptr, tool.len, in.ptr, in.len, buf, small), buf, &frame);
  if (code) return code;
  if (frame.len > 0 && frame.ptr[0] < 2) {
    *json = frame.ptr[0] == 0;
    *out = (arw_str){frame.ptr + 1, frame.len - 1};
    return ARW_OK;
  }
  uint32_t error, n;
  if (frame.len < 9) return arw_fail(ARW_INTERNAL, ARW_STR("the other tool's frame is broken"));
  __builtin_memcpy(&error, frame.ptr + 1, 4);
  __builtin_memcpy(&n, frame.ptr + 5, 4);
  if (n > frame.len - 9) return arw_fail(ARW_INTERNAL, ARW_STR("the other tool's frame is broken"));
  return arw_fail_with(error, (arw_str){frame.ptr + 9, n}, (arw_str){n + 9 < frame.len ? frame.ptr + 9 + n : NULL, frame.len - 9 - n});
}

arw_code arw_stream_read(void *buf, uint32_t cap, uint32_t *n) { return filled(host_stream_read(0, buf, cap), n); }
arw_code arw_stream_write(arw_str data) { return parts(1, data); }
arw_code arw_stream_send(arw_str json) { return done(host_stream_send(1, json.ptr, json.len)); }
arw_code arw_stream_close_input(void) { return done(host_stream_close(0)); }
arw_code arw_stream_close_output(void) { return done(host_stream_close(1)); }

static arw_str request(const arw_request *r) {
  arw_buf b = {0};
  arw_put(&b, ARW_STR("{\"url\":"));
  arw_put_quoted(&b, r->url);
  if (r->method.len) {
    arw_put(&b, ARW_STR(",\"method\":"));
    arw_put_quoted(&b, r->method);
  }
  arw_put(&b, ARW_STR(",\"headers\":["));
  for (uint32_t i = 0; i < r->header_count; i++) {
    arw_put(&b, i ? ARW_STR(",[") : ARW_STR("["));
    arw_put_quoted(&b, r->headers[i].name);
    arw_put_char(&b, ',');
    arw_put_quoted(&b, r->headers[i].value);
    arw_put_char(&b, ']');
  }
  arw_put(&b, ARW_STR("],\"secrets\":["));
  for (uint32_t i = 0; i < r->secret_count; i++) {
    if (i) arw_put_char(&b, ',');
    arw_put_quoted(&b, r->secrets[i]);
  }
  arw_put(&b, arw_format("],\"timeout_ms\":%d,\"max_bytes\":%d", r->timeout_ms, r->max_bytes));
  arw_put(&b, r->manual ? ARW_STR(",\"redirect\":\"manual\"}") : ARW_STR("}"));
  return arw_built(&b);
}
static arw_code response(uint64_t status, char *buf, arw_response *out) {
  arw_str json;
  arw_json *v;
  arw_code code = reply(status, buf, &json);
  if (code || (code = arw_json_parse(json, &v))) return code;
  int64_t handle = 0;
  arw_json_i64(arw_json_get(v, "handle"), &handle);
  out->handle = (uint32_t)handle;
  arw_json_i64(arw_json_get(v, "status"), &out->status);
  arw_json_i64(arw_json_get(v, "length"), &out->length);
  out->url = arw_json_text(arw_json_get(v, "url"));
  out->ledger = arw_json_text(arw_json_get(v, "ledger"));
  const arw_json *list = arw_json_get(v, "headers");
  uint32_t count = list ? list->count : 0, i = 0;
  arw_header *headers = arw_new((count ? count : 1) * sizeof *headers);
  for (const arw_json *pair = list ? list->first : NULL; pair; pair = pair->next, i++)
    headers[i] = (arw_header){arw_json_text(pair->first), arw_json_text(pair->first ? pair->first->next : NULL)};
  out->headers = (arw_list){headers, i};
  return ARW_OK;
}
arw_code arw_http_fetch(const arw_request *req, arw_str body, arw_response *head) {
  arw_str raw = request(req);
  char *buf = arw_new(small);
  return response(host_http_fetch(raw.ptr, raw.len, body.ptr, body.len, buf, small), buf, head);
}
arw_code arw_http_open(const arw_request *req, uint32_t *handle) {
  arw_str raw = request(req);
  return done(host_http_open(raw.ptr, raw.len, (char *)handle, 4));
}
arw_code arw_http_write(uint32_t handle, arw_str data) { return parts(handle, data); }
arw_code arw_http_response(uint32_t handle, arw_response *head) {
  char *buf = arw_new(small);
  return response(host_http_response(handle, buf, small), buf, head);
}
arw_code arw_http_read(uint32_t handle, void *buf, uint32_t cap, uint32_t *n) { return filled(host_stream_read(handle, buf, cap), n); }
arw_code arw_http_read_all(uint32_t handle, arw_str *body) {
  char *piece = arw_new(1 << 16);
  arw_buf b = {0};
  for (;;) {
    uint32_t n;
    arw_code code = arw_http_read(handle, piece, 1 << 16, &n);
    if (code) return code;
    if (n == 0) break;
    arw_put(&b, (arw_str){piece, n});
  }
  *body = arw_built(&b);
  return ARW_OK;
}
arw_code arw_http_close(uint32_t handle) { return done(host_stream_close(handle)); }
arw_code arw_http_connect(const arw_request *req, arw_response *head) {
  arw_str raw = request(req);
  char *buf = arw_new(small);
  return response(host_http_connect(raw.ptr, raw.len, buf, small), buf, head);
}
arw_code arw_http_send(uint32_t handle, int kind, arw_str message) { return done(host_http_send(handle, (uint32_t)kind, message.ptr, message.len)); }
arw_code arw_http_receive(uint32_t handle, int *kind, arw_str *message) {
  char *buf = arw_new(small);
  arw_str raw;
  arw_code code = reply(host_http_receive(handle, buf, small), buf, &raw);
  if (code) return code;
  *kind = raw.len ? raw.ptr[0] : 0;
  *message = raw.len ? (arw_str){raw.ptr + 1, raw.len - 1} : (arw_str){buf, 0};
  return ARW_OK;
}

arw_code arw_infer_generate(arw_str request, uint32_t *handle) {
  char *buf = arw_new(small);
  arw_str json;
  arw_json *v;
  int64_t number = 0;
  arw_code code = reply(host_infer_generate(request.ptr, request.len, buf, small), buf, &json);
  if (code || (code = arw_json_parse(json, &v))) return code;
  arw_json_i64(arw_json_get(v, "handle"), &number);
  *handle = (uint32_t)number;
  return ARW_OK;
}
arw_code arw_infer_read(uint32_t handle, void *buf, uint32_t cap, uint32_t *n) { return arw_http_read(handle, buf, cap, n); }
arw_code arw_infer_read_all(uint32_t handle, arw_str *text) { return arw_http_read_all(handle, text); }
arw_code arw_infer_finish(uint32_t handle, arw_str *json) {
  char *buf = arw_new(small);
  return reply(host_infer_finish(handle, buf, small), buf, json);
}
arw_code arw_infer_close(uint32_t handle) { return done(host_stream_close(handle)); }
arw_code arw_infer_embed(arw_str request, arw_str *json) {
  char *buf = arw_new(small);
  return reply(host_infer_embed(request.ptr, request.len, buf, small), buf, json);
}
arw_code arw_infer_rerank(arw_str request, arw_str *json) {
  char *buf = arw_new(small);
  return reply(host_infer_rerank(request.ptr, request.len, buf, small), buf, json);
}
arw_code arw_infer_tokenize(arw_str request, arw_str *json) {
  char *buf = arw_new(small);
  return reply(host_infer_tokenize(request.ptr, request.len, buf, small), buf, json);
}
