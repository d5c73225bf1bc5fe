// The guest's half of the ABI: memory, tools, reply frames. docs/spec/abi.md is what it follows.
#include "arw.h"
#include <stdarg.h>

// ---- what the compiler may call
void *memcpy(void *restrict d, const void *restrict s, size_t n) { __builtin_memcpy(d, s, n); return d; }
void *memmove(void *d, const void *s, size_t n) { __builtin_memmove(d, s, n); return d; }
void *memset(void *d, int c, size_t n) { __builtin_memset(d, c, n); return d; }
int memcmp(const void *a, const void *b, size_t n) {
  const unsigned char *x = a, *y = b;
  for (size_t i = 0; i < n; i++)
    if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
  return 0;
}
size_t strlen(const char *s) {
  size_t n = 0;
  while (s[n]) n++;
  return n;
}

// ---- memory: one heap that grows upward. What lies below kept stays; a call begins with what lies above forgotten.
extern unsigned char __heap_base;
static uint32_t top, kept;

static void *take(size_t size) {
  if (top == 0) top = kept = (uint32_t)&__heap_base;
  uint32_t at = (top + 7) & ~7u;
  uint64_t end = (uint64_t)at + size, have = (uint64_t)__builtin_wasm_memory_size(0) << 16;
  if (end > have) {
    uint64_t pages = (end - have + 0xffff) >> 16;
    if (pages > 0xffff || __builtin_wasm_memory_grow(0, pages) == (size_t)-1) arw_panic("out of memory");
  }
  top = (uint32_t)end;
  return (void *)at;
}

void *arw_new(size_t size) { return memset(take(size), 0, size); }

static void *keep(size_t size) {
  void *p = take(size);
  kept = top;
  return p;
}

arw_str arw_keep(arw_str s) {
  char *p = keep(s.len + 1);
  memcpy(p, s.ptr, s.len);
  return (arw_str){p, s.len};
}

__attribute__((import_module("wasi_snapshot_preview1"), import_name("fd_write"))) extern int wasi_fd_write(int fd, const void *iov, int n, void *written);

_Noreturn void arw_panic(const char *message) {
  struct { const void *ptr; size_t len; } lines[2] = {{"panic: ", 7}, {message, strlen(message)}};
  size_t written;
  wasi_fd_write(2, lines, 2, &written);
  __builtin_trap();
}

// ---- texts
arw_str arw_str_of(const char *s) { return (arw_str){s, (uint32_t)strlen(s)}; }

int arw_compare(arw_str a, arw_str b) {
  int c = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
  return c ? c : a.len < b.len ? -1 : a.len > b.len;
}
bool arw_equal(arw_str a, arw_str b) { return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0; }

static void room(arw_buf *b, uint32_t n) {
  if (n <= b->cap - b->len) return;
  uint64_t want = (uint64_t)b->len + n;
  if (want > 0x7fffffff) arw_panic("a text grew beyond 2 GiB");
  uint32_t cap = b->cap < 128 ? 256 : b->cap * 2;
  if (cap < want) cap = (uint32_t)want;
  if (b->ptr && (uint32_t)b->ptr + b->cap == top) { // it is the newest: let it grow where it is
    take(cap - b->cap - (((top + 7) & ~7u) - top));
  } else {
    char *p = take(cap);
    memcpy(p, b->ptr, b->len);
    b->ptr = p;
  }
  b->cap = cap;
}

void arw_put(arw_buf *b, arw_str s) {
  room(b, s.len);
  memcpy(b->ptr + b->len, s.ptr, s.len);
  b->len += s.len;
}
void arw_put_char(arw_buf *b, char c) {
  room(b, 1);
  b->ptr[b->len++] = c;
}
void arw_put_i64(arw_buf *b, int64_t v) {
  char digits[20];
  int n = 20;
  uint64_t u = v < 0 ? -(uint64_t)v : (uint64_t)v;
  do digits[--n] = (char)('0' + u % 10);
  while (u /= 10);
  if (v < 0) arw_put_char(b, '-');
  arw_put(b, (arw_str){digits + n, (uint32_t)(20 - n)});
}
arw_str arw_built(const arw_buf *b) { return (arw_str){b->ptr ? b->ptr : "", b->len}; }

arw_str arw_format(const char *f, ...) {
  arw_buf b = {0};
  va_list args;
  va_start(args, f);
  for (; *f; f++) {
    if (*f != '%') {
      arw_put_char(&b, *f);
      continue;
    }
    switch (*++f) {
    case 's': arw_put(&b, va_arg(args, arw_str)); break;
    case 'z': arw_put(&b, arw_str_of(va_arg(args, const char *))); break;
    case 'd': arw_put_i64(&b, va_arg(args, int64_t)); break;
    case 'g': arw_put_f64(&b, va_arg(args, double)); break;
    default: arw_put_char(&b, *f);
    }
  }
  va_end(args);
  return arw_built(&b);
}

