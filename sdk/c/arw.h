// arw.h: write arw packs in C. Freestanding: no C library is needed, and none is in the way.
//
//     typedef struct { arw_str name; } greeting;
//     static const arw_field greeting_fields[] = {ARW_FIELD(greeting, name, arw_text, 0)};
//     static const arw_type greeting_type = ARW_OBJECT(greeting, greeting_fields);
//
//     static arw_code greet(const void *in, void *out) { ((reply *)out)->text = arw_format("Hello, %s!", ((greeting *)in)->name); return ARW_OK; }
//     void arw_main(void) { arw_tool("hello.greet", &greeting_type, &reply_type, greet); }
//
// arw_main runs once, before the state is kept that every call starts from. Functions that can fail return a code; what
// the host said then stands in arw_message(). Memory comes from arw_new and is gone when the call ends, unless arw_keep
// copied it. A pack runs one call at a time. README.md tells the rest.
#ifndef ARW_H
#define ARW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARW_ABI "1.3.0"

// ---- codes: the numbers of docs/spec/errors.md
typedef enum {
  ARW_OK = 0, ARW_MORE, ARW_INVALID, ARW_NOT_FOUND, ARW_DENIED, ARW_UNAUTHENTICATED, ARW_LEASE_EXPIRED, ARW_LEASE_REVOKED,
  ARW_BUDGET_EXHAUSTED, ARW_UNTRUSTED, ARW_UNSIGNED, ARW_DIGEST_MISMATCH, ARW_CORRUPT, ARW_TOO_LARGE, ARW_UNSUPPORTED,
  ARW_INCOMPATIBLE, ARW_CONFLICT, ARW_BUSY, ARW_UNAVAILABLE, ARW_DEADLINE, ARW_CANCELLED, ARW_GAS_EXHAUSTED,
  ARW_MEMORY_EXHAUSTED, ARW_DEPTH_EXCEEDED, ARW_TRAP, ARW_EXITED, ARW_QUARANTINED, ARW_INTERRUPTED, ARW_TOOL_FAILED,
  ARW_STORAGE_FULL, ARW_INTERNAL, ARW_NO_MODEL
} arw_code;

// ---- texts and memory
typedef struct { const char *ptr; uint32_t len; } arw_str; // text or bytes, not ended by a zero; ptr NULL: there is none
#define ARW_STR(literal) ((arw_str){(literal), sizeof(literal) - 1})
arw_str arw_str_of(const char *zero_ended);
bool arw_equal(arw_str a, arw_str b);
int arw_compare(arw_str a, arw_str b); // in byte order

void *arw_new(size_t size);                    // zeroed, until the call ends; traps when there is no memory
arw_str arw_keep(arw_str s);                   // a copy that stays for the calls of a session
_Noreturn void arw_panic(const char *message); // ends the call with trap; the message reaches the caller

typedef struct { char *ptr; uint32_t len, cap; } arw_buf; // text in the making; start with {0}
void arw_put(arw_buf *b, arw_str s);
void arw_put_char(arw_buf *b, char c);
void arw_put_i64(arw_buf *b, int64_t v);
void arw_put_f64(arw_buf *b, double v);     // the shortest text that reads as v again
void arw_put_quoted(arw_buf *b, arw_str s); // as a JSON string; what is not UTF-8 becomes U+FFFD
arw_str arw_built(const arw_buf *b);
// %s arw_str, %z char *, %d int64_t, %g double, %% a percent sign
arw_str arw_format(const char *format, ...);

// ---- errors
arw_code arw_fail(arw_code code, arw_str message);                     // return arw_fail(...) from a tool
arw_code arw_fail_with(arw_code code, arw_str message, arw_str detail); // detail: JSON
arw_str arw_message(void);                                             // of the last failure

// ---- JSON
typedef enum { ARW_J_NULL, ARW_J_BOOL, ARW_J_NUMBER, ARW_J_TEXT, ARW_J_ARRAY, ARW_J_OBJECT } arw_kind;
typedef struct arw_json arw_json;
struct arw_json {
  arw_kind kind;
  bool truth;
  uint32_t count;    // of an array or object
  arw_str text;      // a text, or a number's digits
  arw_str key;       // where the value stands in an object
  arw_json *first, *next;
};
#define ARW_JSON_DEPTH 200 // how deep values may nest
arw_code arw_json_parse(arw_str text, arw_json **out);
const arw_json *arw_json_get(const arw_json *object, const char *key); // NULL when absent
arw_str arw_json_text(const arw_json *v);                              // the text, "" of anything else and NULL
bool arw_json_i64(const arw_json *v, int64_t *out);                    // false unless it is an integer that fits
bool arw_json_f64(const arw_json *v, double *out);
void arw_put_json(arw_buf *b, const arw_json *v);
bool arw_parse_f64(arw_str digits, double *out); // correctly rounded; false beyond the largest double

