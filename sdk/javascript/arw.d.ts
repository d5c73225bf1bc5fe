// Types of the arw SDK for JavaScript. A pack's main.js exports its tools: functions by the tool's id, on the default export or
// by name. A tool gets its input as a value and returns a value (JSON) or a Uint8Array (bytes), or a promise of one.

declare module "arw" {
  export type Code =
    | "invalid" | "not_found" | "denied" | "unauthenticated" | "lease_expired" | "lease_revoked" | "budget_exhausted" | "untrusted"
    | "unsigned" | "digest_mismatch" | "corrupt" | "too_large" | "unsupported" | "incompatible" | "conflict" | "busy" | "unavailable"
    | "deadline" | "cancelled" | "gas_exhausted" | "memory_exhausted" | "depth_exceeded" | "trap" | "exited" | "quarantined"
    | "interrupted" | "tool_failed" | "storage_full" | "internal";

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

  /** Marks a tool that takes its input as bytes rather than JSON. */
  export function bytes<Out>(fn: (input: Uint8Array) => Out): (input: Uint8Array) => Out;

  export function encode(text: string): Uint8Array;
  export function decode(bytes: Uint8Array | ArrayBuffer): string;

  export interface KVEntry { key: string; size: number }
  export type KVOp = { put: Data; value: Data } | { delete: Data };

  /** The pack's own durable keys. [capabilities.kv] */
  export const kv: {
    get(key: Data): Uint8Array | undefined;
    getText(key: Data): string | undefined;
    getJSON<T = unknown>(key: Data): T | undefined;
    put(key: Data, value: Data): void;
    putJSON(key: Data, value: unknown): void;
    delete(key: Data): void;
    /** All keys in byte order, however many; the host gives them in pages of `limit`. */
    list(req?: { prefix?: string; after?: string; limit?: number }): Generator<KVEntry>;
    /** All of it or none of it. */
    batch(ops: Iterable<KVOp>): void;
  };

  /** The pack's read models. [capabilities.state] */
  export const state: {
    get<T = unknown>(name: string): T | undefined;
    put(name: string, doc: unknown): void;
  };

  /** Journals an event. [capabilities.event] */
  export function emit(kind: string, body?: unknown): void;

  export interface FSEntry { path: string; size: number; mode: "file" | "dir" | "symlink" | "other"; mtime_ms: number }

  /** Leased folders. [capabilities.fs] */
  export const fs: {
    list(path: string, req?: { recursive?: boolean; after?: string; limit?: number }): Generator<FSEntry>;
    stat(path: string): FSEntry | undefined;
    read(path: string): Uint8Array;
    readText(path: string): string;
    /** At most 1 MiB at once; an empty array is the end. */
    readAt(path: string, offset: number, size: number): Uint8Array;
    /** A file of any size, piece by piece. */
    chunks(path: string, size?: number): Generator<Uint8Array>;
    write(path: string, data: Data): void;
    remove(path: string): void;
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
}
