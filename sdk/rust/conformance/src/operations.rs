//! conform.do: host functions, one after another.

use arw_guest::{action, archive, clock, config, event, fs, http, infer, kv, log, object, rand, secret, state, Code, Error, Json, Result, Value};

object! { pub struct Pair { key: String, value: String } }
object! {
    pub struct Op {
        op: String, key: Option<String>, value: Option<String>, prefix: Option<String>, after: Option<String>, limit: Option<u32>,
        puts: Option<Vec<Pair>>, deletes: Option<Vec<String>>, level: Option<u32>, kind: Option<String>, name: Option<String>,
        path: Option<String>, recursive: Option<bool>, offset: Option<u64>, size: Option<usize>, tool: Option<String>, doc: Option<Json>,
        method: Option<String>, url: Option<String>, header: Option<String>, secret: Option<String>,
        from: Option<String>, to: Option<String>, strip: Option<u32>, most: Option<i64>, texts: Option<Vec<String>>,
    }
}
object! { pub struct Ops { ops: Vec<Op> } }
object! {
    #[derive(Default)]
    pub struct Outcome {
        code: u32, message: Option<String>, value: Option<String>, keys: Option<Vec<kv::Key>>, more: Option<bool>,
        entries: Option<Vec<fs::Entry>>, entry: Option<fs::Entry>, ns: Option<i64>, hex: Option<String>, doc: Option<Json>, status: Option<i64>,
        size: Option<usize>, unpacked: Option<archive::Unpacked>, finish: Option<String>, tokens: Option<i64>,
    }
}
object! { pub struct Outcomes { results: Vec<Outcome> } }

pub fn run(ops: Ops) -> Result<Outcomes> {
    let results = ops.ops.into_iter().map(|op| match one(op) {
        Ok(outcome) => outcome,
        Err(e) => Outcome { code: e.code as u32, message: Some(e.message), ..Outcome::default() },
    });
    Ok(Outcomes { results: results.collect() })
}

fn text(bytes: Vec<u8>) -> Result<Outcome> {
    Ok(Outcome { value: Some(String::from_utf8(bytes)?), ..Outcome::default() })
}

fn network(op: Op) -> Result<Outcome> {
    let value = op.value.unwrap_or_default();
    let mut req = http::Request { method: op.method.unwrap_or_default(), url: op.url.unwrap_or_default(), ..http::Request::default() };
    req.secrets.extend(op.secret);
    req.headers.extend(op.header.map(|v| ("X-A".to_string(), v)));
    let mut answer = match op.op.as_str() {
        "http.fetch" => http::fetch(&req, value.as_bytes())?,
        "http.upload" => {
            req.method = "POST".to_string();
            let mut up = http::open(&req)?;
            up.write(value.as_bytes())?;
            up.write(value.as_bytes())?;
            up.response()?
        }
        _ => {
            let mut s = http::connect(&req)?;
            s.send(&http::Message::Text(value))?;
            let said = match s.receive()? {
                Some(http::Message::Text(said)) => Some(said),
                _ => None,
            };
            return Ok(Outcome { status: Some(s.head.status), value: said, more: Some(s.receive()?.is_some()), ..Outcome::default() });
        }
    };
    Ok(Outcome { status: Some(answer.status), ..text(answer.read_all()?)? })
}

fn hex(bytes: Vec<u8>) -> Result<Outcome> {
    Ok(Outcome { hex: Some(bytes.iter().map(|b| format!("{:02x}", b)).collect()), ..Outcome::default() })
}

// copy moves a file by handle, piece by piece.
fn copy(from: &str, to: &str) -> Result<Outcome> {
    let (mut source, mut target) = (fs::open(from)?, fs::create(to)?);
    let (mut buf, mut size) = (vec![0; 64 << 10], 0);
    loop {
        match source.read(&mut buf)? {
            0 => break,
            n => {
                target.write(&buf[..n])?;
                size += n;
            }
        }
    }
    target.commit()?;
    Ok(Outcome { size: Some(size), ..Outcome::default() })
}

object! { pub struct Message { role: String, content: String } }
object! {
    #[derive(Default)]
    pub struct Asked {
        model: Option<String>, prompt: Option<String>, messages: Option<Vec<Message>>, max_tokens: Option<usize>, texts: Option<Vec<String>>,
        query: Option<String>, documents: Option<Vec<String>>, count: Option<bool>,
    }
}

