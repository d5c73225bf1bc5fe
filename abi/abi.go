// Package abi is the contract between an arw host and a pack: the names, signatures, status words and frames that both
// sides must agree on, and the table of error codes that the whole house speaks.
//
// It holds no engine and imports only the standard library, so that a guest, a host and a conformance kit can share it.
// The prose form, from which a second implementation can be written, is docs/spec/abi.md. Everything here is immutable
// and safe for concurrent use.
package abi

// Version is the semantic version of the contract. A pack names the range it was built for in pack.toml (module.abi);
// compatibility is decided when the pack is installed, never at the first call.
const Version = "1.3.0"

// Names a module exports to its host.
const (
	ExportMemory     = "memory"      // the one linear memory
	ExportAlloc      = "arw_alloc"   // (size i32) -> ptr i32: room for the host to write a request; 0 refuses
	ExportCall       = "arw_call"    // (tool, tool_len, in, in_len i32) -> i64: packed pointer and length of a reply frame
	ExportInitialize = "_initialize" // optional, WASI reactor start: called once, before anything else
	ExportInit       = "arw_init"    // optional, () -> (): called once after _initialize; the state it leaves is the state every call starts from
)

// ModulePrefix precedes the capability's name in the module name of every host import: "arw:kv", "arw:log".
const ModulePrefix = "arw:"

// Capability names one family of host functions, as written in a manifest ([capabilities.kv]) and, with ModulePrefix,
// as the import's module name.
type Capability string

// The capabilities of this version. Every one but the ambient needs a live lease at each call.
const (
	IO     Capability = "io"     // ambient: moves bytes of a reply that the guest is already owed
	Stream Capability = "stream" // ambient: moves bytes that the caller gives and takes (since 1.1)
	Log    Capability = "log"
	KV     Capability = "kv"
	Event  Capability = "event"
	State  Capability = "state"
	FS     Capability = "fs"
	Clock  Capability = "clock"
	Rand   Capability = "rand"
	Action Capability = "action"
	// Secret uses values that the guest never sees (since 1.2); Archive unpacks what strangers packed (since 1.2).
	Secret  Capability = "secret"
	Archive Capability = "archive"
	HTTP    Capability = "http"   // the network, through the host's guard (since 1.2)
	Config  Capability = "config" // documents of the host's configuration, to be read (since 1.2)
	Infer   Capability = "infer"  // models (since 1.2)
)

// Ambient reports whether the capability carries no authority: it is always there, needs no lease, and a manifest does not
// ask for it.
func (c Capability) Ambient() bool { return c == IO || c == Stream }

// Handles of the streams that every call has. Higher ones are given by the functions of fs, http and infer.
const (
	HandleInput  = 0 // the bytes that the caller streams in
	HandleOutput = 1 // the parts that the caller takes while the call runs
)

// MaxPart bounds what one stream function moves, in bytes.
const MaxPart = 1 << 20

// Effect is what a tool does to the world, as its manifest declares it; each includes the ones before. The host refuses
// a host function above the effect of the tool that is being called, so the declaration cannot lie.
type Effect uint8

// The effects. A Pure tool sees nothing but its input: it may log, and its clock and randomness are fixed.
const (
	Pure Effect = iota
	Reads
	Writes
	OpenWorld
)

// EffectNames are the words of the manifest, indexed by Effect.
var EffectNames = [...]string{"pure", "reads", "writes", "open_world"}

// String is the word of the manifest.
func (e Effect) String() string {
	if int(e) < len(EffectNames) {
		return EffectNames[e]
	}
	return "unknown"
}

// Func describes one host function. Every parameter is an i32 (pointers and lengths come in pairs, named as in the
// specification) and every result is one i64 status word (see Status).
type Func struct {
	Capability Capability
	Name       string
	// Effect is the least effect a tool must declare before its calls may use the function.
	Effect Effect
	Params []string
	// Doc says in one line what the function does and what its reply holds.
	Doc string
}

