import { Bytes } from "./bytes";
import { Code, failCode } from "./error";

// How deep arrays and objects may nest.
const MAX_DEPTH: i32 = 128;

enum Kind { Null, Bool, Number, Text, List, Object }

// Json is any JSON value. Numbers keep their digits; objects keep their order.
export class Json {
  kind: i32 = Kind.Null;
  truth: bool = false;
  digits: string = "";
  words: string = "";
  keys: string[] = [];
  items: Json[] = [];

  static of(s: string): Json {
    const v = new Json();
    v.kind = Kind.Text;
    v.words = s;
    return v;
  }
  static integer(n: i64): Json {
    const v = new Json();
    v.kind = Kind.Number;
    v.digits = n.toString();
    return v;
  }
  static list(): Json {
    const v = new Json();
    v.kind = Kind.List;
    return v;
  }
  static object(): Json {
    const v = new Json();
    v.kind = Kind.Object;
    return v;
  }

  // parse reads one value; null and failure() when it is none.
  static parse(ptr: usize, length: i32): Json | null {
    const r = new Reader(ptr, length);
    const v = r.value(0);
    if (v && r.end()) return v;
    failCode(Code.Invalid, "read JSON: " + r.fault + " at byte " + r.at.toString());
    return null;
  }

  get isText(): bool { return this.kind == Kind.Text; }
  get isNumber(): bool { return this.kind == Kind.Number; }
  get isBool(): bool { return this.kind == Kind.Bool; }
  get isNull(): bool { return this.kind == Kind.Null; }
  get isList(): bool { return this.kind == Kind.List; }
  get isObject(): bool { return this.kind == Kind.Object; }

  // set adds a member to an object, push an element to a list.
  set(key: string, v: Json): Json {
    this.keys.push(key);
    this.items.push(v);
    return this;
  }
  push(v: Json): Json {
    this.items.push(v);
    return this;
  }

  // get is the member of an object, null when there is none.
  get(key: string): Json | null {
    for (let i = 0, n = this.keys.length; i < n; i++) if (this.keys[i] == key) return this.items[i];
    return null;
  }

  // text is the member's text, otherwise when it has none.
  text(key: string, otherwise: string = ""): string {
    const v = this.get(key);
    return v && v.isText ? v.words : otherwise;
  }
  integer(key: string, otherwise: i64 = 0): i64 {
    const v = this.get(key);
    return v && isInteger(v) ? toInteger(v.digits) : otherwise;
  }
  flag(key: string): bool {
    const v = this.get(key);
    return v ? v.truth : false;
  }

  write(out: Bytes): void {
    switch (this.kind) {
      case Kind.Null: out.text("null"); return;
      case Kind.Bool: out.text(this.truth ? "true" : "false"); return;
      case Kind.Number: out.text(this.digits); return;
      case Kind.Text: out.quoted(this.words); return;
    }
    const list = this.kind == Kind.List;
    out.byte(list ? 0x5b : 0x7b);
    for (let i = 0, n = this.items.length; i < n; i++) {
      if (i > 0) out.byte(0x2c);
      if (!list) {
        out.quoted(this.keys[i]);
        out.byte(0x3a);
      }
      this.items[i].write(out);
    }
    out.byte(list ? 0x5d : 0x7d);
  }
}

function isInteger(v: Json): bool {
  if (v.kind != Kind.Number) return false;
  const d = v.digits, minus = d.charCodeAt(0) == 0x2d;
  const most: u64 = minus ? 0x8000000000000000 : 0x7fffffffffffffff;
  let n: u64 = 0;
  for (let i = minus ? 1 : 0; i < d.length; i++) {
    const c = <u64>(d.charCodeAt(i) - 0x30);
    if (c > 9 || n > (most - c) / 10) return false;
    n = n * 10 + c;
  }
  return true;
}
function toInteger(d: string): i64 {
  const minus = d.charCodeAt(0) == 0x2d;
  let n: i64 = 0;
  for (let i = minus ? 1 : 0; i < d.length; i++) n = n * 10 + (d.charCodeAt(i) - 0x30);
  return minus ? -n : n;
}

