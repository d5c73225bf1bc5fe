// JSON: a general value, and tables that read and write structs. RFC 8259, nothing more lenient.
#include "arw.h"

typedef struct { const char *at, *end, *start; const char *fault; } reader;

static bool bad(reader *r, const char *fault) {
  if (!r->fault) r->fault = fault;
  return false;
}
static void space(reader *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r')) r->at++;
}
static bool literal(reader *r, arw_str word) {
  if ((uint32_t)(r->end - r->at) < word.len || !arw_equal((arw_str){r->at, word.len}, word)) return bad(r, "not a value");
  r->at += word.len;
  return true;
}

static bool digits(reader *r) {
  const char *from = r->at;
  while (r->at < r->end && *r->at >= '0' && *r->at <= '9') r->at++;
  return r->at > from;
}
static bool number(reader *r, arw_str *out) {
  const char *from = r->at;
  if (*r->at == '-') r->at++;
  if (r->at < r->end && *r->at == '0') r->at++;
  else if (!digits(r)) return bad(r, "a number without digits");
  if (r->at < r->end && *r->at == '.') {
    r->at++;
    if (!digits(r)) return bad(r, "a number that ends with its point");
  }
  if (r->at < r->end && (*r->at | 32) == 'e') {
    r->at++;
    if (r->at < r->end && (*r->at == '+' || *r->at == '-')) r->at++;
    if (!digits(r)) return bad(r, "a number without an exponent");
  }
  *out = (arw_str){from, (uint32_t)(r->at - from)};
  return true;
}

static bool hex4(reader *r, uint32_t *out) {
  if (r->end - r->at < 4) return bad(r, "an escape that is cut off");
  *out = 0;
  for (int i = 0; i < 4; i++) {
    char c = *r->at++;
    uint32_t d = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : 16;
    if (d > 15) return bad(r, "an escape without four hexadecimal digits");
    *out = *out << 4 | d;
  }
  return true;
}
static char *utf8(char *p, uint32_t c) {
  if (c < 0x80) *p++ = (char)c;
  else if (c < 0x800) *p++ = (char)(0xc0 | c >> 6), *p++ = (char)(0x80 | (c & 63));
  else if (c < 0x10000) *p++ = (char)(0xe0 | c >> 12), *p++ = (char)(0x80 | (c >> 6 & 63)), *p++ = (char)(0x80 | (c & 63));
  else *p++ = (char)(0xf0 | c >> 18), *p++ = (char)(0x80 | (c >> 12 & 63)), *p++ = (char)(0x80 | (c >> 6 & 63)), *p++ = (char)(0x80 | (c & 63));
  return p;
}
static bool escape(reader *r, char **p) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  if (r->at == r->end) return bad(r, "a text that is cut off");
  char c = *r->at++;
  for (int i = 0; i < 8; i++)
    if (c == from[i]) {
      *(*p)++ = to[i];
      return true;
    }
  uint32_t u, low;
  if (c != 'u' || !hex4(r, &u)) return bad(r, "an escape that JSON does not have");
  if (u >= 0xd800 && u < 0xdc00 && r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u') {
    const char *back = r->at;
    r->at += 2;
    if (!hex4(r, &low)) return false;
    if (low >= 0xdc00 && low < 0xe000) u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
    else r->at = back;
  }
  *p = utf8(*p, u >= 0xd800 && u < 0xe000 ? 0xfffd : u); // half of a pair
  return true;
}
// text reads a string; one without escapes shares the input's memory.
static bool text(reader *r, arw_str *out) {
  const char *from = ++r->at;
  while (r->at < r->end && *r->at != '"' && *r->at != '\\' && (unsigned char)*r->at >= 0x20) r->at++;
  if (r->at < r->end && *r->at == '"') {
    *out = (arw_str){from, (uint32_t)(r->at++ - from)};
    return true;
  }
  const char *stop = r->at; // find the end to know the most room
  while (stop < r->end && *stop != '"') stop += *stop == '\\' ? 2 : 1;
  if (stop >= r->end) return bad(r, "a text without an end");
  char *base = arw_new((size_t)(stop - from) + 1), *p = base;
  for (const char *s = from; s < r->at;) *p++ = *s++;
  while (*r->at != '"') {
    if ((unsigned char)*r->at < 0x20) return bad(r, "a control character in a text");
    if (*r->at != '\\') *p++ = *r->at++;
    else if (r->at++, !escape(r, &p)) return false;
  }
  r->at++;
  *out = (arw_str){base, (uint32_t)(p - base)};
  return true;
}

