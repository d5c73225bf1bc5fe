// Types of the arw SDK for JavaScript. A pack's main.js exports its tools: functions by the tool's id, on the default export or
// by name. A tool gets its input as a value and returns a value (JSON) or a Uint8Array (bytes), or a promise of one.

declare module "arw" {
  export type Code =
    | "invalid" | "not_found" | "denied" | "unauthenticated" | "lease_expired" | "lease_revoked" | "budget_exhausted" | "untrusted"
    | "unsigned" | "digest_mismatch" | "corrupt" | "too_large" | "unsupported" | "incompatible" | "conflict" | "busy" | "unavailable"
    | "deadline" | "cancelled" | "gas_exhausted" | "memory_exhausted" | "depth_exceeded" | "trap" | "exited" | "quarantined"
    | "interrupted" | "tool_failed" | "storage_full" | "internal" | "no_model_configured";

  /** Text is sent as UTF-8. */
  export type Data = string | Uint8Array | ArrayBuffer;

  /** An error with one of the host's codes: thrown by every host function that is refused, and by tools that choose their code. */
  export class ToolError extends Error {
    constructor(code: Code, message?: string, detail?: unknown);
    readonly code: Code;
    readonly detail?: unknown;
  }

  /** A tool. Input is what its schema in pack.toml says; undefined when there is none. */
  export type Tool<In = unknown, Out = unknown> = (input: In) => Out | Promise<Out>;

  /** A kind of value: checks what comes in, and has a JSON Schema. */
  export interface Kind<T> { readonly schema: unknown; readonly optional?: boolean; read(value: unknown, at: string): T }

  export const t: {
    text: Kind<string>;
    number: Kind<number>;
    /** Of 64 bits; a BigInt where a number would lose digits. */
    integer: Kind<number | bigint>;
    boolean: Kind<boolean>;
    any: Kind<any>;
    list<T>(of: Kind<T>): Kind<T[]>;
    /** May be absent or null; then it is `otherwise`. */
    optional<T, D = undefined>(of: Kind<T>, otherwise?: D): Kind<T | D>;
    object<F extends Record<string, Kind<any>>>(fields: F): Kind<{ [K in keyof F]: F[K] extends Kind<infer T> ? T : never }>;
  };

  /** A tool whose input has these fields: anything else is `invalid` and says which field. */
  export function typed<F extends Record<string, Kind<any>>, Out>(
    fields: F, fn: (input: { [K in keyof F]: F[K] extends Kind<infer T> ? T : never }) => Out): (input?: unknown) => Out;

  /** Ends the call at once, as a crash does: the instance is thrown away, a session with it. */
  export function abort(message?: string): never;

  /** Marks a tool that takes its input as bytes rather than JSON. */
  export function bytes<Out>(fn: (input: Uint8Array) => Out): (input: Uint8Array) => Out;

  export function encode(text: string): Uint8Array;
  export function decode(bytes: Uint8Array | ArrayBuffer): string;

  export interface KVEntry { key: string; size: number }
  export type KVOp = { put: Data; value: Data } | { delete: Data };

  /** The pack's own durable keys. [capabilities.kv] */
  export const kv: {
    get(key: Data): Uint8Array | undefined;
    /** get, but a key that is absent is not_found. */
    need(key: Data): Uint8Array;
    getText(key: Data): string | undefined;
    getJSON<T = unknown>(key: Data): T | undefined;
    put(key: Data, value: Data): void;
    putJSON(key: Data, value: unknown): void;
    delete(key: Data): void;
    /** All keys in byte order, however many; the host gives them in pages of `limit`. */
    list(req?: { prefix?: string; after?: string; limit?: number }): Generator<KVEntry>;
    /** One page. */
    page(req?: { prefix?: string; after?: string; limit?: number }): { keys: KVEntry[]; more: boolean };
    /** All of it or none of it. */
    batch(ops: Iterable<KVOp>): void;
  };

  /** The pack's read models. [capabilities.state] */
  export const state: {
    get<T = unknown>(name: string): T | undefined;
    /** get, but a document that is absent is not_found. */
    need<T = unknown>(name: string): T;
    put(name: string, doc: unknown): void;
  };

  /** Journals an event. [capabilities.event] */
  export function emit(kind: string, body?: unknown): void;

  export interface FSEntry { path: string; size: number; mode: "file" | "dir" | "symlink" | "other"; mtime_ms: number }

  /** Leased folders. [capabilities.fs] */
  export const fs: {
    list(path: string, req?: { recursive?: boolean; after?: string; limit?: number }): Generator<FSEntry>;
    /** One page. */
    page(path: string, req?: { recursive?: boolean; after?: string; limit?: number }): { entries: FSEntry[]; more: boolean };
    stat(path: string): FSEntry;
    exists(path: string): boolean;
    read(path: string): Uint8Array;
    readText(path: string): string;
    /** At most 1 MiB at once; an empty array is the end. */
    readAt(path: string, offset: number, size: number): Uint8Array;
    /** A file of any size, piece by piece. */
    chunks(path: string, size?: number): Generator<Uint8Array>;
    write(path: string, data: Data): void;
    remove(path: string): void;
    /** A file by handle, piece by piece from its beginning; the lease is asked at each. 16 may be open in a call. */
    open(path: string): Iterable<Uint8Array> & { read(size?: number): Uint8Array | undefined; close(): void };
    /** A file of any size in the making. Nothing is at its path before commit; without it the bytes are thrown away. */
    create(path: string): { write(data: Data): void; commit(): void };
  };

