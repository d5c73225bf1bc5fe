// What a failed assertion says goes to standard error, which the host shows beside the trap.
@external("wasi_snapshot_preview1", "fd_write")
declare function fd_write(fd: u32, iov: usize, count: u32, written: usize): u32;

const iov = memory.data(16);

export function arw_abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const words = "panic: " + (message ? message : "abort") + " (" + (file ? file : "?") + ":" + line.toString() + ")";
  const bytes = String.UTF8.encode(words);
  store<u32>(iov, <u32>changetype<usize>(bytes));
  store<u32>(iov, <u32>bytes.byteLength, 4);
  fd_write(2, iov, 1, iov + 8);
  unreachable();
}