// Functions lists every host function of this version in the order of the specification. A guest import that is not in
// the list is refused at admission, by name.
var Functions = []Func{
	{IO, "take", Pure, []string{"out", "out_cap"}, "copies the reply that a previous call could not fit (status more); a second take finds nothing"},
	{Stream, "read", Pure, []string{"handle", "out", "out_cap"}, "waits for bytes of a stream and gives what there is, at most 1 MiB; 0 bytes is the end"},
	{Stream, "write", Pure, []string{"handle", "data", "data_len"}, "gives bytes to whoever takes the stream, at most 1 MiB, and waits while that one is slow"},
	{Stream, "send", Pure, []string{"handle", "doc", "doc_len"}, "gives one JSON value as a part of its own, at most 1 MiB"},
	{Stream, "close", Pure, []string{"handle"}, "ends the guest's use of a stream"},
	{Log, "write", Pure, []string{"level", "msg", "msg_len"}, "writes one line at level 0 debug, 1 info, 2 warn, 3 error"},
	{KV, "get", Reads, []string{"key", "key_len", "out", "out_cap"}, "reads a value; not_found when absent"},
	{KV, "put", Writes, []string{"key", "key_len", "val", "val_len"}, "stores a value durably before it returns"},
	{KV, "delete", Writes, []string{"key", "key_len"}, "removes a key; removing an absent key is not an error"},
	{KV, "list", Reads, []string{"req", "req_len", "out", "out_cap"}, `lists keys in byte order: {"prefix","after","limit"} -> {"keys":[{"key","size"}],"more"}; keys are text`},
	{KV, "batch", Writes, []string{"ops", "ops_len"}, "applies puts and deletes as one durable whole; each op is kind u8 (1 put, 2 delete), key length u32, key, and for a put value length u32, value (little endian)"},
	{Event, "emit", Writes, []string{"kind", "kind_len", "body", "body_len"}, "journals an event whose kind starts with the pack's namespace; body is JSON"},
	{State, "get", Reads, []string{"name", "name_len", "out", "out_cap"}, "reads one of the pack's own read models as JSON"},
	{State, "put", Writes, []string{"name", "name_len", "doc", "doc_len"}, "replaces one of the read models the manifest contributes"},
	{FS, "list", Reads, []string{"req", "req_len", "out", "out_cap"}, `lists a folder of a leased root: {"path","recursive","after","limit"} -> {"entries":[{"path","size","mode","mtime_ms"}],"more"}`},
	{FS, "stat", Reads, []string{"path", "path_len", "out", "out_cap"}, "describes one file or folder"},
	{FS, "read", Reads, []string{"path", "path_len", "offset_lo", "offset_hi", "out", "out_cap"}, "reads up to out_cap bytes at an offset; 0 bytes is the end of the file"},
	{FS, "write", Writes, []string{"path", "path_len", "data", "data_len"}, "replaces a file atomically; needs mode \"write\""},
	{FS, "open", Reads, []string{"path", "path_len", "out", "out_cap"}, "opens a file to be read from its beginning with stream.read; gives its handle as 4 bytes, little endian (since 1.3)"},
	{FS, "create", Writes, []string{"path", "path_len", "out", "out_cap"}, "begins a file whose bytes are written with stream.write and which takes the path's place, whole, with stream.close; gives its handle as 4 bytes (since 1.3)"},
	{FS, "remove", Writes, []string{"path", "path_len"}, "removes a file or an empty folder; needs mode \"write\""},
	{Clock, "now", Reads, []string{"out", "out_cap"}, "writes the wall clock as 8 bytes, nanoseconds since 1970, little endian"},
	{Clock, "monotonic", Reads, []string{"out", "out_cap"}, "writes a clock that never steps back, as 8 bytes, nanoseconds, little endian"},
	{Rand, "bytes", Reads, []string{"out", "out_cap"}, "fills the buffer from the host's cryptographic source"},
	{HTTP, "fetch", OpenWorld, []string{"req", "req_len", "body", "body_len", "out", "out_cap"}, `sends a request with a whole body and waits for the answer's head: HTTPRequest -> HTTPResponse; its body is read from the handle (since 1.2)`},
	{HTTP, "open", OpenWorld, []string{"req", "req_len", "out", "out_cap"}, "begins a request whose body is written to the handle that it gives as 4 bytes, little endian (since 1.2)"},
	{HTTP, "response", OpenWorld, []string{"handle", "out", "out_cap"}, "ends the body of a request that open began and waits for the answer's head: HTTPResponse (since 1.2)"},
	{HTTP, "connect", OpenWorld, []string{"req", "req_len", "out", "out_cap"}, "opens a WebSocket: HTTPRequest -> HTTPResponse (since 1.2)"},
	{HTTP, "send", OpenWorld, []string{"handle", "kind", "data", "data_len"}, "sends a message over a WebSocket: kind 1 text, 2 bytes (since 1.2)"},
	{HTTP, "receive", OpenWorld, []string{"handle", "out", "out_cap"}, "waits for a message of a WebSocket: its kind as one byte, then the message; 0 bytes is the end (since 1.2)"},
	{Infer, "generate", Reads, []string{"req", "req_len", "out", "out_cap"}, "begins an answer: InferRequest -> InferStream, whose text is read from the handle as it comes (since 1.2)"},
	{Infer, "finish", Reads, []string{"handle", "out", "out_cap"}, "waits for the end of an answer, drops text that was not read, and tells how it ended: InferResult (since 1.2)"},
	{Infer, "embed", Reads, []string{"req", "req_len", "out", "out_cap"}, "makes a vector of each text: InferEmbed -> InferVectors (since 1.2)"},
	{Infer, "rerank", Reads, []string{"req", "req_len", "out", "out_cap"}, "scores documents against a query: InferRerank -> InferScores (since 1.2)"},
	{Infer, "tokenize", Reads, []string{"req", "req_len", "out", "out_cap"}, "gives the tokens of a prompt or a chat, or their number: InferTokenize -> InferTokens (since 1.2)"},
	{Action, "call", Reads, []string{"tool", "tool_len", "in", "in_len", "out", "out_cap"}, "calls another tool (namespace/name or namespace/name:tool id) and writes its reply frame"},
	{Secret, "public", Reads, []string{"name", "name_len", "out", "out_cap"}, "gives the public half of a named key pair as PKIX in DER (since 1.2)"},
	{Secret, "mac", OpenWorld, []string{"name", "name_len", "data", "data_len", "out", "out_cap"}, "authenticates at most 1 MiB with a named key: the 32 bytes of HMAC-SHA-256 (since 1.2)"},
	{Secret, "sign", OpenWorld, []string{"name", "name_len", "data", "data_len", "out", "out_cap"}, "signs at most 1 MiB with a named key pair: Ed25519, or ECDSA on P-256 in ASN.1 (since 1.2)"},
	{Archive, "unpack", Writes, []string{"req", "req_len", "out", "out_cap"}, `unpacks an archive of a leased folder into a new folder of another: ArchiveUnpack -> ArchiveUnpacked; all of it or nothing (since 1.2)`},
	{Config, "get", Reads, []string{"name", "name_len", "out", "out_cap"}, "reads a document of the configuration as JSON, as it is for the project and agent that call (since 1.2)"},
}

// Status is the word every host function returns: an error code in the upper 32 bits, a length in the lower 32.
// OK with the bytes written; More with the bytes of a reply that did not fit (nothing was written, the effect has
// happened, io.take collects it); any other code with the length of a message that io.take collects (0: none).
type Status uint64

// MakeStatus packs a code and a length.
func MakeStatus(code Code, n uint32) Status { return Status(uint64(code)<<32 | uint64(n)) }

// Code is the upper half.
func (s Status) Code() Code { return Code(s >> 32) }

// Len is the lower half, in bytes.
func (s Status) Len() uint32 { return uint32(s) }

// Pack joins the pointer and length that arw_call returns: pointer above, length below.
func Pack(ptr, n uint32) uint64 { return uint64(ptr)<<32 | uint64(n) }

// Unpack is the inverse of Pack.
func Unpack(v uint64) (ptr, n uint32) { return uint32(v >> 32), uint32(v) }