static bool value(reader *r, arw_json *v, int depth);

static bool many(reader *r, arw_json *v, int depth, char close) {
  arw_json **last = &v->first;
  r->at++;
  space(r);
  if (r->at < r->end && *r->at == close) return r->at++, true;
  for (;;) {
    arw_json *item = arw_new(sizeof *item);
    space(r);
    if (close == '}') {
      if (r->at == r->end || *r->at != '"') return bad(r, "an object without the next key");
      if (!text(r, &item->key)) return false;
      space(r);
      if (r->at == r->end || *r->at != ':') return bad(r, "a key without a colon");
      r->at++;
    }
    if (!value(r, item, depth + 1)) return false;
    *last = item;
    last = &item->next;
    v->count++;
    space(r);
    if (r->at == r->end) return bad(r, "it is cut off");
    if (*r->at == close) return r->at++, true;
    if (*r->at++ != ',') return bad(r, "no comma between values");
  }
}

static bool value(reader *r, arw_json *v, int depth) {
  space(r);
  if (r->at == r->end) return bad(r, "it is cut off");
  if (depth > ARW_JSON_DEPTH) return bad(r, "values that nest too deep");
  switch (*r->at) {
  case '{': v->kind = ARW_J_OBJECT; return many(r, v, depth, '}');
  case '[': v->kind = ARW_J_ARRAY; return many(r, v, depth, ']');
  case '"': v->kind = ARW_J_TEXT; return text(r, &v->text);
  case 't': v->kind = ARW_J_BOOL; v->truth = true; return literal(r, ARW_STR("true"));
  case 'f': v->kind = ARW_J_BOOL; return literal(r, ARW_STR("false"));
  case 'n': return literal(r, ARW_STR("null"));
  case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
    v->kind = ARW_J_NUMBER;
    return number(r, &v->text);
  }
  return bad(r, "not a value");
}

arw_code arw_json_parse(arw_str in, arw_json **out) {
  reader r = {in.ptr, in.ptr + in.len, in.ptr, NULL};
  *out = arw_new(sizeof **out);
  if (value(&r, *out, 0)) {
    space(&r);
    if (r.at == r.end) return ARW_OK;
    bad(&r, "something behind the value");
  }
  return arw_fail(ARW_INVALID, arw_format("read JSON: %z at byte %d", r.fault, (int64_t)(r.at - r.start)));
}

const arw_json *arw_json_get(const arw_json *v, const char *key) {
  arw_str k = arw_str_of(key);
  if (v)
    for (const arw_json *i = v->kind == ARW_J_OBJECT ? v->first : NULL; i; i = i->next)
      if (arw_equal(i->key, k)) return i;
  return NULL;
}
arw_str arw_json_text(const arw_json *v) { return v && v->kind == ARW_J_TEXT ? v->text : ARW_STR(""); }

bool arw_json_i64(const arw_json *v, int64_t *out) {
  if (!v || v->kind != ARW_J_NUMBER) return false;
  bool minus = v->text.ptr[0] == '-';
  uint64_t n = 0, most = minus ? (uint64_t)1 << 63 : INT64_MAX;
  for (uint32_t i = minus; i < v->text.len; i++) {
    uint64_t d = (uint64_t)(v->text.ptr[i] - '0');
    if (d > 9 || n > (most - d) / 10) return false;
    n = n * 10 + d;
  }
  *out = (int64_t)(minus ? -n : n);
  return true;
}
bool arw_json_f64(const arw_json *v, double *out) { return v && v->kind == ARW_J_NUMBER && arw_parse_f64(v->text, out); }

// ---- writing
static uint32_t rune_len(const unsigned char *p, uint32_t left) { // 0: not UTF-8
  uint32_t n = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;
  if (n > left) return 0;
  for (uint32_t i = 1; i < n; i++)
    if ((p[i] & 0xc0) != 0x80) return 0;
  if (n == 3 && (*p == 0xe0 && p[1] < 0xa0 || *p == 0xed && p[1] >= 0xa0)) return 0;
  if (n == 4 && (*p == 0xf0 && p[1] < 0x90 || *p == 0xf4 && p[1] >= 0x90)) return 0;
  return n;
}

