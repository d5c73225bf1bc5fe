//! A general JSON value, and what [`crate::object!`] is made of. RFC 8259, nothing more lenient.

use crate::{Code, Error, Result, Value};

/// How deep arrays and objects may nest.
pub const MAX_DEPTH: usize = 128;

/// Any JSON value. Numbers keep their digits; objects keep their order.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads one value; the error says what is wrong and where.
    pub fn parse(text: &[u8]) -> Result<Json> {
        let mut r = Reader { text, at: 0 };
        match r.value(0).and_then(|v| r.end().map(|_| v)) {
            Ok(v) => Ok(v),
            Err(fault) => Err(Error::new(Code::Invalid, format!("read JSON: {} at byte {}", fault, r.at))),
        }
    }

    /// The member of an object; `None` of anything else.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(fields) => fields.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text, when it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Json::Text(s) => Some(s),
            _ => None,
        }
    }

    /// The number, when it is an integer that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Json::Number(digits) => digits.parse().ok(),
            _ => None,
        }
    }

    /// The elements, none when it is no list.
    pub fn items(&self) -> &[Json] {
        match self {
            Json::List(items) => items,
            _ => &[],
        }
    }

    /// The fields; `Invalid` when it is no object.
    pub fn fields(&self, at: &str) -> Result<&[(String, Json)]> {
        match self {
            Json::Object(fields) => Ok(fields),
            _ => Err(mismatch(at, "an object")),
        }
    }

    /// Writes the value behind what is in `out`.
    pub fn append(&self, out: &mut Vec<u8>) {
        match self {
            Json::Null => out.extend_from_slice(b"null"),
            Json::Bool(true) => out.extend_from_slice(b"true"),
            Json::Bool(false) => out.extend_from_slice(b"false"),
            Json::Number(digits) => out.extend_from_slice(digits.as_bytes()),
            Json::Text(s) => write_text(s, out),
            Json::List(items) => {
                out.push(b'[');
                for (i, v) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    v.append(out);
                }
                out.push(b']');
            }
            Json::Object(fields) => {
                out.push(b'{');
                for (i, (key, v)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    write_text(key, out);
                    out.push(b':');
                    v.append(out);
                }
                out.push(b'}');
            }
        }
    }
}