// Record is what typed tools take and answer: a class that names its fields once, for reading, writing and its schema.
export abstract class Record {
  abstract fields(f: Fields): void;
}

enum Mode { Read, Write, Schema }

// Fields goes through a record. Each method takes a field's name and value and answers the value it has from now on.
// A field that is not required may be absent or null and then keeps its value; texts and JSON that are null are left out.
export class Fields {
  private json: Json | null = null;
  private out: Bytes = new Bytes();
  private required: string[] = [];
  private some: bool = false;
  ok: bool = true;

  private constructor(private mode: i32) {}

  static read(json: Json, into: Record): bool {
    if (!json.isObject) return failCode(Code.Invalid, "read the input: it is not an object");
    const f = new Fields(Mode.Read);
    f.json = json;
    into.fields(f);
    return f.ok;
  }
  static write(record: Record, out: Bytes): void {
    const f = new Fields(Mode.Write);
    f.out = out;
    out.byte(0x7b);
    record.fields(f);
    out.byte(0x7d);
  }
  static schema(record: Record, out: Bytes): void {
    const f = new Fields(Mode.Schema);
    f.out = out;
    out.text('{"type":"object","properties":{');
    record.fields(f);
    out.text('},"required":[');
    for (let i = 0; i < f.required.length; i++) {
      if (i > 0) out.byte(0x2c);
      out.quoted(f.required[i]);
    }
    out.text('],"additionalProperties":false}');
  }

  // enter prepares a field: in reading it answers the value to take, or null.
  private enter(name: string, required: bool, schema: string): Json | null {
    if (this.mode == Mode.Read) {
      const v = this.json!.get(name);
      if (v && !(v.isNull && !required)) return v;
      if (required && this.ok) this.ok = failCode(Code.Invalid, 'read the input: "' + name + '" is missing');
      return null;
    }
    if (this.some) this.out.byte(0x2c);
    this.some = true;
    this.out.quoted(name);
    this.out.byte(0x3a);
    if (this.mode == Mode.Schema) {
      this.out.text(schema);
      if (required) this.required.push(name);
    }
    return null;
  }
  private mismatch(name: string, what: string): void {
    if (this.ok) this.ok = failCode(Code.Invalid, 'read the input: "' + name + '" is not ' + what);
  }

