use crate::json::{mismatch, write_text};
use crate::{Code, Error, Json, Result};

/// A type that can be read from JSON, written as JSON and described by a JSON Schema. [`crate::object!`] implements it for
/// structs.
pub trait Value: Sized {
    /// Whether a field of this type may be absent.
    const OPTIONAL: bool = false;
    /// Reads a value; `at` names it in errors.
    fn read(v: &Json, at: &str) -> Result<Self>;
    /// Writes the value as JSON.
    fn write(&self, out: &mut Vec<u8>);
    /// Writes the type's JSON Schema.
    fn schema(out: &mut String);
    /// What an absent field is.
    fn missing(at: &str) -> Result<Self> {
        Err(Error::new(Code::Invalid, format!("read the input: \"{}\" is missing", at)))
    }
    /// Whether a field with this value is left out.
    fn absent(&self) -> bool {
        false
    }
}

impl Value for Json {
    fn read(v: &Json, _: &str) -> Result<Self> {
        Ok(v.clone())
    }
    fn write(&self, out: &mut Vec<u8>) {
        self.append(out)
    }
    fn schema(out: &mut String) {
        out.push_str("true")
    }
}

impl Value for () {
    fn read(v: &Json, at: &str) -> Result<Self> {
        v.fields(at).map(|_| ())
    }
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{}")
    }
    fn schema(out: &mut String) {
        out.push_str("{\"type\":\"object\"}")
    }
}

impl Value for bool {
    fn read(v: &Json, at: &str) -> Result<Self> {
        match v {
            Json::Bool(b) => Ok(*b),
            _ => Err(mismatch(at, "true or false")),
        }
    }
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { b"false" })
    }
    fn schema(out: &mut String) {
        out.push_str("{\"type\":\"boolean\"}")
    }
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl Value for $t {
            fn read(v: &Json, at: &str) -> Result<Self> {
                match v {
                    Json::Number(digits) => digits.parse().map_err(|_| mismatch(at, concat!("an integer of type ", stringify!($t)))),
                    _ => Err(mismatch(at, "an integer")),
                }
            }
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.to_string().as_bytes())
            }
            fn schema(out: &mut String) {
                out.push_str("{\"type\":\"integer\"}")
            }
        }
    )*};
}
integers!(i64, i32, u32, u64, usize);

impl Value for f64 {
    fn read(v: &Json, at: &str) -> Result<Self> {
        match v {
            Json::Number(digits) => digits.parse().ok().filter(|f: &f64| f.is_finite()).ok_or_else(|| mismatch(at, "a number of 64 bits")),
            _ => Err(mismatch(at, "a number")),
        }
    }
    /// The shortest text that reads as the same number; null for what JSON does not have.
    fn write(&self, out: &mut Vec<u8>) {
        let size = self.abs();
        let text = match () {
            _ if !self.is_finite() => "null".to_string(),
            _ if size != 0.0 && (size < 1e-6 || size >= 1e21) => format!("{:e}", self),
            _ => format!("{}", self),
        };
        out.extend_from_slice(text.as_bytes())
    }
    fn schema(out: &mut String) {
        out.push_str("{\"type\":\"number\"}")
    }
}

impl Value for String {
    fn read(v: &Json, at: &str) -> Result<Self> {
        v.as_text().map(str::to_string).ok_or_else(|| mismatch(at, "a text"))
    }
    fn write(&self, out: &mut Vec<u8>) {
        write_text(self, out)
    }
    fn schema(out: &mut String) {
        out.push_str("{\"type\":\"string\"}")
    }
}

impl<T: Value> Value for Vec<T> {
    fn read(v: &Json, at: &str) -> Result<Self> {
        match v {
            Json::List(items) => items.iter().map(|i| T::read(i, at)).collect(),
            _ => Err(mismatch(at, "a list")),
        }
    }
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (i, v) in self.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            v.write(out);
        }
        out.push(b']');
    }
    fn schema(out: &mut String) {
        out.push_str("{\"type\":\"array\",\"items\":");
        T::schema(out);
        out.push('}');
    }
}

impl<T: Value> Value for Option<T> {
    const OPTIONAL: bool = true;
    fn read(v: &Json, at: &str) -> Result<Self> {
        match v {
            Json::Null => Ok(None),
            _ => T::read(v, at).map(Some),
        }
    }
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Some(v) => v.write(out),
            None => out.extend_from_slice(b"null"),
        }
    }
    fn schema(out: &mut String) {
        T::schema(out)
    }
    fn missing(_: &str) -> Result<Self> {
        Ok(None)
    }
    fn absent(&self) -> bool {
        self.is_none()
    }
}
