//! The host's functions, a module for each capability. Each needs its line in pack.toml.

use crate::{json, object, Code, Error, Json, Result, Value};

// imports declares the host functions of one capability. Natively there is no host, and every one refuses.
macro_rules! imports {
    ($module:literal, $($name:ident as $link:literal ($($arg:ident),*)),*) => {
        #[cfg(target_arch = "wasm32")]
        #[link(wasm_import_module = $module)]
        extern "C" {
            $(#[link_name = $link] fn $name($($arg: u32),*) -> u64;)*
        }
        $(#[cfg(not(target_arch = "wasm32"))]
        unsafe fn $name($(_: imports!(@u32 $arg)),*) -> u64 { (Code::Unavailable as u64) << 32 })*
    };
    (@u32 $arg:ident) => { u32 };
}

imports!("arw:io", io_take as "take"(out, cap));

#[cfg(target_arch = "wasm32")]
#[link(wasm_import_module = "wasi_snapshot_preview1")]
extern "C" {
    fn fd_write(fd: u32, iov: *const [u32; 2], count: u32, written: *mut u32) -> u32;
}

// last_words is what a panic says: the host shows it beside the trap.
pub(crate) fn last_words(text: &str) {
    #[cfg(target_arch = "wasm32")]
    unsafe {
        let mut written = 0;
        fd_write(2, &[text.as_ptr() as u32, text.len() as u32], 1, &mut written);
    }
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{}", text);
}

// Most replies fit; larger ones wait for io.take.
const SMALL: usize = 1024;

fn ptr(b: &[u8]) -> u32 {
    b.as_ptr() as usize as u32
}

// room is where the host may write: a mutable borrow, so that the compiler expects it.
fn room(b: &mut [u8]) -> u32 {
    b.as_mut_ptr() as usize as u32
}

fn refused(status: u64) -> Error {
    let (code, n) = ((status >> 32) as u32, status as u32);
    let mut message = vec![0; n as usize];
    if n > 0 && unsafe { io_take(room(&mut message), n) } >> 32 != 0 {
        message.clear();
    }
    match code {
        1 => Error::new(Code::Internal, "the host answered with more than was asked"),
        _ => Error::new(Code::from_number(code), String::from_utf8_lossy(&message)),
    }
}

fn done(status: u64) -> Result<u32> {
    if status >> 32 == 0 {
        return Ok(status as u32);
    }
    Err(refused(status))
}

// reply runs a function that writes to a buffer, and collects what does not fit.
fn reply(run: impl FnOnce(u32, u32) -> u64) -> Result<Vec<u8>> {
    let mut buf = vec![0; SMALL];
    let status = run(room(&mut buf), SMALL as u32);
    if status >> 32 == 1 {
        let n = status as u32;
        buf = vec![0; n as usize];
        done(unsafe { io_take(room(&mut buf), n) })?;
        return Ok(buf);
    }
    buf.truncate(done(status)? as usize);
    Ok(buf)
}

// handle reads the handle that a function gives.
fn handle(run: impl FnOnce(u32, u32) -> u64) -> Result<u32> {
    let mut buf = [0; 4];
    done(run(room(&mut buf), 4))?;
    Ok(u32::from_le_bytes(buf))
}

fn typed<T: Value>(reply: Result<Vec<u8>>) -> Result<T> {
    T::read(&Json::parse(&reply?)?, "reply")
}

/// Log lines. A refusal is not the tool's business.
pub mod log {
    use super::*;
    imports!("arw:log", log_write as "write"(level, msg, len));
    fn write(level: u32, line: &str) {
        unsafe { log_write(level, ptr(line.as_bytes()), line.len() as u32) };
    }
    /// Level 0.
    pub fn debug(line: &str) {
        write(0, line)
    }
    /// Level 1.
    pub fn info(line: &str) {
        write(1, line)
    }
    /// Level 2.
    pub fn warn(line: &str) {
        write(2, line)
    }
    /// Level 3.
    pub fn error(line: &str) {
        write(3, line)
    }
}

/// The pack's own keys and values.
pub mod kv {
    use super::*;
    imports!("arw:kv",
        kv_get as "get"(key, key_len, out, cap), kv_put as "put"(key, key_len, val, val_len), kv_delete as "delete"(key, key_len),
        kv_list as "list"(req, req_len, out, cap), kv_batch as "batch"(ops, len));

    object! {
        /// A key of a list and the size of its value.
        #[derive(Clone, Debug)]
        #[allow(missing_docs)]
        pub struct Key { pub key: String, pub size: u32 }
    }
    object! {
        /// One page of keys; with `more` set ask again after the last one.
        #[derive(Clone, Debug)]
        #[allow(missing_docs)]
        pub struct Keys { pub keys: Vec<Key>, pub more: bool }
    }

    /// Reads a value; [`Code::NotFound`] when there is none.
    pub fn get(key: &str) -> Result<Vec<u8>> {
        reply(|out, cap| unsafe { kv_get(ptr(key.as_bytes()), key.len() as u32, out, cap) })
    }
    /// Stores a value durably.
    pub fn put(key: &str, value: &[u8]) -> Result<()> {
        done(unsafe { kv_put(ptr(key.as_bytes()), key.len() as u32, ptr(value), value.len() as u32) }).map(drop)
    }
    /// Removes a key; an absent one is no error.
    pub fn delete(key: &str) -> Result<()> {
        done(unsafe { kv_delete(ptr(key.as_bytes()), key.len() as u32) }).map(drop)
    }
    /// Lists keys in byte order; a limit of 0 means 1,000, which is the most.
    pub fn list(prefix: &str, after: &str, limit: u32) -> Result<Keys> {
        let mut req = b"{\"prefix\":".to_vec();
        json::write_text(prefix, &mut req);
        req.extend_from_slice(b",\"after\":");
        json::write_text(after, &mut req);
        req.extend_from_slice(format!(",\"limit\":{}}}", limit).as_bytes());
        typed(reply(|out, cap| unsafe { kv_list(ptr(&req), req.len() as u32, out, cap) }))
    }

    /// Puts and deletes that happen together or not at all.
    #[derive(Default)]
    pub struct Batch(Vec<u8>);
    impl Batch {
        /// Adds a put.
        pub fn put(&mut self, key: &str, value: &[u8]) {
            self.0.push(1);
            self.field(key.as_bytes());
            self.field(value);
        }
        /// Adds a removal.
        pub fn delete(&mut self, key: &str) {
            self.0.push(2);
            self.field(key.as_bytes());
        }
        /// Applies the batch.
        pub fn apply(self) -> Result<()> {
            done(unsafe { kv_batch(ptr(&self.0), self.0.len() as u32) }).map(drop)
        }
        fn field(&mut self, b: &[u8]) {
            self.0.extend_from_slice(&(b.len() as u32).to_le_bytes());
            self.0.extend_from_slice(b);
        }
    }
}

/// Events of the journal.
pub mod event {
    use super::*;
    imports!("arw:event", event_emit as "emit"(kind, kind_len, body, body_len));
    /// Journals an event.
    pub fn emit<T: Value>(kind: &str, body: &T) -> Result<()> {
        let mut raw = Vec::new();
        body.write(&mut raw);
        done(unsafe { event_emit(ptr(kind.as_bytes()), kind.len() as u32, ptr(&raw), raw.len() as u32) }).map(drop)
    }
}

/// The pack's read models.
pub mod state {
    use super::*;
    imports!("arw:state", state_get as "get"(name, name_len, out, cap), state_put as "put"(name, name_len, doc, doc_len));
    /// Reads a read model; [`Code::NotFound`] before the first put.
    pub fn get<T: Value>(name: &str) -> Result<T> {
        typed(reply(|out, cap| unsafe { state_get(ptr(name.as_bytes()), name.len() as u32, out, cap) }))
    }
    /// Replaces a read model.
    pub fn put<T: Value>(name: &str, doc: &T) -> Result<()> {
        let mut raw = Vec::new();
        doc.write(&mut raw);
        done(unsafe { state_put(ptr(name.as_bytes()), name.len() as u32, ptr(&raw), raw.len() as u32) }).map(drop)
    }
}

pub mod fs;

/// Secrets that the operator stored under names. The pack uses them and never sees one.
pub mod secret {
    use super::*;
    imports!("arw:secret", secret_public as "public"(name, name_len, out, cap), secret_mac as "mac"(name, name_len, data, data_len, out, cap),
        secret_sign as "sign"(name, name_len, data, data_len, out, cap));
    /// The public half of a key pair, PKIX in DER.
    pub fn public(name: &str) -> Result<Vec<u8>> {
        reply(|out, cap| unsafe { secret_public(ptr(name.as_bytes()), name.len() as u32, out, cap) })
    }
    /// The 32 bytes of HMAC-SHA-256 over at most 1 MiB.
    pub fn mac(name: &str, data: &[u8]) -> Result<Vec<u8>> {
        reply(|out, cap| unsafe { secret_mac(ptr(name.as_bytes()), name.len() as u32, ptr(data), data.len() as u32, out, cap) })
    }
    /// A signature over at most 1 MiB: Ed25519, or ECDSA on P-256 over SHA-256 as ASN.1.
    pub fn sign(name: &str, data: &[u8]) -> Result<Vec<u8>> {
        reply(|out, cap| unsafe { secret_sign(ptr(name.as_bytes()), name.len() as u32, ptr(data), data.len() as u32, out, cap) })
    }
}

/// Archives, unpacked by the host within its bounds.
pub mod archive {
    use super::*;
    imports!("arw:archive", archive_unpack as "unpack"(req, req_len, out, cap));

    object! {
        /// What to unpack: the archive `from`, a file of a leased folder, into `to`, a new folder of another. Bounds of 0 are the
        /// host's own. `nested` unpacks archives inside, too; `skip_links` leaves links out instead of refusing the archive.
        #[derive(Clone, Debug, Default)]
        #[allow(missing_docs)]
        pub struct Request {
            pub from: String, pub to: String, pub strip_components: u32, pub nested: bool, pub skip_links: bool,
            pub max_total_bytes: i64, pub max_entries: i64, pub max_depth: i64
        }
    }
    object! {
        /// What was made.
        #[derive(Clone, Debug)]
        #[allow(missing_docs)]
        pub struct Unpacked { pub format: String, pub files: i64, pub folders: i64, pub bytes: i64, pub skipped: i64, pub depth: i64 }
    }

    /// Unpacks wholly or not at all.
    pub fn unpack(req: &Request) -> Result<Unpacked> {
        let mut raw = Vec::new();
        req.write(&mut raw);
        typed(reply(|out, cap| unsafe { archive_unpack(ptr(&raw), raw.len() as u32, out, cap) }))
    }
}

/// Documents of the configuration.
pub mod config {
    use super::*;
    imports!("arw:config", config_get as "get"(name, name_len, out, cap));
    /// Reads a document as it is for the project and the agent that call; [`Code::NotFound`] when there is none.
    pub fn get<T: Value>(name: &str) -> Result<T> {
        typed(reply(|out, cap| unsafe { config_get(ptr(name.as_bytes()), name.len() as u32, out, cap) }))
    }
}

/// Clocks.
pub mod clock {
    use super::*;
    imports!("arw:clock", clock_now as "now"(out, cap), clock_monotonic as "monotonic"(out, cap));
    fn read(run: unsafe fn(u32, u32) -> u64) -> Result<i64> {
        let mut buf = [0u8; 8];
        done(unsafe { run(room(&mut buf), 8) })?;
        Ok(i64::from_le_bytes(buf))
    }
    unsafe fn now_raw(out: u32, cap: u32) -> u64 {
        clock_now(out, cap)
    }
    unsafe fn monotonic_raw(out: u32, cap: u32) -> u64 {
        clock_monotonic(out, cap)
    }
    /// Nanoseconds since 1970.
    pub fn now() -> Result<i64> {
        read(now_raw)
    }
    /// Nanoseconds of a clock that never steps back; only differences mean something.
    pub fn monotonic() -> Result<i64> {
        read(monotonic_raw)
    }
}

/// Cryptographic randomness.
pub mod rand {
    use super::*;
    imports!("arw:rand", rand_bytes as "bytes"(out, cap));
    /// Fills the buffer.
    pub fn fill(buf: &mut [u8]) -> Result<()> {
        done(unsafe { rand_bytes(room(buf), buf.len() as u32) }).map(drop)
    }
}

/// Other packs' tools.
pub mod action {
    use super::*;
    imports!("arw:action", action_call as "call"(tool, tool_len, input, input_len, out, cap));

    /// What another tool answered.
    #[derive(Clone, Debug, PartialEq)]
    #[allow(missing_docs)]
    pub enum Reply {
        Json(Json),
        Bytes(Vec<u8>),
    }

    /// Calls `namespace/name` or `namespace/name:tool` with bytes as they are. The other tool's error comes back as it is.
    pub fn call_raw(tool: &str, input: &[u8]) -> Result<Reply> {
        let frame = reply(|out, cap| unsafe { action_call(ptr(tool.as_bytes()), tool.len() as u32, ptr(input), input.len() as u32, out, cap) })?;
        match frame.first() {
            Some(0) => Json::parse(&frame[1..]).map(Reply::Json),
            Some(1) => Ok(Reply::Bytes(frame[1..].to_vec())),
            _ => Err(error_frame(&frame).unwrap_or_else(|| Error::new(Code::Internal, "the other tool's frame is broken"))),
        }
    }
    /// Calls a tool that takes and answers JSON.
    pub fn call<I: Value, O: Value>(tool: &str, input: &I) -> Result<O> {
        let mut raw = Vec::new();
        input.write(&mut raw);
        match call_raw(tool, &raw)? {
            Reply::Json(v) => O::read(&v, "reply"),
            Reply::Bytes(_) => Err(Error::new(Code::Invalid, format!("call \"{}\": it answered with bytes", tool))),
        }
    }
    fn error_frame(frame: &[u8]) -> Option<Error> {
        let word = |at: usize| Some(u32::from_le_bytes(frame.get(at..at + 4)?.try_into().ok()?));
        let (code, n) = (word(1)?, word(5)? as usize);
        let mut e = Error::new(Code::from_number(code), String::from_utf8_lossy(frame.get(9..9 + n)?));
        e.detail = Json::parse(&frame[9 + n..]).ok();
        Some(e)
    }
}

/// Bytes that the caller gives and takes while the call runs. They carry no authority: no capability, no lease.
pub mod stream {
    use super::*;
    imports!("arw:stream", stream_read as "read"(handle, out, cap), stream_write as "write"(handle, data, len),
        stream_send as "send"(handle, doc, len), stream_close as "close"(handle));

    /// The most bytes of one part.
    pub const MAX_PART: usize = 1 << 20;

    /// Waits for input and says how much there is; 0 is the end. [`Code::NotFound`] when the caller streams nothing in.
    pub fn read(buf: &mut [u8]) -> Result<usize> {
        read_from(0, buf)
    }
    /// Waits for bytes behind a handle and says how many there are; 0 is the end.
    pub(super) fn read_from(handle: u32, buf: &mut [u8]) -> Result<usize> {
        done(unsafe { stream_read(handle, room(buf), buf.len() as u32) }).map(|n| n as usize)
    }
    /// All that is left behind a handle.
    pub(super) fn rest_of(handle: u32) -> Result<Vec<u8>> {
        let (mut all, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            match read_from(handle, &mut piece)? {
                0 => return Ok(all),
                n => all.extend_from_slice(&piece[..n]),
            }
        }
    }
    /// Gives the bytes to the caller, in parts of at most [`MAX_PART`].
    pub fn write(data: &[u8]) -> Result<()> {
        for part in data.chunks(MAX_PART) {
            done(unsafe { stream_write(1, ptr(part), part.len() as u32) })?;
        }
        Ok(())
    }
    /// Gives one JSON value as a part of its own.
    pub fn send<T: Value>(doc: &T) -> Result<()> {
        let mut raw = Vec::new();
        doc.write(&mut raw);
        done(unsafe { stream_send(1, ptr(&raw), raw.len() as u32) }).map(drop)
    }
    /// Says that the rest of the input is not wanted.
    pub fn close_input() -> Result<()> {
        done(unsafe { stream_close(0) }).map(drop)
    }
    /// Says that no more parts come.
    pub fn close_output() -> Result<()> {
        done(unsafe { stream_close(1) }).map(drop)
    }
}

pub mod http;

pub mod infer;