  text(name: string, value: string, required: bool = true): string {
    const v = this.enter(name, required, '{"type":"string"}');
    if (this.mode == Mode.Write) this.out.quoted(value);
    if (!v) return value;
    if (!v.isText) this.mismatch(name, "a text");
    return v.words;
  }
  optionalText(name: string, value: string | null): string | null {
    if (this.mode == Mode.Write && value === null) return null;
    const v = this.enter(name, false, '{"type":"string"}');
    if (this.mode == Mode.Write && value !== null) this.out.quoted(value);
    if (!v) return value;
    if (!v.isText) this.mismatch(name, "a text");
    return v.words;
  }
  integer(name: string, value: i64, required: bool = true): i64 {
    const v = this.enter(name, required, '{"type":"integer"}');
    if (this.mode == Mode.Write) this.out.text(value.toString());
    if (!v) return value;
    if (isInteger(v)) return toInteger(v.digits);
    this.mismatch(name, "an integer of 64 bits");
    return value;
  }
  number(name: string, value: f64, required: bool = true): f64 {
    const v = this.enter(name, required, '{"type":"number"}');
    if (this.mode == Mode.Write) this.out.text(isFinite(value) ? value.toString() : "null");
    if (!v) return value;
    const n = v.isNumber ? parseFloat(v.digits) : NaN;
    if (!isFinite(n)) this.mismatch(name, "a number");
    return n;
  }
  flag(name: string, value: bool, required: bool = true): bool {
    const v = this.enter(name, required, '{"type":"boolean"}');
    if (this.mode == Mode.Write) this.out.text(value ? "true" : "false");
    if (!v) return value;
    if (!v.isBool) this.mismatch(name, "true or false");
    return v.truth;
  }
  json_(name: string, value: Json | null, required: bool = false): Json | null {
    if (this.mode == Mode.Write && value === null) return null;
    const v = this.enter(name, required, "true");
    if (this.mode == Mode.Write && value !== null) value.write(this.out);
    return v ? v : value;
  }
  texts(name: string, value: string[], required: bool = true): string[] {
    const v = this.enter(name, required, '{"type":"array","items":{"type":"string"}}');
    if (this.mode == Mode.Write) {
      this.out.byte(0x5b);
      for (let i = 0; i < value.length; i++) {
        if (i > 0) this.out.byte(0x2c);
        this.out.quoted(value[i]);
      }
      this.out.byte(0x5d);
    }
    if (!v) return value;
    const read: string[] = [];
    if (!v.isList) this.mismatch(name, "a list");
    for (let i = 0; i < v.items.length; i++) {
      if (!v.items[i].isText) this.mismatch(name, "a list of texts");
      read.push(v.items[i].words);
    }
    return read;
  }
  records<T extends Record>(name: string, value: T[], required: bool = true): T[] {
    const v = this.enter(name, required, '{"type":"array","items":');
    if (this.mode == Mode.Schema) {
      Fields.schema(instantiate<T>(), this.out);
      this.out.byte(0x7d);
    }
    if (this.mode == Mode.Write) {
      this.out.byte(0x5b);
      for (let i = 0; i < value.length; i++) {
        if (i > 0) this.out.byte(0x2c);
        Fields.write(value[i], this.out);
      }
      this.out.byte(0x5d);
    }
    if (!v) return value;
    const read: T[] = [];
    if (!v.isList) this.mismatch(name, "a list");
    for (let i = 0; i < v.items.length; i++) {
      const item = instantiate<T>();
      if (this.ok) this.ok = Fields.read(v.items[i], item);
      read.push(item);
    }
    return read;
  }
}

class Reader {
  at: i32 = 0;
  fault: string = "";
  constructor(private ptr: usize, private length: i32) {}

  private peek(): i32 {
    return this.at < this.length ? load<u8>(this.ptr + this.at) : 0;
  }
  private bad(fault: string): Json | null {
    if (this.fault.length == 0) this.fault = fault;
    return null;
  }
  private space(): void {
    for (let c = this.peek(); c == 0x20 || c == 0x0a || c == 0x09 || c == 0x0d; c = this.peek()) this.at++;
  }
  end(): bool {
    this.space();
    if (this.at == this.length) return true;
    this.bad("something behind the value");
    return false;
  }

  value(depth: i32): Json | null {
    this.space();
    if (depth > MAX_DEPTH) return this.bad("values that nest too deep");
    switch (this.peek()) {
      case 0x7b: return this.many(depth, true);
      case 0x5b: return this.many(depth, false);
      case 0x22: {
        const v = Json.of("");
        v.words = this.string();
        return this.fault.length > 0 ? null : v;
      }
      case 0x74: return this.word("true", Kind.Bool, true);
      case 0x66: return this.word("false", Kind.Bool, false);
      case 0x6e: return this.word("null", Kind.Null, false);
    }
    return this.number();
  }

  private word(word: string, kind: i32, truth: bool): Json | null {
    for (let i = 0; i < word.length; i++, this.at++) if (this.peek() != word.charCodeAt(i)) return this.bad("not a value");
    const v = new Json();
    v.kind = kind;
    v.truth = truth;
    return v;
  }