  /** Secrets that the operator stored under names. The pack uses them and never sees one. [capabilities.secret] */
  export const secret: {
    /** The public half of a key pair, PKIX in DER. */
    publicKey(name: string): Uint8Array;
    /** HMAC-SHA-256 over at most 1 MiB. */
    mac(name: string, data: Data): Uint8Array;
    /** Ed25519, or ECDSA on P-256 as ASN.1, over at most 1 MiB. */
    sign(name: string, data: Data): Uint8Array;
  };

  /** Unpacks an archive of a leased folder into a new folder of another, wholly or not at all. [capabilities.archive] and leases of fs */
  export function unpack(req: {
    from: string; to: string; stripComponents?: number; nested?: boolean; skipLinks?: boolean;
    /** Below the host's own bounds. */
    maxTotalBytes?: number; maxEntries?: number; maxDepth?: number;
  }): { format: string; files: number; folders: number; bytes: number; skipped: number; depth: number };

  /** Documents of the configuration, as they are for the project and the agent that call. [capabilities.config] */
  export const config: {
    get<T = unknown>(name: string): T | undefined;
    /** get, but a document that is not there is not_found. */
    need<T = unknown>(name: string): T;
  };

  /** The host's clocks. [capabilities.clock] Without it Date stands still at 2020-01-01. */
  export const clock: {
    now(): Date;
    nanoseconds(): bigint;
    /** Milliseconds of a clock that never steps back. */
    monotonic(): number;
  };

  /** Bytes from the host's cryptographic source. [capabilities.rand] */
  export function randomBytes(n: number): Uint8Array;

  /** Calls another tool, "namespace/name" or "namespace/name:tool". [capabilities.action] */
  export function callTool<Out = unknown>(tool: string, input?: unknown): Out;

  /** The pack's log. [capabilities.log] */
  export const log: Record<"debug" | "info" | "warn" | "error", (...args: unknown[]) => void>;

  /** What the caller streams in while the call runs. The tool says streams = ["input"] in pack.toml. */
  export const input: Iterable<Uint8Array> & {
    /** The next bytes, or undefined at the end. not_found when the caller streams nothing. */
    read(size?: number): Uint8Array | undefined;
    close(): void;
  };

  /** What the caller takes while the call runs. The tool says streams = ["output"] in pack.toml. */
  export const output: {
    write(data: Data): void;
    send(value: unknown): void;
    close(): void;
  };

  export interface HTTPRequest {
    url: string;
    method?: string;
    headers?: Record<string, string> | [string, string][];
    /** "follow" (each hop judged anew) unless "manual". */
    redirect?: "follow" | "manual";
    timeoutMS?: number;
    maxBytes?: number;
    /** Of a WebSocket. */
    protocols?: string[];
    /** Names of tokens that the host puts in for their audience, at most 4. [capabilities.secret] */
    secrets?: string[];
  }

  export interface HTTPResponse extends Iterable<Uint8Array> {
    status: number;
    url: string;
    headers: [string, string][];
    /** -1 when the server announced none. */
    length: number;
    ledger?: string;
    header(name: string): string | undefined;
    /** The next bytes of the body, or undefined at its end. */
    read(size?: number): Uint8Array | undefined;
    bytes(): Uint8Array;
    text(): string;
    json<T = unknown>(): T;
    /** 16 may be open in a call; its end closes the rest. */
    close(): void;
  }

  /** The network, behind the host's guard. [capabilities.http]; the tool says effects = "open_world". */
  export const http: {
    fetch(req: string | HTTPRequest, body?: Data): HTTPResponse;
    /** A request whose body follows. */
    open(req: string | HTTPRequest): { write(data: Data): void; response(): HTTPResponse; close(): void };
    /** A WebSocket: text as strings, bytes as arrays; undefined when the other side has closed it. */
    connect(req: string | HTTPRequest): { status: number; url: string; protocol?: string; send(data: Data): void; receive(): string | Uint8Array | undefined; close(): void };
  };

  export interface Engine { engine: string; engine_kind: "neural" | "lexical"; model: string }
  export interface Usage { prompt_tokens: number; cached_tokens: number; completion_tokens: number; doubtful?: true }
  export interface Message { role: "system" | "user" | "assistant"; content: string }
  export interface InferRequest {
    model?: string; prompt?: string; messages?: Message[]; max_tokens?: number; seed?: number; temperature?: number; top_p?: number; top_k?: number; min_p?: number;
    repeat_penalty?: number; frequency_penalty?: number; presence_penalty?: number; stop?: string[]; schema?: unknown; grammar?: string;
    budget_tokens?: number; budget_usd_micros?: number; timeout_ms?: number;
  }
  export interface Answer extends Engine, Iterable<Uint8Array> {
    /** The next bytes of the text, or undefined at its end; they may end within a character. */
    read(size?: number): Uint8Array | undefined;
    bytes(): Uint8Array;
    text(): string;
    /** Waits for the end, drops text that was not read, and tells how it ended. */
    finish(): Engine & { finish_reason: "stop" | "length"; usage: Usage; usd_micros: number };
    /** Frees the model. 16 may be open in a call; its end closes the rest. */
    close(): void;
  }

  /** Models of the host. [capabilities.infer]; the tool says effects = "reads" or more. */
  export const infer: {
    generate(req: InferRequest): Answer;
    embed(req: { model?: string; texts: string[] }): Engine & { vectors: number[][]; usage: Usage };
    rerank(req: { model?: string; query: string; documents: string[] }): Engine & { scores: number[]; usage: Usage };
    tokenize(req: { model?: string; prompt?: string; messages?: Message[]; count?: true }): Engine & { tokens?: number[]; count: number };
  };
}