fn models(op: Op) -> Result<Outcome> {
    let (mut req, value, texts) = (Asked { model: op.name, ..Asked::default() }, op.value.unwrap_or_default(), op.texts);
    req.max_tokens = op.size;
    let ask: fn(&Json) -> Result<Json> = match op.op.as_str() {
        "infer.generate" | "infer.chat" => {
            match op.op.as_str() {
                "infer.chat" => req.messages = Some(vec![Message { role: "user".to_string(), content: value }]),
                _ => req.prompt = Some(value),
            }
            let mut a = infer::generate(&json(&req)?)?;
            let said = a.read_all()?;
            let how = a.finish()?;
            let tokens = how.get("usage").and_then(|u| u.get("completion_tokens")).and_then(Json::as_i64);
            return Ok(Outcome { finish: how.get("finish_reason").and_then(Json::as_text).map(str::to_string), tokens, ..text(said)? });
        }
        "infer.embed" => {
            req.texts = texts;
            infer::embed
        }
        "infer.rerank" => {
            (req.query, req.documents) = (Some(value), texts);
            infer::rerank
        }
        _ => {
            req.prompt = Some(value);
            req.count = Some(op.op == "infer.count").filter(|yes| *yes);
            infer::tokenize
        }
    };
    Ok(Outcome { doc: Some(ask(&json(&req)?)?), ..Outcome::default() })
}

fn json(req: &Asked) -> Result<Json> {
    let mut raw = Vec::new();
    req.write(&mut raw);
    Json::parse(&raw)
}

fn one(op: Op) -> Result<Outcome> {
    if op.op.starts_with("infer.") {
        return models(op);
    }
    if op.op.starts_with("http.") {
        return network(op);
    }
    let (key, value, name) = (op.key.unwrap_or_default(), op.value.unwrap_or_default(), op.name.unwrap_or_default());
    let (path, after, limit) = (op.path.unwrap_or_default(), op.after.unwrap_or_default(), op.limit.unwrap_or(0));
    let doc = op.doc.unwrap_or(Json::Null);
    let mut out = Outcome::default();
    match op.op.as_str() {
        "log.write" => match op.level.unwrap_or(1) {
            0 => log::debug(&value),
            1 => log::info(&value),
            2 => log::warn(&value),
            _ => log::error(&value),
        },
        "kv.get" => return text(kv::get(&key)?),
        "kv.put" => kv::put(&key, value.as_bytes())?,
        "kv.delete" => kv::delete(&key)?,
        "kv.list" => {
            let page = kv::list(&op.prefix.unwrap_or_default(), &after, limit)?;
            out.keys = Some(page.keys);
            out.more = Some(page.more);
        }
        "kv.batch" => {
            let mut batch = kv::Batch::default();
            for p in op.puts.unwrap_or_default() {
                batch.put(&p.key, p.value.as_bytes());
            }
            for k in op.deletes.unwrap_or_default() {
                batch.delete(&k);
            }
            batch.apply()?;
        }
        "event.emit" => event::emit(&op.kind.unwrap_or_default(), &doc)?,
        "state.get" => out.doc = Some(state::get(&name)?),
        "state.put" => state::put(&name, &doc)?,
        "fs.list" => {
            let page = fs::list(&path, op.recursive.unwrap_or(false), &after, limit)?;
            out.entries = Some(page.entries);
            out.more = Some(page.more);
        }
        "fs.stat" => out.entry = Some(fs::stat(&path)?),
        "fs.read" => {
            let mut buf = vec![0; op.size.unwrap_or(0)];
            let n = fs::read_at(&path, op.offset.unwrap_or(0), &mut buf)?;
            buf.truncate(n);
            return text(buf);
        }
        "fs.read_all" => return text(fs::read(&path)?),
        "fs.write" => fs::write(&path, value.as_bytes())?,
        "fs.remove" => fs::remove(&path)?,
        "fs.copy" => return copy(&path, &op.to.unwrap_or_default()),
        "fs.draft" => fs::create(&path)?.write(value.as_bytes())?,
        "fs.hold" => {
            let mut held = Vec::new();
            for _ in 0..op.size.unwrap_or(0) {
                held.push(fs::open(&path)?);
            }
        }
        "secret.public" => return hex(secret::public(&name)?),
        "secret.mac" => return hex(secret::mac(&name, value.as_bytes())?),
        "secret.sign" => return hex(secret::sign(&name, value.as_bytes())?),
        "archive.unpack" => {
            let req = archive::Request {
                from: op.from.unwrap_or_default(),
                to: op.to.unwrap_or_default(),
                strip_components: op.strip.unwrap_or(0),
                max_total_bytes: op.most.unwrap_or(0),
                ..archive::Request::default()
            };
            out.unpacked = Some(archive::unpack(&req)?);
        }
        "config.get" => out.doc = Some(config::get(&name)?),
        "clock.now" => out.ns = Some(clock::now()?),
        "clock.monotonic" => out.ns = Some(clock::monotonic()?),
        "rand.bytes" => {
            let mut buf = vec![0; op.size.unwrap_or(0)];
            rand::fill(&mut buf)?;
            return hex(buf);
        }
        "action.call" => match action::call_raw(&op.tool.unwrap_or_default(), doc.to_string().as_bytes())? {
            action::Reply::Json(v) => out.doc = Some(v),
            action::Reply::Bytes(b) => return text(b),
        },
        other => return Err(Error::new(Code::Unsupported, format!("there is no operation \"{}\"", other))),
    }
    Ok(out)
}