void arw_put_quoted(arw_buf *b, arw_str s) {
  static const char hex[] = "0123456789abcdef";
  arw_put_char(b, '"');
  for (uint32_t i = 0, from = 0;; i++) {
    unsigned char c = i < s.len ? (unsigned char)s.ptr[i] : '"';
    if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') continue;
    uint32_t n = c < 0x80 ? 0 : rune_len((const unsigned char *)s.ptr + i, s.len - i);
    if (n) {
      i += n - 1;
      continue;
    }
    arw_put(b, (arw_str){s.ptr + from, i - from});
    from = i + 1;
    if (i == s.len) break;
    if (c >= 0x80) arw_put(b, ARW_STR("\xef\xbf\xbd"));
    else if (c == '"' || c == '\\') arw_put(b, (arw_str){(char[]){'\\', (char)c}, 2});
    else if (c == '\n') arw_put(b, ARW_STR("\\n"));
    else if (c == '\t') arw_put(b, ARW_STR("\\t"));
    else arw_put(b, (arw_str){(char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6});
  }
  arw_put_char(b, '"');
}

void arw_put_json(arw_buf *b, const arw_json *v) {
  switch (v->kind) {
  case ARW_J_NULL: arw_put(b, ARW_STR("null")); return;
  case ARW_J_BOOL: arw_put(b, v->truth ? ARW_STR("true") : ARW_STR("false")); return;
  case ARW_J_NUMBER: arw_put(b, v->text); return;
  case ARW_J_TEXT: arw_put_quoted(b, v->text); return;
  default: break;
  }
  arw_put_char(b, v->kind == ARW_J_ARRAY ? '[' : '{');
  for (const arw_json *i = v->first; i; i = i->next) {
    if (i != v->first) arw_put_char(b, ',');
    if (v->kind == ARW_J_OBJECT) {
      arw_put_quoted(b, i->key);
      arw_put_char(b, ':');
    }
    arw_put_json(b, i);
  }
  arw_put_char(b, v->kind == ARW_J_ARRAY ? ']' : '}');
}

// ---- types
const arw_type arw_bool = {ARW_T_BOOL, sizeof(bool), NULL, 0, NULL}, arw_i64 = {ARW_T_I64, sizeof(int64_t), NULL, 0, NULL},
               arw_f64 = {ARW_T_F64, sizeof(double), NULL, 0, NULL}, arw_text = {ARW_T_TEXT, sizeof(arw_str), NULL, 0, NULL},
               arw_any = {ARW_T_JSON, sizeof(arw_str), NULL, 0, NULL}, arw_nothing = {ARW_T_OBJECT, 0, NULL, 0, NULL};

static arw_code mismatch(const char *at, const char *what) {
  return arw_fail(ARW_INVALID, arw_format("read the input: \"%z\" is not %z", at, what));
}

static arw_code fill(const arw_json *v, const arw_type *t, void *out, const char *at) {
  switch (t->kind) {
  case ARW_T_BOOL:
    if (v->kind != ARW_J_BOOL) return mismatch(at, "true or false");
    *(bool *)out = v->truth;
    return ARW_OK;
  case ARW_T_I64: return arw_json_i64(v, out) ? ARW_OK : mismatch(at, "an integer of 64 bits");
  case ARW_T_F64: return arw_json_f64(v, out) ? ARW_OK : mismatch(at, "a number");
  case ARW_T_TEXT:
    if (v->kind != ARW_J_TEXT) return mismatch(at, "a text");
    *(arw_str *)out = v->text;
    return ARW_OK;
  case ARW_T_JSON: {
    arw_buf b = {0};
    arw_put_json(&b, v);
    *(arw_str *)out = arw_built(&b);
    return ARW_OK;
  }
  case ARW_T_LIST: {
    if (v->kind != ARW_J_ARRAY) return mismatch(at, "a list");
    arw_list *list = out;
    list->items = arw_new((size_t)t->item->size * v->count);
    list->len = v->count;
    char *item = list->items;
    for (const arw_json *i = v->first; i; i = i->next, item += t->item->size) {
      arw_code code = fill(i, t->item, item, at);
      if (code) return code;
    }
    return ARW_OK;
  }
  default: break;
  }
  if (v->kind != ARW_J_OBJECT) return mismatch(at, "an object");
  for (uint32_t i = 0; i < t->count; i++) {
    const arw_field *f = &t->fields[i];
    const arw_json *m = arw_json_get(v, f->name);
    if (!m || (f->flags & ARW_OPTIONAL && m->kind == ARW_J_NULL)) {
      if (f->flags & ARW_OPTIONAL) continue;
      return arw_fail(ARW_INVALID, arw_format("read the input: \"%z\" is missing", f->name));
    }
    arw_code code = fill(m, f->type, (char *)out + f->offset, f->name);
    if (code) return code;
  }
  return ARW_OK;
}

arw_code arw_read(arw_str in, const arw_type *type, void *out) {
  arw_json *v;
  arw_code code = arw_json_parse(in, &v);
  return code ? code : fill(v, type, out, "");
}

void arw_write(arw_buf *b, const arw_type *t, const void *v) {
  switch (t->kind) {
  case ARW_T_BOOL: arw_put(b, *(bool *)v ? ARW_STR("true") : ARW_STR("false")); return;
  case ARW_T_I64: arw_put_i64(b, *(int64_t *)v); return;
  case ARW_T_F64: arw_put_f64(b, *(double *)v); return;
  case ARW_T_TEXT: arw_put_quoted(b, *(arw_str *)v); return;
  case ARW_T_JSON: arw_put(b, ((arw_str *)v)->ptr ? *(arw_str *)v : ARW_STR("null")); return;
  case ARW_T_LIST: {
    const arw_list *list = v;
    arw_put_char(b, '[');
    for (uint32_t i = 0; i < list->len; i++) {
      if (i) arw_put_char(b, ',');
      arw_write(b, t->item, (char *)list->items + (size_t)i * t->item->size);
    }
    arw_put_char(b, ']');
    return;
  }
  default: break;
  }
  char before = '{';
  for (uint32_t i = 0; i < t->count; i++) {
    const arw_field *f = &t->fields[i];
    const void *m = (char *)v + f->offset;
    bool texts = f->type->kind == ARW_T_TEXT || f->type->kind == ARW_T_JSON;
    if (f->flags & ARW_OPTIONAL && texts && !((arw_str *)m)->ptr) continue;
    arw_put_char(b, before);
    arw_put_quoted(b, arw_str_of(f->name));
    arw_put_char(b, ':');
    arw_write(b, f->type, m);
    before = ',';
  }
  if (before == '{') arw_put_char(b, '{');
  arw_put_char(b, '}');
}

void arw_schema(arw_buf *b, const arw_type *t) {
  static const char *plain[] = {"{\"type\":\"boolean\"}", "{\"type\":\"integer\"}", "{\"type\":\"number\"}", "{\"type\":\"string\"}", "true"};
  if (t->kind < ARW_T_LIST) {
    arw_put(b, arw_str_of(plain[t->kind]));
    return;
  }
  if (t->kind == ARW_T_LIST) {
    arw_put(b, ARW_STR("{\"type\":\"array\",\"items\":"));
    arw_schema(b, t->item);
    arw_put_char(b, '}');
    return;
  }
  arw_put(b, ARW_STR("{\"type\":\"object\",\"properties\":{"));
  for (uint32_t i = 0; i < t->count; i++) {
    if (i) arw_put_char(b, ',');
    arw_put_quoted(b, arw_str_of(t->fields[i].name));
    arw_put_char(b, ':');
    arw_schema(b, t->fields[i].type);
  }
  arw_put(b, ARW_STR("},\"required\":["));
  bool some = false;
  for (uint32_t i = 0; i < t->count; i++) {
    if (t->fields[i].flags & ARW_OPTIONAL) continue;
    if (some) arw_put_char(b, ',');
    some = true;
    arw_put_quoted(b, arw_str_of(t->fields[i].name));
  }
  arw_put(b, ARW_STR("],\"additionalProperties\":false}"));
}
