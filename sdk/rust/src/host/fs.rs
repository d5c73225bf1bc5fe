//! Files of leased folders. Paths are absolute.

use super::*;
imports!("arw:fs",
    fs_list as "list"(req, req_len, out, cap), fs_stat as "stat"(path, path_len, out, cap),
    fs_read as "read"(path, path_len, offset_lo, offset_hi, out, cap), fs_write as "write"(path, path_len, data, data_len),
    fs_remove as "remove"(path, path_len), fs_open as "open"(path, path_len, out, cap), fs_create as "create"(path, path_len, out, cap));
imports!("arw:stream", stream_write as "write"(handle, data, len), stream_close as "close"(handle));

object! {
    /// A file or folder; `mode` is file, dir, symlink or other.
    #[derive(Clone, Debug)]
    #[allow(missing_docs)]
    pub struct Entry { pub path: String, pub size: i64, pub mode: String, pub mtime_ms: i64 }
}
object! {
    /// One page of a folder; with `more` set ask again after the last one.
    #[derive(Clone, Debug)]
    #[allow(missing_docs)]
    pub struct Entries { pub entries: Vec<Entry>, pub more: bool }
}

/// Lists a folder in byte order; a limit of 0 means 1,000, which is the most.
pub fn list(path: &str, recursive: bool, after: &str, limit: u32) -> Result<Entries> {
    let mut req = b"{\"path\":".to_vec();
    json::write_text(path, &mut req);
    req.extend_from_slice(b",\"after\":");
    json::write_text(after, &mut req);
    req.extend_from_slice(format!(",\"recursive\":{},\"limit\":{}}}", recursive, limit).as_bytes());
    typed(reply(|out, cap| unsafe { fs_list(ptr(&req), req.len() as u32, out, cap) }))
}
/// Describes a file or folder.
pub fn stat(path: &str) -> Result<Entry> {
    typed(reply(|out, cap| unsafe { fs_stat(ptr(path.as_bytes()), path.len() as u32, out, cap) }))
}
/// Reads into `buf` from an offset and says how much; 0 is the end.
pub fn read_at(path: &str, offset: u64, buf: &mut [u8]) -> Result<usize> {
    let p = path.as_bytes();
    done(unsafe { fs_read(ptr(p), p.len() as u32, offset as u32, (offset >> 32) as u32, room(buf), buf.len() as u32) }).map(|n| n as usize)
}
/// Reads a whole file.
pub fn read(path: &str) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match read_at(path, all.len() as u64, &mut piece)? {
            0 => return Ok(all),
            n => all.extend_from_slice(&piece[..n]),
        }
    }
}
/// Replaces a file atomically.
pub fn write(path: &str, data: &[u8]) -> Result<()> {
    done(unsafe { fs_write(ptr(path.as_bytes()), path.len() as u32, ptr(data), data.len() as u32) }).map(drop)
}
/// Removes a file or an empty folder.
pub fn remove(path: &str) -> Result<()> {
    done(unsafe { fs_remove(ptr(path.as_bytes()), path.len() as u32) }).map(drop)
}

/// A file that is read by handle, piece by piece, from its beginning. The lease is asked at each piece. Dropping it closes it.
#[derive(Debug)]
pub struct File {
    handle: u32,
}

/// Opens a file by handle; at most 16 may be open in a call.
pub fn open(path: &str) -> Result<File> {
    let p = path.as_bytes();
    handle(|out, cap| unsafe { fs_open(ptr(p), p.len() as u32, out, cap) }).map(|handle| File { handle })
}

impl File {
    /// Reads on into `buf` and says how much; 0 is the end.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        stream::read_from(self.handle, buf)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        unsafe { stream_close(self.handle) };
    }
}

/// A file in the making. Nothing is at its path before [`Draft::commit`]; one that is dropped or left open is thrown away when
/// the call ends.
#[derive(Debug)]
pub struct Draft {
    handle: u32,
}

/// Begins a file of any size that will take the place of what is at the path.
pub fn create(path: &str) -> Result<Draft> {
    let p = path.as_bytes();
    handle(|out, cap| unsafe { fs_create(ptr(p), p.len() as u32, out, cap) }).map(|handle| Draft { handle })
}

impl Draft {
    /// Adds bytes.
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        for part in data.chunks(stream::MAX_PART) {
            done(unsafe { stream_write(self.handle, ptr(part), part.len() as u32) })?;
        }
        Ok(())
    }
    /// Puts the file in its place, whole and durable.
    pub fn commit(self) -> Result<()> {
        done(unsafe { stream_close(self.handle) }).map(drop)
    }
}
