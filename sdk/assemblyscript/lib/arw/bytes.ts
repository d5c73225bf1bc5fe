// Bytes is output in the making.
export class Bytes {
  private buf: ArrayBuffer = new ArrayBuffer(512);
  length: i32 = 0;

  get ptr(): usize {
    return changetype<usize>(this.buf);
  }

  // room makes place for n more bytes and says where.
  room(n: i32): usize {
    const need = this.length + n;
    if (need > this.buf.byteLength) {
      const bigger = new ArrayBuffer(max(need, this.buf.byteLength < 1 << 24 ? this.buf.byteLength * 2 : need));
      memory.copy(changetype<usize>(bigger), changetype<usize>(this.buf), this.length);
      this.buf = bigger;
    }
    const at = changetype<usize>(this.buf) + this.length;
    this.length = need;
    return at;
  }

  byte(c: i32): void {
    store<u8>(this.room(1), <u8>c);
  }

  u32(v: u32): void {
    store<u32>(this.room(4), v);
  }

  copy(ptr: usize, n: i32): void {
    memory.copy(this.room(n), ptr, n);
  }

  // text adds UTF-8; half of a surrogate pair becomes U+FFFD.
  text(s: string): void {
    const n = String.UTF8.byteLength(s);
    String.UTF8.encodeUnsafe(changetype<usize>(s), s.length, this.room(n), false, String.UTF8.ErrorMode.REPLACE);
  }

  // quoted adds a JSON string.
  quoted(s: string): void {
    this.byte(0x22);
    let from = 0;
    for (let i = 0, n = s.length; i < n; i++) {
      const c = s.charCodeAt(i);
      if (c >= 0x20 && c != 0x22 && c != 0x5c) continue;
      if (i > from) this.text(s.substring(from, i));
      from = i + 1;
      if (c == 0x22 || c == 0x5c) {
        this.byte(0x5c);
        this.byte(c);
      } else {
        this.text("\\u00");
        this.byte("0123456789abcdef".charCodeAt(c >> 4));
        this.byte("0123456789abcdef".charCodeAt(c & 15));
      }
    }
    if (from == 0) this.text(s);
    else if (from < s.length) this.text(s.substring(from));
    this.byte(0x22);
  }

  toArray(): Uint8Array {
    const a = new Uint8Array(this.length);
    memory.copy(a.dataStart, this.ptr, this.length);
    return a;
  }
}