// ---- errors
static struct { arw_str message, detail; } last;

arw_code arw_fail_with(arw_code code, arw_str message, arw_str detail) {
  last.message = message;
  last.detail = detail;
  return code;
}
arw_code arw_fail(arw_code code, arw_str message) { return arw_fail_with(code, message, (arw_str){0}); }
arw_str arw_message(void) { return last.message; }

// ---- tools
typedef struct { arw_str id; const arw_type *in, *out; arw_typed_fn typed; arw_bytes_fn bytes; arw_json_fn json; } tool;
static tool *tools;
static uint32_t tool_count, tool_cap;

static void add(tool t) {
  if (tool_count == tool_cap) {
    tool *more = keep((tool_cap + 16) * sizeof *more);
    memcpy(more, tools, tool_count * sizeof *more);
    tools = more;
    tool_cap += 16;
  }
  tools[tool_count++] = t;
}
void arw_tool(const char *id, const arw_type *in, const arw_type *out, arw_typed_fn run) { add((tool){.id = arw_str_of(id), .in = in, .out = out, .typed = run}); }
void arw_bytes_tool(const char *id, arw_bytes_fn run) { add((tool){.id = arw_str_of(id), .bytes = run}); }
void arw_json_tool(const char *id, arw_json_fn run) { add((tool){.id = arw_str_of(id), .json = run}); }

static arw_code run(const tool *t, arw_str in, arw_buf *out) {
  if (t->bytes) {
    arw_str reply = {0};
    arw_code code = t->bytes(in, &reply);
    if (code) return code;
    arw_put_char(out, 1);
    arw_put(out, reply);
    return ARW_OK;
  }
  if (t->json) {
    arw_json *v;
    arw_code code = arw_json_parse(in.len ? in : ARW_STR("{}"), &v);
    if (code) return code;
    arw_put_char(out, 0);
    return t->json(v, out);
  }
  void *v = arw_new(t->in->size), *reply = arw_new(t->out->size);
  arw_code code = arw_read(in.len ? in : ARW_STR("{}"), t->in, v);
  if (!code) code = t->typed(v, reply);
  if (code) return code;
  arw_put_char(out, 0);
  arw_write(out, t->out, reply);
  return ARW_OK;
}

// describe answers "_describe", the tool that every module has besides its own, for a build to hold manifest against code.
static void describe(arw_buf *b) {
  arw_put(b, ARW_STR("\0{\"sdk\":\"c\",\"abi\":\"" ARW_ABI "\",\"tools\":["));
  for (uint32_t i = 0; i < tool_count; i++) {
    arw_put(b, i ? ARW_STR(",{\"id\":") : ARW_STR("{\"id\":"));
    arw_put_quoted(b, tools[i].id);
    if (tools[i].typed) {
      arw_put(b, ARW_STR(",\"input\":"));
      arw_schema(b, tools[i].in);
      arw_put(b, ARW_STR(",\"output\":"));
      arw_schema(b, tools[i].out);
    }
    arw_put_char(b, '}');
  }
  arw_put(b, ARW_STR("]}"));
}

static void put_u32(arw_buf *b, uint32_t v) { arw_put(b, (arw_str){(char *)&v, 4}); }

static void put_error(arw_buf *b, arw_code code) {
  if (code <= ARW_MORE || code > ARW_INTERNAL) code = ARW_TOOL_FAILED;
  b->len = 0;
  arw_put_char(b, 2);
  put_u32(b, code);
  put_u32(b, last.message.len);
  arw_put(b, last.message);
  arw_put(b, last.detail);
}

// ---- exports
static void *request;
static uint32_t request_size;

__attribute__((export_name("arw_init"))) void arw_init(void) {
  arw_main();
  take(0);
  kept = top;
}

__attribute__((export_name("arw_alloc"))) void *arw_alloc(uint32_t size) {
  if (size > request_size || !request) {
    request = keep(size);
    request_size = size;
  }
  return request;
}

__attribute__((export_name("arw_call"))) uint64_t arw_call(const char *id, uint32_t id_len, const char *in, uint32_t in_len) {
  top = kept;
  last.message = last.detail = (arw_str){0};
  arw_str name = {id, id_len}, input = {in, in_len};
  arw_buf reply = {0};
  const tool *t = tools, *end = tools + tool_count;
  while (t < end && !arw_equal(t->id, name)) t++;
  if (t < end) {
    // A code that a tool makes up, ARW_OK included, never passes for success when it went through arw_fail.
    arw_code code = run(t, input, &reply);
    if (code || last.message.ptr != NULL && reply.len == 0) put_error(&reply, code);
  } else if (arw_equal(name, ARW_STR("_describe"))) {
    describe(&reply);
  } else {
    arw_fail(ARW_NOT_FOUND, arw_format("call \"%s\": the pack has no such tool", name));
    put_error(&reply, ARW_NOT_FOUND);
  }
  return (uint64_t)(uint32_t)reply.ptr << 32 | reply.len;
}