  private many(depth: i32, object: bool): Json | null {
    const v = object ? Json.object() : Json.list(), close = object ? 0x7d : 0x5d;
    this.at++;
    this.space();
    if (this.peek() == close) {
      this.at++;
      return v;
    }
    while (true) {
      this.space();
      if (object) {
        if (this.peek() != 0x22) return this.bad("an object without the next key");
        v.keys.push(this.string());
        this.space();
        if (this.peek() != 0x3a) return this.bad("a key without a colon");
        this.at++;
      }
      const item = this.value(depth + 1);
      if (!item) return null;
      v.items.push(item);
      this.space();
      const c = this.peek();
      this.at++;
      if (c == close) return v;
      if (c != 0x2c) return this.bad("no comma between values");
    }
  }

  private someDigits(): bool {
    const from = this.at;
    while (this.peek() >= 0x30 && this.peek() <= 0x39) this.at++;
    return this.at > from;
  }
  private number(): Json | null {
    const from = this.at, c = this.peek();
    if (c != 0x2d && (c < 0x30 || c > 0x39)) return this.bad("not a value");
    if (c == 0x2d) this.at++;
    if (this.peek() == 0x30) this.at++;
    else if (!this.someDigits()) return this.bad("a number that lacks digits");
    if (this.peek() == 0x2e) {
      this.at++;
      if (!this.someDigits()) return this.bad("a number that lacks digits");
    }
    if ((this.peek() | 32) == 0x65) {
      this.at++;
      if (this.peek() == 0x2b || this.peek() == 0x2d) this.at++;
      if (!this.someDigits()) return this.bad("a number that lacks digits");
    }
    const v = new Json();
    v.kind = Kind.Number;
    v.digits = String.UTF8.decodeUnsafe(this.ptr + from, this.at - from);
    return v;
  }

  private string(): string {
    let from = ++this.at, s = "";
    while (this.at < this.length) {
      const c = this.peek();
      if (c != 0x22 && c != 0x5c && c >= 0x20) {
        this.at++;
        continue;
      }
      if (this.at > from) {
        const piece = String.UTF8.decodeUnsafe(this.ptr + from, this.at - from);
        s = s.length > 0 ? s + piece : piece;
      }
      if (c == 0x22) {
        this.at++;
        return s;
      }
      if (c < 0x20) {
        this.bad("a control character in a text");
        return s;
      }
      const out = new Bytes();
      while (this.peek() == 0x5c || (this.at < this.length && this.peek() >= 0x20 && this.peek() != 0x22)) {
        if (this.peek() != 0x5c) this.plain(out);
        else if (!this.escape(out)) return s;
      }
      s += String.UTF16.decodeUnsafe(out.ptr, out.length);
      from = this.at;
    }
    this.bad("a text without an end");
    return s;
  }

  // plain copies up to the next escape, end or fault, as UTF-16.
  private plain(out: Bytes): void {
    const from = this.at;
    for (let c = this.peek(); this.at < this.length && c >= 0x20 && c != 0x22 && c != 0x5c; c = this.peek()) this.at++;
    const piece = String.UTF8.decodeUnsafe(this.ptr + from, this.at - from);
    out.copy(changetype<usize>(piece), piece.length << 1);
  }
  private escape(out: Bytes): bool {
    this.at++;
    let c = this.peek();
    this.at++;
    switch (c) {
      case 0x22: case 0x5c: case 0x2f: break;
      case 0x62: c = 8; break;
      case 0x66: c = 12; break;
      case 0x6e: c = 10; break;
      case 0x72: c = 13; break;
      case 0x74: c = 9; break;
      case 0x75: {
        c = 0;
        for (let i = 0; i < 4; i++, this.at++) {
          const d = this.peek(), l = d | 32;
          const n = d >= 0x30 && d <= 0x39 ? d - 0x30 : l >= 0x61 && l <= 0x66 ? l - 0x57 : -1;
          if (n < 0) {
            this.bad("an escape without four hexadecimal digits");
            return false;
          }
          c = (c << 4) | n;
        }
        break;
      }
      default:
        this.bad("an escape that JSON does not have");
        return false;
    }
    store<u16>(out.room(2), <u16>c);
    return true;
  }
}
