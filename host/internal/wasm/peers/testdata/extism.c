// The same guest for Extism, its host functions imported by hand.
// clang --target=wasm32 -O2 -nostdlib -fno-builtin -c extism.c && wasm-ld --no-entry --strip-all -z stack-size=4096 extism.o -o extism.wasm
#define EXPORT(n) __attribute__((export_name(#n)))
#define ENV(n) __attribute__((import_module("extism:host/env"), import_name(#n)))
typedef unsigned int u32;
typedef unsigned long long u64;

ENV(input_length) u64 input_length(void);
ENV(input_load_u64) u64 input_load_u64(u64 at);
ENV(input_load_u8) u32 input_load_u8(u64 at);
ENV(length) u64 length(u64 at);
ENV(alloc) u64 alloc(u64 n);
ENV(load_u8) u32 load_u8(u64 at);
ENV(store_u8) void store_u8(u64 at, u32 v);
ENV(store_u64) void store_u64(u64 at, u64 v);
ENV(output_set) void output_set(u64 at, u64 n);
__attribute__((import_module("extism:host/user"), import_name("kv_get"))) u64 kv_get(u64 key);

static char buf[(1 << 20) + 64];

static u32 input(void) {
	u32 n = (u32)input_length(), i = 0;
	for (; i + 8 <= n; i += 8)
		*(u64 *)(buf + i) = input_load_u64(i);
	for (; i < n; i++)
		buf[i] = (char)input_load_u8(i);
	return n;
}

static u64 give(const char *p, u32 n) {
	u64 at = alloc(n);
	u32 i = 0;
	for (; i + 8 <= n; i += 8)
		store_u64(at + i, *(const u64 *)(p + i));
	for (; i < n; i++)
		store_u8(at + i, (unsigned char)p[i]);
	return at;
}

EXPORT(echo) int echo(void) {
	u32 n = input();
	output_set(give(buf, n), n);
	return 0;
}

static u32 put(char *to, const char *s) {
	u32 n = 0;
	while (s[n]) {
		to[n] = s[n];
		n++;
	}
	return n;
}

EXPORT(kv) int kv(void) {
	static char reply[512];
	u32 n = input(), i = 0, at, len = 0;
	for (; i + 7 < n; i++)
		if (buf[i] == '"' && buf[i + 1] == 'k' && buf[i + 2] == 'e' && buf[i + 3] == 'y' && buf[i + 4] == '"' && buf[i + 5] == ':' && buf[i + 6] == '"')
			break;
	at = i + 7;
	while (at + len < n && buf[at + len] != '"')
		len++;
	u64 val = kv_get(give(buf + at, len));
	u32 out = put(reply, "{\"id\":7,\"value\":\""), vlen = (u32)length(val);
	for (i = 0; i < vlen; i++)
		reply[out++] = (char)load_u8(val + i);
	out += put(reply + out, "\"}");
	output_set(give(reply, out), out);
	return 0;
}
