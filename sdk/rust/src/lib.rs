//! Write arw packs in Rust: typed functions, and one that names them.
//!
//! ```ignore
//! use arw_guest::{kv, object, Result, Tools};
//!
//! object! { pub struct Greeting { pub name: String } }
//! object! { pub struct Reply { pub text: String } }
//!
//! fn greet(input: Greeting) -> Result<Reply> {
//!     kv::put(&format!("seen/{}", input.name), b"1")?;
//!     Ok(Reply { text: format!("Hello, {}!", input.name) })
//! }
//!
//! arw_guest::export!(register);
//! fn register(tools: &mut Tools) {
//!     tools.add("hello.greet", greet);
//! }
//! ```
//!
//! `register` runs once, before the host keeps the state that every call starts from: what a call writes into statics is gone
//! afterwards, unless the tool's isolation is `session`. A pack runs one call at a time. An [`Error`] carries a code of the
//! contract; any other error becomes `tool_failed` with its text through `?`. A capability without a live lease answers with
//! [`Code::Denied`], [`Code::LeaseExpired`] and the like, also in the middle of a call: return that error as it is.
#![warn(missing_docs)]

mod error;
mod host;
pub mod json;
mod tools;
mod value;

pub use error::{Code, Error, Result};
pub use host::{action, archive, clock, config, event, fs, http, infer, kv, log, rand, secret, state, stream};
pub use json::Json;
pub use tools::Tools;
pub use value::Value;

#[doc(hidden)]
pub use tools::{alloc, call, init};

/// The version of the contract that this crate speaks.
pub const ABI: &str = "1.3.0";

/// Exports the module's functions to the host; `register` is called once with the table to fill.
#[macro_export]
macro_rules! export {
    ($register:path) => {
        #[no_mangle]
        extern "C" fn arw_init() {
            $crate::init($register)
        }
        #[no_mangle]
        extern "C" fn arw_alloc(size: u32) -> u32 {
            $crate::alloc(size)
        }
        #[no_mangle]
        extern "C" fn arw_call(tool: u32, tool_len: u32, input: u32, input_len: u32) -> u64 {
            $crate::call(tool, tool_len, input, input_len)
        }
    };
}

/// Defines a struct that is read from JSON, written as JSON and described by a JSON Schema. A field of type `Option` may be
/// absent or null, and is left out when it is `None`; other fields are required.
#[macro_export]
macro_rules! object {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$field_meta:meta])* $field_vis:vis $field:ident : $type:ty),* $(,)? }) => {
        $(#[$meta])*
        $vis struct $name { $($(#[$field_meta])* $field_vis $field: $type),* }
        impl $crate::Value for $name {
            #[allow(unused_variables)]
            fn read(v: &$crate::Json, at: &str) -> $crate::Result<Self> {
                v.fields(at)?;
                Ok(Self { $($field: $crate::json::field(v, stringify!($field))?),* })
            }
            #[allow(unused_variables, unused_mut, unused_assignments)]
            fn write(&self, out: &mut Vec<u8>) {
                let mut before = b'{';
                $($crate::json::write_field(&mut before, stringify!($field), &self.$field, out);)*
                if before == b'{' { out.push(b'{'); }
                out.push(b'}');
            }
            fn schema(out: &mut String) {
                let fields: &[$crate::json::FieldSchema] = &[$($crate::json::FieldSchema {
                    name: stringify!($field), optional: <$type as $crate::Value>::OPTIONAL, schema: <$type as $crate::Value>::schema,
                }),*];
                $crate::json::object_schema(fields, out);
            }
        }
    };
}
