// A guest of the arw ABI, freestanding. kv: finds "key" in a JSON object, asks arw:kv for it, answers with JSON. echo:
// answers with its input. host: asks arw:kv as often as the first four bytes of its input say.
// clang --target=wasm32 -O2 -nostdlib -fno-builtin -c small.c && wasm-ld --no-entry --strip-all -z stack-size=4096 small.o -o small.wasm
#define EXPORT(n) __attribute__((export_name(#n)))
#define IMPORT(m, n) __attribute__((import_module(m), import_name(n)))
typedef unsigned int u32;
typedef unsigned long long u64;

IMPORT("arw:kv", "get") u64 kv_get(const char *key, u32 key_len, char *out, u32 cap);

static char small[4608];
static char reply[512];
static char *room = small;
static u32 room_len = sizeof small;

EXPORT(arw_alloc) u32 arw_alloc(u32 n) {
	if (n + 1 > room_len) {
		u32 pages = (n + 65536) >> 16;
		int at = __builtin_wasm_memory_grow(0, pages);
		if (at < 0)
			return 0;
		room = (char *)((u32)at << 16);
		room_len = pages << 16;
	}
	return (u32)(room + 1);
}

static u64 packed(char *p, u32 n) { return (u64)(u32)p << 32 | n; }

static u32 put(char *to, const char *s) {
	u32 n = 0;
	while (s[n]) {
		to[n] = s[n];
		n++;
	}
	return n;
}

static u64 kv(const char *in, u32 n) {
	u32 i = 0, at, len = 0;
	for (; i + 7 < n; i++)
		if (in[i] == '"' && in[i + 1] == 'k' && in[i + 2] == 'e' && in[i + 3] == 'y' && in[i + 4] == '"' && in[i + 5] == ':' && in[i + 6] == '"')
			break;
	at = i + 7;
	while (at + len < n && in[at + len] != '"')
		len++;
	reply[0] = 0;
	u32 out = 1 + put(reply + 1, "{\"id\":7,\"value\":\"");
	u64 s = kv_get(in + at, len, reply + out, 256);
	if (s >> 32)
		return 0;
	out += (u32)s;
	out += put(reply + out, "\"}");
	return packed(reply, out);
}

EXPORT(arw_call) u64 arw_call(const char *tool, u32 tool_len, char *in, u32 n) {
	if (tool[0] == 'k')
		return kv(in, n);
	if (tool[0] == 'h') {
		for (u32 i = *(u32 *)in; i > 0; i--)
			kv_get("user:42", 7, reply + 64, 256);
		reply[0] = 1;
		return packed(reply, 1);
	}
	in[-1] = 1; // the tool's name is before it, and read
	return packed(in - 1, n + 1);
}
