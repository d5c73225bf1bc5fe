import { Json } from "./json";

// The codes of docs/spec/errors.md.
export enum Code {
  OK, More, Invalid, NotFound, Denied, Unauthenticated, LeaseExpired, LeaseRevoked, BudgetExhausted, Untrusted, Unsigned,
  DigestMismatch, Corrupt, TooLarge, Unsupported, Incompatible, Conflict, Busy, Unavailable, Deadline, Cancelled,
  GasExhausted, MemoryExhausted, DepthExceeded, Trap, Exited, Quarantined, Interrupted, ToolFailed, StorageFull, Internal, NoModel,
}

// Failure is why something failed: a code to act on, a message for a person, and perhaps detail for a machine.
export class Failure {
  constructor(public code: Code, public message: string, public detail: Json | null = null) {}
}

let last: Failure | null = null;

// failure is the last one of this call.
export function failure(): Failure {
  const f = last;
  return f ? f : new Failure(Code.ToolFailed, "the tool answered nothing and did not say why");
}

// fail notes why and answers null: return fail<Reply>(...).
export function fail<T>(code: Code, message: string): T | null {
  last = new Failure(code, message);
  return null;
}

// failWith is fail with detail.
export function failWith<T>(code: Code, message: string, detail: Json | null): T | null {
  last = new Failure(code, message, detail);
  return null;
}

// failCode is fail for functions that answer false.
export function failCode(code: Code, message: string): bool {
  last = new Failure(code, message);
  return false;
}

export function forget(): void {
  last = null;
}