impl std::fmt::Display for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = Vec::new();
        self.append(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

/// The error of a value of another type.
pub fn mismatch(at: &str, what: &str) -> Error {
    Error::new(Code::Invalid, format!("read the input: \"{}\" is not {}", at, what))
}

/// Writes a JSON string.
pub fn write_text(s: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut from = 0;
    for (i, &c) in s.as_bytes().iter().enumerate() {
        if c >= 0x20 && c != b'"' && c != b'\\' {
            continue;
        }
        out.extend_from_slice(s[from..i].as_bytes());
        from = i + 1;
        match c {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', c]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.extend_from_slice(format!("\\u{:04x}", c).as_bytes()),
        }
    }
    out.extend_from_slice(s[from..].as_bytes());
    out.push(b'"');
}

#[doc(hidden)]
pub fn field<T: Value>(v: &Json, name: &str) -> Result<T> {
    match v.get(name) {
        Some(found) => T::read(found, name),
        None => T::missing(name),
    }
}

#[doc(hidden)]
pub fn write_field<T: Value>(before: &mut u8, name: &str, v: &T, out: &mut Vec<u8>) {
    if !v.absent() {
        out.push(*before);
        *before = b',';
        write_text(name, out);
        out.push(b':');
        v.write(out);
    }
}

#[doc(hidden)]
pub struct FieldSchema {
    pub name: &'static str,
    pub optional: bool,
    pub schema: fn(&mut String),
}

#[doc(hidden)]
pub fn object_schema(fields: &[FieldSchema], out: &mut String) {
    out.push_str("{\"type\":\"object\",\"properties\":{");
    for (i, f) in fields.iter().enumerate() {
        out.push_str(if i > 0 { ",\"" } else { "\"" });
        out.push_str(f.name);
        out.push_str("\":");
        (f.schema)(out);
    }
    let required: Vec<String> = fields.iter().filter(|f| !f.optional).map(|f| format!("\"{}\"", f.name)).collect();
    out.push_str(&format!("}},\"required\":[{}],\"additionalProperties\":false}}", required.join(",")));
}

type Fault = &'static str;

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> u8 {
        *self.text.get(self.at).unwrap_or(&0)
    }

    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\t' | b'\r') {
            self.at += 1;
        }
    }

    fn end(&mut self) -> std::result::Result<(), Fault> {
        self.space();
        if self.at < self.text.len() {
            return Err("something behind the value");
        }
        Ok(())
    }

    fn word(&mut self, word: &str, v: Json) -> std::result::Result<Json, Fault> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return Err("not a value");
        }
        self.at += word.len();
        Ok(v)
    }

    fn value(&mut self, depth: usize) -> std::result::Result<Json, Fault> {
        self.space();
        if depth > MAX_DEPTH {
            return Err("values that nest too deep");
        }
        match self.peek() {
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'"' => Ok(Json::Text(self.string()?)),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err("not a value"),
        }
    }

    // next says whether another element follows, and eats the comma or the closing bracket.
    fn next(&mut self, first: bool, close: u8) -> std::result::Result<bool, Fault> {
        self.space();
        let c = self.peek();
        if c == close {
            self.at += 1;
            return Ok(false);
        }
        if !first {
            if c != b',' {
                return Err("no comma between values");
            }
            self.at += 1;
            self.space();
            if self.peek() == close {
                return Err("nothing behind a comma");
            }
        }
        Ok(true)
    }

    fn list(&mut self, depth: usize) -> std::result::Result<Json, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        while self.next(items.is_empty(), b']')? {
            items.push(self.value(depth + 1)?);
        }
        Ok(Json::List(items))
    }

    fn object(&mut self, depth: usize) -> std::result::Result<Json, Fault> {
        self.at += 1;
        let mut fields = Vec::new();
        while self.next(fields.is_empty(), b'}')? {
            if self.peek() != b'"' {
                return Err("an object without the next key");
            }
            let key = self.string()?;
            self.space();
            if self.peek() != b':' {
                return Err("a key without a colon");
            }
            self.at += 1;
            fields.push((key, self.value(depth + 1)?));
        }
        Ok(Json::Object(fields))
    }

    fn digits(&mut self) -> std::result::Result<(), Fault> {
        let from = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == from {
            return Err("a number that lacks digits");
        }
        Ok(())
    }

    fn number(&mut self) -> std::result::Result<Json, Fault> {
        let from = self.at;
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Json::Number(String::from_utf8_lossy(&self.text[from..self.at]).into_owned()))
    }

    fn string(&mut self) -> std::result::Result<String, Fault> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let from = self.at;
            while self.at < self.text.len() && !matches!(self.text[self.at], b'"' | b'\\' | 0..=0x1f) {
                self.at += 1;
            }
            out.extend_from_slice(&self.text[from..self.at]);
            match self.peek() {
                b'"' => break,
                b'\\' => self.escape(&mut out)?,
                _ if self.at == self.text.len() => return Err("a text without an end"),
                _ => return Err("a control character in a text"),
            }
        }
        self.at += 1;
        String::from_utf8(out).map_err(|_| "a text that is not UTF-8")
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> std::result::Result<(), Fault> {
        self.at += 1;
        let c = self.peek();
        self.at += 1;
        out.push(match c {
            b'"' | b'\\' | b'/' => c,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut u = self.hex()?;
                if (0xd800..0xdc00).contains(&u) && self.text[self.at..].starts_with(b"\\u") {
                    let back = self.at;
                    self.at += 2;
                    let low = self.hex()?;
                    if (0xdc00..0xe000).contains(&low) {
                        u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
                    } else {
                        self.at = back;
                    }
                }
                let c = char::from_u32(u).unwrap_or(char::REPLACEMENT_CHARACTER); // half of a pair
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err("an escape that JSON does not have"),
        });
        Ok(())
    }

    fn hex(&mut self) -> std::result::Result<u32, Fault> {
        let fault = "an escape without four hexadecimal digits";
        let digits = self.text.get(self.at..self.at + 4).ok_or(fault)?;
        let mut u = 0;
        for &d in digits {
            u = u << 4 | (d as char).to_digit(16).ok_or(fault)?;
        }
        self.at += 4;
        Ok(u)
    }
}