// ---- types: one table reads, writes and describes a struct
typedef enum { ARW_T_BOOL, ARW_T_I64, ARW_T_F64, ARW_T_TEXT, ARW_T_JSON, ARW_T_LIST, ARW_T_OBJECT } arw_type_kind;
typedef struct arw_field arw_field;
typedef struct arw_type {
  arw_type_kind kind;
  uint32_t size;
  const arw_field *fields;
  uint32_t count;
  const struct arw_type *item;
} arw_type;
struct arw_field { const char *name; uint32_t offset; const arw_type *type; uint32_t flags; };
#define ARW_OPTIONAL 1u // may be absent or null: stays zero. A text or JSON whose ptr is NULL is left out when written
#define ARW_FIELD(T, member, type, flags) {#member, offsetof(T, member), &(type), (flags)}
#define ARW_OBJECT(T, table) {ARW_T_OBJECT, sizeof(T), (table), sizeof(table) / sizeof(*(table)), NULL}
#define ARW_LIST_OF(type) {ARW_T_LIST, sizeof(arw_list), NULL, 0, &(type)}
typedef struct { void *items; uint32_t len; } arw_list; // member of a struct for ARW_LIST_OF
extern const arw_type arw_bool, arw_i64, arw_f64, arw_text, arw_any; // members: bool, int64_t, double, arw_str, arw_str of JSON
extern const arw_type arw_nothing;                                   // an object without fields; out and in are not used

arw_code arw_read(arw_str json, const arw_type *type, void *out);
void arw_write(arw_buf *b, const arw_type *type, const void *v);
void arw_schema(arw_buf *b, const arw_type *type); // JSON Schema 2020-12

// ---- tools: call these from arw_main
typedef arw_code (*arw_typed_fn)(const void *in, void *out);
typedef arw_code (*arw_bytes_fn)(arw_str in, arw_str *out);
typedef arw_code (*arw_json_fn)(const arw_json *in, arw_buf *out);
void arw_main(void); // yours
void arw_tool(const char *id, const arw_type *in, const arw_type *out, arw_typed_fn run);
void arw_bytes_tool(const char *id, arw_bytes_fn run);
void arw_json_tool(const char *id, arw_json_fn run);

// ---- capabilities. Each needs its line in pack.toml; without a live lease the code is ARW_DENIED, ARW_LEASE_EXPIRED, …
enum { ARW_DEBUG, ARW_INFO, ARW_WARN, ARW_ERROR };
void arw_log(int level, arw_str line); // a refusal is not the tool's business

typedef struct { arw_str key; uint32_t size; } arw_kv_key;
arw_code arw_kv_get(arw_str key, arw_str *value);
arw_code arw_kv_put(arw_str key, arw_str value);
arw_code arw_kv_delete(arw_str key);
arw_code arw_kv_list(arw_str prefix, arw_str after, uint32_t limit, arw_list *keys, bool *more); // items: arw_kv_key
void arw_batch_put(arw_buf *batch, arw_str key, arw_str value);
void arw_batch_delete(arw_buf *batch, arw_str key);
arw_code arw_kv_apply(const arw_buf *batch); // all of it or nothing

arw_code arw_emit(arw_str kind, arw_str json);
arw_code arw_state_get(arw_str name, arw_str *json);
arw_code arw_state_put(arw_str name, arw_str json);

typedef struct { arw_str path; int64_t size; arw_str mode; int64_t mtime_ms; } arw_entry;
extern const arw_type arw_entry_type;
arw_code arw_fs_list(arw_str path, bool recursive, arw_str after, uint32_t limit, arw_list *entries, bool *more);
arw_code arw_fs_stat(arw_str path, arw_entry *entry);
arw_code arw_fs_read(arw_str path, uint64_t offset, void *buf, uint32_t cap, uint32_t *n); // 0 bytes: the end
arw_code arw_fs_read_all(arw_str path, arw_str *data);
arw_code arw_fs_write(arw_str path, arw_str data);
arw_code arw_fs_remove(arw_str path);

// Files of any size by handle, piece by piece; the lease is asked at each. At most 16 handles are open in a call, whose end
// closes the rest and throws away what was created and not committed.
arw_code arw_fs_open(arw_str path, uint32_t *handle);                          // to be read from its beginning
arw_code arw_fs_next(uint32_t handle, void *buf, uint32_t cap, uint32_t *n);    // 0 bytes: the end
arw_code arw_fs_close(uint32_t handle);                                        // of arw_fs_open
arw_code arw_fs_create(arw_str path, uint32_t *handle);                        // nothing is at the path before the commit
arw_code arw_fs_append(uint32_t handle, arw_str data);                         // in parts of at most ARW_MAX_PART
arw_code arw_fs_commit(uint32_t handle);                                       // puts the file in its place, whole and durable

