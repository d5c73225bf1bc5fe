//! The network, behind the host's guard: a row of its ledger for every request. Tools that use it declare effects = "open_world".

use super::*;
imports!("arw:http", http_fetch as "fetch"(req, req_len, body, body_len, out, cap), http_open as "open"(req, req_len, out, cap),
    http_response as "response"(handle, out, cap), http_connect as "connect"(req, req_len, out, cap),
    http_send as "send"(handle, kind, data, len), http_receive as "receive"(handle, out, cap));
imports!("arw:stream", stream_write as "write"(handle, data, len), stream_close as "close"(handle));

/// What is to be sent. An empty method is GET; bounds of 0 are the host's own.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Request {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    /// A redirect is an answer; otherwise it is followed, each hop judged anew.
    pub manual: bool,
    pub timeout_ms: i64,
    pub max_bytes: i64,
    /// Names of tokens that the host puts in for their audience, at most 4; each needs a lease of `secret`.
    pub secrets: Vec<String>,
}

impl Request {
    /// A request with GET.
    pub fn get(url: &str) -> Request {
        Request { url: url.to_string(), ..Request::default() }
    }
    fn raw(&self) -> Vec<u8> {
        let mut out = b"{\"url\":".to_vec();
        json::write_text(&self.url, &mut out);
        if !self.method.is_empty() {
            out.extend_from_slice(b",\"method\":");
            json::write_text(&self.method, &mut out);
        }
        out.extend_from_slice(b",\"headers\":[");
        for (i, (name, value)) in self.headers.iter().enumerate() {
            out.extend_from_slice(if i > 0 { b",[" } else { b"[" });
            json::write_text(name, &mut out);
            out.push(b',');
            json::write_text(value, &mut out);
            out.push(b']');
        }
        out.extend_from_slice(b"],\"secrets\":");
        self.secrets.write(&mut out);
        out.extend_from_slice(format!(",\"timeout_ms\":{},\"max_bytes\":{}", self.timeout_ms, self.max_bytes).as_bytes());
        out.extend_from_slice(if self.manual { b",\"redirect\":\"manual\"}" } else { b"}" });
        out
    }
}

/// The head of an answer; its body is read from it. Dropping it ends the exchange: what was not read is not wanted.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Response {
    handle: u32,
    pub status: i64,
    pub url: String,
    pub headers: Vec<(String, String)>,
    /// -1 when the server announced none.
    pub length: i64,
    pub ledger: String,
}

impl Response {
    fn from(raw: &[u8]) -> Result<Response> {
        let v = Json::parse(raw)?;
        let number = |key: &str| v.get(key).and_then(Json::as_i64).unwrap_or(-1);
        let text = |key: &str| v.get(key).and_then(Json::as_text).unwrap_or_default().to_string();
        let word = |pair: &Json, at: usize| pair.items().get(at).and_then(Json::as_text).unwrap_or_default().to_string();
        let headers = v.get("headers").map(|list| list.items().iter().map(|p| (word(p, 0), word(p, 1))).collect());
        Ok(Response { handle: number("handle") as u32, status: number("status"), url: text("url"), headers: headers.unwrap_or_default(), length: number("length"), ledger: text("ledger") })
    }
    /// Waits for bytes of the body and says how many there are; 0 is the end.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        stream::read_from(self.handle, buf)
    }
    /// The rest of the body.
    pub fn read_all(&mut self) -> Result<Vec<u8>> {
        stream::rest_of(self.handle)
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        unsafe { stream_close(self.handle) };
    }
}

/// Sends a request whose body is all here and waits for the head of the answer.
pub fn fetch(req: &Request, body: &[u8]) -> Result<Response> {
    let raw = req.raw();
    Response::from(&reply(|out, cap| unsafe { http_fetch(ptr(&raw), raw.len() as u32, ptr(body), body.len() as u32, out, cap) })?)
}

/// The body of a request under way. Dropping it gives the request up.
#[derive(Debug)]
pub struct Upload {
    handle: u32,
}

/// Begins a request whose body is written to the [`Upload`].
pub fn open(req: &Request) -> Result<Upload> {
    let raw = req.raw();
    handle(|out, cap| unsafe { http_open(ptr(&raw), raw.len() as u32, out, cap) }).map(|handle| Upload { handle })
}

impl Upload {
    /// Sends bytes and waits while the network is slow.
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        for part in data.chunks(stream::MAX_PART) {
            done(unsafe { stream_write(self.handle, ptr(part), part.len() as u32) })?;
        }
        Ok(())
    }
    /// Ends the body and waits for the head of the answer.
    pub fn response(self) -> Result<Response> {
        let handle = self.handle;
        let raw = reply(|out, cap| unsafe { http_response(handle, out, cap) })?;
        std::mem::forget(self); // the response closes the handle
        Response::from(&raw)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        unsafe { stream_close(self.handle) };
    }
}

/// A message of a WebSocket.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Message {
    Text(String),
    Bytes(Vec<u8>),
}

/// One WebSocket. Dropping it closes it.
#[derive(Debug)]
pub struct Socket {
    /// The answer that opened it.
    pub head: Response,
}

/// Opens a WebSocket; the scheme is ws or wss.
pub fn connect(req: &Request) -> Result<Socket> {
    let raw = req.raw();
    let head = Response::from(&reply(|out, cap| unsafe { http_connect(ptr(&raw), raw.len() as u32, out, cap) })?)?;
    Ok(Socket { head })
}

impl Socket {
    /// Sends one message, at most 1 MiB.
    pub fn send(&mut self, message: &Message) -> Result<()> {
        let (kind, data) = match message {
            Message::Text(s) => (1, s.as_bytes()),
            Message::Bytes(b) => (2, b.as_slice()),
        };
        done(unsafe { http_send(self.head.handle, kind, ptr(data), data.len() as u32) }).map(drop)
    }
    /// Waits for one message; none when the other side has closed the socket.
    pub fn receive(&mut self) -> Result<Option<Message>> {
        let handle = self.head.handle;
        let raw = reply(|out, cap| unsafe { http_receive(handle, out, cap) })?;
        Ok(match raw.first() {
            None => None,
            Some(1) => Some(Message::Text(String::from_utf8_lossy(&raw[1..]).into_owned())),
            Some(_) => Some(Message::Bytes(raw[1..].to_vec())),
        })
    }
}
