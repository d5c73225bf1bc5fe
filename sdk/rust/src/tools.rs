use crate::{Code, Error, Json, Result, Value};
use std::cell::UnsafeCell;

type Run = Box<dyn Fn(&[u8], &mut Vec<u8>) -> Result<()>>;

struct Tool {
    id: &'static str,
    run: Run,
    schemas: Option<(fn(&mut String), fn(&mut String))>,
}

/// The table of a pack's tools.
#[derive(Default)]
pub struct Tools(Vec<Tool>);

impl Tools {
    /// Adds a tool that takes and answers JSON. An input of no bytes is an object without fields.
    pub fn add<I: Value + 'static, O: Value + 'static>(&mut self, id: &'static str, run: impl Fn(I) -> Result<O> + 'static) {
        let run = move |raw: &[u8], out: &mut Vec<u8>| {
            let input = Json::parse(if raw.is_empty() { b"{}" } else { raw })?;
            let reply = run(I::read(&input, "")?)?;
            out.push(0);
            reply.write(out);
            Ok(())
        };
        self.0.push(Tool { id, run: Box::new(run), schemas: Some((I::schema, O::schema)) });
    }

    /// Adds a tool that takes and answers bytes as they are.
    pub fn bytes(&mut self, id: &'static str, run: impl Fn(&[u8]) -> Result<Vec<u8>> + 'static) {
        let run = move |raw: &[u8], out: &mut Vec<u8>| {
            let reply = run(raw)?;
            out.reserve_exact(reply.len() + 1);
            out.push(1);
            out.extend_from_slice(&reply);
            Ok(())
        };
        self.0.push(Tool { id, run: Box::new(run), schemas: None });
    }

    fn serve(&self, id: &str, raw: &[u8], out: &mut Vec<u8>) -> Result<()> {
        if let Some(t) = self.0.iter().find(|t| t.id == id) {
            return (t.run)(raw, out);
        }
        if id == "_describe" {
            out.push(0);
            self.describe(out);
            return Ok(());
        }
        Err(Error::new(Code::NotFound, format!("call \"{}\": the pack has no such tool", id)))
    }

    // describe answers the tool that every module has besides its own, for a build to hold the manifest against the code.
    fn describe(&self, out: &mut Vec<u8>) {
        let mut text = format!("{{\"sdk\":\"rust\",\"abi\":\"{}\",\"tools\":[", crate::ABI);
        for (i, t) in self.0.iter().enumerate() {
            text.push_str(if i > 0 { ",{\"id\":\"" } else { "{\"id\":\"" });
            text.push_str(t.id);
            text.push('"');
            if let Some((input, output)) = t.schemas {
                text.push_str(",\"input\":");
                input(&mut text);
                text.push_str(",\"output\":");
                output(&mut text);
            }
            text.push('}');
        }
        text.push_str("]}");
        out.extend_from_slice(text.as_bytes());
    }
}

// A module has one thread and the host enters it once at a time.
struct Global<T>(UnsafeCell<T>);
unsafe impl<T> Sync for Global<T> {}

static TOOLS: Global<Tools> = Global(UnsafeCell::new(Tools(Vec::new())));
static REQUEST: Global<Vec<u8>> = Global(UnsafeCell::new(Vec::new()));
static REPLY: Global<Vec<u8>> = Global(UnsafeCell::new(Vec::new()));

#[doc(hidden)]
pub fn init(register: fn(&mut Tools)) {
    std::panic::set_hook(Box::new(|info| crate::host::last_words(&info.to_string())));
    register(unsafe { &mut *TOOLS.0.get() });
}

#[doc(hidden)]
pub fn alloc(size: u32) -> u32 {
    let request = unsafe { &mut *REQUEST.0.get() };
    if request.len() < size as usize || request.is_empty() {
        *request = vec![0; size.max(1) as usize];
    }
    request.as_ptr() as u32
}

#[doc(hidden)]
pub fn call(tool: u32, tool_len: u32, input: u32, input_len: u32) -> u64 {
    let (tools, reply) = unsafe { (&*TOOLS.0.get(), &mut *REPLY.0.get()) };
    *reply = Vec::new();
    let id = String::from_utf8_lossy(given(tool, tool_len));
    if let Err(e) = tools.serve(&id, given(input, input_len), reply) {
        reply.clear();
        e.append(reply);
    }
    (reply.as_ptr() as u32 as u64) << 32 | reply.len() as u64
}

fn given(ptr: u32, len: u32) -> &'static [u8] {
    if len == 0 {
        return &[];
    }
    unsafe { std::slice::from_raw_parts(ptr as *const u8, len as usize) }
}
