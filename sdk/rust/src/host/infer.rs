//! Models of the host. Requests and replies are JSON in the form of docs/spec/abi.md, 3.3. Tools that ask declare effects = "reads".

use super::*;
imports!("arw:infer", infer_generate as "generate"(req, req_len, out, cap), infer_finish as "finish"(handle, out, cap), infer_embed as "embed"(req, req_len, out, cap),
    infer_rerank as "rerank"(req, req_len, out, cap), infer_tokenize as "tokenize"(req, req_len, out, cap));
imports!("arw:stream", stream_close as "close"(handle));

/// A text that a model is making, read as it comes. Dropping it frees the model.
#[derive(Debug)]
pub struct Answer {
    handle: u32,
    /// What answers: engine, engine_kind and model.
    pub head: Json,
}

impl Answer {
    /// Waits for bytes of the text and says how many there are; 0 is the end. A read may end within a character.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        stream::read_from(self.handle, buf)
    }
    /// The rest of the text.
    pub fn read_all(&mut self) -> Result<Vec<u8>> {
        stream::rest_of(self.handle)
    }
    /// Waits for the end, drops text that was not read, and tells how it ended.
    pub fn finish(&mut self) -> Result<Json> {
        let handle = self.handle;
        Json::parse(&reply(|out, cap| unsafe { infer_finish(handle, out, cap) })?)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        unsafe { stream_close(self.handle) };
    }
}

fn raw(req: &Json) -> Vec<u8> {
    let mut out = Vec::new();
    req.write(&mut out);
    out
}

/// Begins an answer.
pub fn generate(req: &Json) -> Result<Answer> {
    let raw = raw(req);
    let head = Json::parse(&reply(|out, cap| unsafe { infer_generate(ptr(&raw), raw.len() as u32, out, cap) })?)?;
    Ok(Answer { handle: head.get("handle").and_then(Json::as_i64).unwrap_or(0) as u32, head })
}
/// A vector of each text.
pub fn embed(req: &Json) -> Result<Json> {
    let raw = raw(req);
    Json::parse(&reply(|out, cap| unsafe { infer_embed(ptr(&raw), raw.len() as u32, out, cap) })?)
}
/// A score of each document.
pub fn rerank(req: &Json) -> Result<Json> {
    let raw = raw(req);
    Json::parse(&reply(|out, cap| unsafe { infer_rerank(ptr(&raw), raw.len() as u32, out, cap) })?)
}
/// The tokens of a prompt or a chat, or their number.
pub fn tokenize(req: &Json) -> Result<Json> {
    let raw = raw(req);
    Json::parse(&reply(|out, cap| unsafe { infer_tokenize(ptr(&raw), raw.len() as u32, out, cap) })?)
}
