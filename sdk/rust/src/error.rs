use crate::Json;

macro_rules! codes {
    ($($name:ident = $n:literal),* $(,)?) => {
        /// A code of the contract: docs/spec/errors.md says what each means.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        #[allow(missing_docs)]
        pub enum Code { $($name = $n),* }

        impl Code {
            /// The code of a number; `ToolFailed` for a number that is no error's.
            pub fn from_number(n: u32) -> Code {
                match n { $($n => Code::$name,)* _ => Code::ToolFailed }
            }
        }
    };
}

codes! {
    Invalid = 2, NotFound = 3, Denied = 4, Unauthenticated = 5, LeaseExpired = 6, LeaseRevoked = 7, BudgetExhausted = 8,
    Untrusted = 9, Unsigned = 10, DigestMismatch = 11, Corrupt = 12, TooLarge = 13, Unsupported = 14, Incompatible = 15,
    Conflict = 16, Busy = 17, Unavailable = 18, Deadline = 19, Cancelled = 20, GasExhausted = 21, MemoryExhausted = 22,
    DepthExceeded = 23, Trap = 24, Exited = 25, Quarantined = 26, Interrupted = 27, ToolFailed = 28, StorageFull = 29,
    Internal = 30, NoModel = 31,
}

/// A failure with a code, a message for a person and, when there is one, detail for a machine.
///
/// It does not implement [`std::error::Error`], so that `?` can make one of any error that does.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Error {
    pub code: Code,
    pub message: String,
    pub detail: Option<Json>,
}

/// What functions of a pack return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Makes an error. Say what was being done and name the thing in quotes.
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error { code, message: message.into(), detail: None }
    }

    /// Adds the machine-readable part.
    pub fn with_detail(mut self, detail: Json) -> Error {
        self.detail = Some(detail);
        self
    }

    pub(crate) fn append(&self, out: &mut Vec<u8>) {
        out.push(2);
        out.extend_from_slice(&(self.code as u32).to_le_bytes());
        out.extend_from_slice(&(self.message.len() as u32).to_le_bytes());
        out.extend_from_slice(self.message.as_bytes());
        if let Some(detail) = &self.detail {
            detail.append(out);
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(e: E) -> Error {
        Error::new(Code::ToolFailed, e.to_string())
    }
}
