// The C SDK's conformance guest: the tools that abi/abitest asks for.
#include "arw.h"

arw_code conform_do(const arw_json *in, arw_buf *out); // do.c

static arw_code echo(arw_str in, arw_str *out) {
  *out = in;
  return ARW_OK;
}

static arw_code json(const arw_json *in, arw_buf *out) {
  arw_put_json(out, in);
  return ARW_OK;
}

typedef struct { arw_str name; int64_t count; double ratio; bool on; arw_list tags; arw_str note; } typed;
static const arw_type texts_type = ARW_LIST_OF(arw_text);
static const arw_field typed_fields[] = {
    ARW_FIELD(typed, name, arw_text, 0),          ARW_FIELD(typed, count, arw_i64, 0),
    ARW_FIELD(typed, ratio, arw_f64, ARW_OPTIONAL), ARW_FIELD(typed, on, arw_bool, ARW_OPTIONAL),
    ARW_FIELD(typed, tags, texts_type, ARW_OPTIONAL), ARW_FIELD(typed, note, arw_text, ARW_OPTIONAL),
};
static const arw_type typed_type = ARW_OBJECT(typed, typed_fields);
static arw_code echo_typed(const void *in, void *out) {
  *(typed *)out = *(const typed *)in;
  return ARW_OK;
}

typedef struct { int64_t code; arw_str message, detail; } failure;
static const arw_field failure_fields[] = {ARW_FIELD(failure, code, arw_i64, 0), ARW_FIELD(failure, message, arw_text, 0), ARW_FIELD(failure, detail, arw_any, ARW_OPTIONAL)};
static const arw_type failure_type = ARW_OBJECT(failure, failure_fields);
static arw_code fail(const void *in, void *out) {
  const failure *f = in;
  arw_code code = (arw_code)f->code;
  if (f->code <= ARW_MORE || f->code > ARW_INTERNAL) code = ARW_TOOL_FAILED; // C has no type that would do it
  return arw_fail_with(code, f->message, f->detail);
}

static arw_code size(arw_str in, arw_str *out) {
  arw_json *v;
  int64_t n;
  arw_code code = arw_json_parse(in, &v);
  if (code) return code;
  if (!arw_json_i64(arw_json_get(v, "size"), &n)) return arw_fail(ARW_INVALID, ARW_STR("size is missing"));
  char *p = arw_new((size_t)n);
  for (int64_t i = 0; i < n; i++) p[i] = (char)(i * 7 + (i >> 8));
  *out = (arw_str){p, (uint32_t)n};
  return ARW_OK;
}

typedef struct { int64_t count; } counted;
static const arw_field counted_fields[] = {ARW_FIELD(counted, count, arw_i64, 0)};
static const arw_type counted_type = ARW_OBJECT(counted, counted_fields);
static int64_t calls;
static arw_code count(const void *in, void *out) {
  ((counted *)out)->count = ++calls;
  return ARW_OK;
}

typedef struct { arw_str text; } keep_in;
typedef struct { arw_list texts; } keep_out;
static const arw_field keep_in_fields[] = {ARW_FIELD(keep_in, text, arw_text, 0)}, keep_out_fields[] = {ARW_FIELD(keep_out, texts, texts_type, 0)};
static const arw_type keep_in_type = ARW_OBJECT(keep_in, keep_in_fields), keep_out_type = ARW_OBJECT(keep_out, keep_out_fields);
static arw_str kept[100];
static uint32_t kept_count;
static arw_code keep(const void *in, void *out) {
  kept[kept_count++] = arw_keep(((const keep_in *)in)->text);
  ((keep_out *)out)->texts = (arw_list){kept, kept_count};
  return ARW_OK;
}

typedef struct { int64_t bytes; } pumped;
static const arw_field pumped_fields[] = {ARW_FIELD(pumped, bytes, arw_i64, 0)};
static const arw_type pumped_type = ARW_OBJECT(pumped, pumped_fields);

static volatile int64_t sink;
static arw_code spin(const void *in, void *out) {
  for (;;) sink++;
}
static arw_code grow(const void *in, void *out) {
  for (;;) *(volatile char *)arw_new(1 << 20) = 1;
}
static __attribute__((noinline)) int64_t deeper(int64_t n) {
  sink = n;
  return deeper(n + 1) + sink;
}
static arw_code recurse(const void *in, void *out) {
  ((counted *)out)->count = deeper(1);
  return ARW_OK;
}
static arw_code pump(const void *in, void *out) {
  char *buf = arw_new(1 << 16);
  int64_t bytes = 0;
  arw_code code;
  for (uint32_t n;;) {
    if ((code = arw_stream_read(buf, 1 << 16, &n))) return code;
    if (n == 0) break;
    if ((code = arw_stream_write((arw_str){buf, n}))) return code;
    bytes += n;
  }
  if ((code = arw_stream_send(arw_format("{\"bytes\":%d}", bytes))) || (code = arw_stream_close_output())) return code;
  ((pumped *)out)->bytes = bytes;
  return ARW_OK;
}
static arw_code trap(const void *in, void *out) { arw_panic("the guest was told to"); }

void arw_main(void) {
  arw_bytes_tool("conform.echo", echo);
  arw_json_tool("conform.json", json);
  arw_tool("conform.typed", &typed_type, &typed_type, echo_typed);
  arw_tool("conform.fail", &failure_type, &arw_nothing, fail);
  arw_json_tool("conform.do", conform_do);
  arw_bytes_tool("conform.size", size);
  arw_tool("conform.count", &arw_nothing, &counted_type, count);
  arw_tool("conform.keep", &keep_in_type, &keep_out_type, keep);
  arw_tool("conform.spin", &arw_nothing, &counted_type, spin);
  arw_tool("conform.grow", &arw_nothing, &counted_type, grow);
  arw_tool("conform.recurse", &arw_nothing, &counted_type, recurse);
  arw_tool("conform.pump", &arw_nothing, &pumped_type, pump);
  arw_tool("conform.trap", &arw_nothing, &counted_type, trap);
}
