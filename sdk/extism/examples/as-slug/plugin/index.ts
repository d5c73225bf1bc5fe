// Makes addresses of titles and keeps each for one title only: a plugin with the Extism PDK for AssemblyScript.
import { Host, Memory } from "@extism/as-pdk";

// The host's functions: blocks in, a block with a reply frame out (1 and bytes, or 2 and an error).
// @ts-ignore: decorator
@external("extism:host/user", "arw_kv_get")
declare function arw_kv_get(key: u64): u64;
// @ts-ignore: decorator
@external("extism:host/user", "arw_kv_put")
declare function arw_kv_put(key: u64, value: u64): u64;
// @ts-ignore: decorator
@external("extism:host/env", "length")
declare function length(offset: u64): u64;
// @ts-ignore: decorator
@external("extism:host/env", "error_set")
declare function error_set(offset: u64): void;

const KIND_ERROR: u8 = 2, NOT_FOUND: u8 = 3;

function frame(offset: u64): Uint8Array { return new Memory(offset, length(offset)).toUint8Array(); }

function slug(title: string): string {
  let out = "";
  let gap = false;
  for (let i = 0; i < title.length; i++) {
    let c = title.charCodeAt(i);
    if (c >= 65 && c <= 90) c += 32;
    if ((c >= 97 && c <= 122) || (c >= 48 && c <= 57)) {
      if (gap && out.length > 0) out += "-";
      out += String.fromCharCode(c);
      gap = false;
    } else gap = true;
  }
  return out.length > 0 ? out : "untitled";
}

// title is the JSON text of the input; no more JSON is needed here than its marks.
function title(): string {
  const input = Host.inputString().trim();
  return input.startsWith('"') ? input.slice(1, -1) : input;
}

export function slug_make(): i32 {
  Host.output(Uint8Array.wrap(String.UTF8.encode('"' + slug(title()) + '"')));
  return 0;
}

export function slug_claim(): i32 {
  const wanted = title(), base = slug(wanted);
  const bytes = String.UTF8.encode(wanted);
  for (let n = 1; n < 100; n++) {
    const name = n == 1 ? base : base + "-" + n.toString();
    const key = Memory.allocateString("slug/" + name);
    const had = frame(arw_kv_get(key.offset));
    if (had[0] == KIND_ERROR) {
      if (had[1] != NOT_FOUND) return refuse(had);
      const put = frame(arw_kv_put(key.offset, Memory.allocateBytes(Uint8Array.wrap(bytes)).offset));
      if (put[0] == KIND_ERROR) return refuse(put);
    } else if (String.UTF8.decode(had.slice(1).buffer) != wanted) continue; // another title has it
    Host.output(Uint8Array.wrap(String.UTF8.encode('"' + name + '"')));
    return 0;
  }
  return 1;
}

// refuse passes the host's error on as it is: code and message.
function refuse(frame: Uint8Array): i32 {
  error_set(Memory.allocateBytes(frame).offset);
  return 1;
}

// myAbort is what AssemblyScript calls when an assertion fails.
export function myAbort(message: string | null, file: string | null, line: u32, column: u32): void {
  unreachable();
}
