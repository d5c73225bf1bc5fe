// What a plugin in C needs of Extism's runtime and of an arw host, declared by hand: no PDK is needed. Blocks are offsets into
// Extism's own memory, which a plugin reaches by load and store. docs/spec/abi.md, section 9, is the contract.
#ifndef ARW_EXTISM_H
#define ARW_EXTISM_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef u64 block; // 0 is none

#define EXTISM_ENV(name) __attribute__((import_module("extism:host/env"), import_name(#name))) extern
#define ARW_HOST(name) __attribute__((import_module("extism:host/user"), import_name(#name))) extern
#define EXTISM_EXPORT(name) __attribute__((export_name(#name)))

EXTISM_ENV(input_length) u64 extism_input_length(void);
EXTISM_ENV(input_load_u8) u32 extism_input_load_u8(u64 at);
EXTISM_ENV(alloc) block extism_alloc(u64 n);
EXTISM_ENV(length) u64 extism_length(block b);
EXTISM_ENV(load_u8) u32 extism_load_u8(u64 at);
EXTISM_ENV(store_u8) void extism_store_u8(u64 at, u32 v);
EXTISM_ENV(output_set) void extism_output_set(block b, u64 n);
EXTISM_ENV(error_set) void extism_error_set(block b);
EXTISM_ENV(log_info) void extism_log_info(block b);

// The host's functions. Each answers with a block that holds a reply frame: 1 and bytes, 0 and JSON, or 2 and an error.
ARW_HOST(arw_kv_get) block arw_kv_get(block key);
ARW_HOST(arw_kv_put) block arw_kv_put(block key, block value);
ARW_HOST(arw_kv_delete) block arw_kv_delete(block key);
ARW_HOST(arw_fs_read) block arw_fs_read(block path, u64 offset, u64 n);
ARW_HOST(arw_clock_now) block arw_clock_now(void);
ARW_HOST(arw_event_emit) block arw_event_emit(block kind, block body);
ARW_HOST(arw_action_call) block arw_action_call(block tool, block input);

// arw_ok says whether a reply is a value and not an error.
static inline int arw_ok(block reply) { return reply != 0 && extism_load_u8(reply) != 2; }

// extism_block puts bytes into a block.
static inline block extism_block(const void *bytes, u64 n) {
  block b = extism_alloc(n);
  for (u64 i = 0; i < n; i++) extism_store_u8(b + i, ((const u8 *)bytes)[i]);
  return b;
}

#endif