arw_code arw_now(int64_t *ns);       // since 1970
arw_code arw_monotonic(int64_t *ns); // only differences mean something
arw_code arw_random(void *buf, uint32_t len);

// Secrets that the operator stored under names. The pack uses them and never sees one.
arw_code arw_secret_public(arw_str name, arw_str *der);                        // of a key pair, PKIX
arw_code arw_secret_mac(arw_str name, arw_str data, arw_str *mac);             // 32 bytes of HMAC-SHA-256, over at most 1 MiB
arw_code arw_secret_sign(arw_str name, arw_str data, arw_str *signature);      // Ed25519, or ECDSA on P-256 as ASN.1

// Unpacks an archive of a leased folder into a new folder of another, wholly or not at all.
typedef struct {
  arw_str from, to;
  int64_t strip_components;                         // leading folders taken off each name
  bool nested, skip_links;                          // unpack archives inside, too; leave out links instead of refusing
  int64_t max_total_bytes, max_entries, max_depth;  // 0: the host's own bounds
} arw_unpack_request;
typedef struct { arw_str format; int64_t files, folders, bytes, skipped, depth; } arw_unpacked;
extern const arw_type arw_unpacked_type;
arw_code arw_unpack(const arw_unpack_request *req, arw_unpacked *made);

arw_code arw_config(arw_str name, arw_str *json); // a document of the configuration, as it is for the project and agent that call

// json says whether the reply is JSON or bytes; the other tool's own error comes back as the code
arw_code arw_action(arw_str tool, arw_str in, arw_str *reply, bool *json);

// Bytes that the caller gives and takes while the call runs. They carry no authority: no capability, no lease.
enum { ARW_MAX_PART = 1 << 20 };
arw_code arw_stream_read(void *buf, uint32_t cap, uint32_t *n); // waits; 0 bytes: the end. ARW_NOT_FOUND: nothing is streamed in
arw_code arw_stream_write(arw_str data);                        // in parts of at most ARW_MAX_PART
arw_code arw_stream_send(arw_str json);                         // one JSON value as a part of its own
arw_code arw_stream_close_input(void);                          // the rest is not wanted
arw_code arw_stream_close_output(void);                         // no more parts come

// The network, behind the host's guard: a row of its ledger for every request. Tools that use it declare effects = "open_world".
typedef struct { arw_str name, value; } arw_header;
typedef struct {
  arw_str method, url;       // an empty method is GET
  const arw_header *headers; // of header_count
  uint32_t header_count;
  bool manual;               // a redirect is an answer; otherwise it is followed, each hop judged
  int64_t timeout_ms, max_bytes; // 0: the host's own bounds
  const arw_str *secrets;    // names of tokens that the host puts in for their audience, at most 4
  uint32_t secret_count;
} arw_request;
typedef struct { uint32_t handle; int64_t status, length; arw_str url, ledger; arw_list headers; } arw_response; // items: arw_header
enum { ARW_HTTP_TEXT = 1, ARW_HTTP_BYTES = 2 };
arw_code arw_http_fetch(const arw_request *req, arw_str body, arw_response *head);
arw_code arw_http_open(const arw_request *req, uint32_t *handle);     // the body follows by arw_http_write
arw_code arw_http_write(uint32_t handle, arw_str part);               // waits while the network is slow
arw_code arw_http_response(uint32_t handle, arw_response *head);      // ends the body
arw_code arw_http_read(uint32_t handle, void *buf, uint32_t cap, uint32_t *n); // of the answer's body; 0 bytes: the end
arw_code arw_http_read_all(uint32_t handle, arw_str *body);
arw_code arw_http_close(uint32_t handle);                             // at most 16 are open in a call; its end closes them
arw_code arw_http_connect(const arw_request *req, arw_response *head); // a WebSocket
arw_code arw_http_send(uint32_t handle, int kind, arw_str message);
arw_code arw_http_receive(uint32_t handle, int *kind, arw_str *message); // kind 0: the other side has closed it

// Models of the host. A request is JSON in the form of docs/spec/abi.md, 3.3, and so is a reply. Tools that ask declare effects = "reads".
arw_code arw_infer_generate(arw_str request, uint32_t *handle); // begins an answer; its text is read from the handle as it comes
arw_code arw_infer_read(uint32_t handle, void *buf, uint32_t cap, uint32_t *n); // waits; 0 bytes: the end
arw_code arw_infer_read_all(uint32_t handle, arw_str *text);
arw_code arw_infer_finish(uint32_t handle, arw_str *reply);     // how it ended, and what it used
arw_code arw_infer_close(uint32_t handle);                      // frees the model; the end of the call closes what is left open
arw_code arw_infer_embed(arw_str request, arw_str *reply);
arw_code arw_infer_rerank(arw_str request, arw_str *reply);
arw_code arw_infer_tokenize(arw_str request, arw_str *reply);

#endif
