//! The Rust SDK's conformance guest: the tools that abi/abitest asks for.

mod operations;

use arw_guest::{object, stream, Code, Error, Json, Result, Tools};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::Mutex;

object! {
    struct Typed { name: String, count: i64, ratio: Option<f64>, on: Option<bool>, tags: Option<Vec<String>>, note: Option<String> }
}
object! { struct Failure { code: u32, message: String, detail: Option<Json> } }
object! { struct Size { size: usize } }
object! { struct Counted { count: i64 } }
object! { struct Text { text: String } }
object! { struct Texts { texts: Vec<String> } }
object! { struct Pumped { bytes: u64 } }

static SINK: AtomicI64 = AtomicI64::new(0); // what the compiler cannot see through
static COUNT: Mutex<i64> = Mutex::new(0);
static KEPT: Mutex<Vec<String>> = Mutex::new(Vec::new());

arw_guest::export!(register);

fn register(t: &mut Tools) {
    t.bytes("conform.echo", |input| Ok(input.to_vec()));
    t.bytes("conform.size", size);
    t.add("conform.json", |v: Json| Ok(v));
    t.add("conform.typed", |v: Typed| {
        Ok(Typed { ratio: v.ratio.or(Some(0.0)), on: v.on.or(Some(false)), tags: v.tags.or_else(|| Some(Vec::new())), ..v })
    });
    t.add("conform.fail", |f: Failure| -> Result<()> { Err(Error { code: Code::from_number(f.code), message: f.message, detail: f.detail }) });
    t.add("conform.do", operations::run);
    t.add("conform.count", |_: ()| {
        let mut count = COUNT.lock()?;
        *count += 1;
        Ok(Counted { count: *count })
    });
    t.add("conform.keep", |v: Text| {
        let mut kept = KEPT.lock()?;
        kept.push(v.text);
        Ok(Texts { texts: kept.clone() })
    });
    t.add("conform.spin", |_: ()| -> Result<()> {
        loop {
            SINK.fetch_add(1, Ordering::Relaxed);
        }
    });
    t.add("conform.grow", |_: ()| -> Result<()> {
        let mut taken = Vec::new();
        loop {
            taken.push(vec![1u8; 1 << 20]);
            SINK.store(taken[taken.len() - 1][taken.len()] as i64, Ordering::Relaxed);
        }
    });
    t.add("conform.recurse", |_: ()| Ok(Counted { count: recurse(1) }));
    t.add("conform.trap", |_: ()| -> Result<()> { panic!("the guest was told to") });
    t.add("conform.pump", pump);
}

fn recurse(n: i64) -> i64 {
    SINK.store(n, Ordering::Relaxed);
    recurse(n + 1) + SINK.load(Ordering::Relaxed)
}

fn size(input: &[u8]) -> Result<Vec<u8>> {
    let n = Json::parse(input)?.get("size").and_then(Json::as_i64).ok_or_else(|| Error::new(Code::Invalid, "size is missing"))?;
    Ok((0..n).map(|i| (i * 7 + (i >> 8)) as u8).collect())
}

fn pump(_: ()) -> Result<Pumped> {
    let mut buf = vec![0; 64 << 10];
    let mut bytes = 0;
    loop {
        match stream::read(&mut buf)? {
            0 => break,
            n => {
                stream::write(&buf[..n])?;
                bytes += n as u64;
            }
        }
    }
    stream::send(&Pumped { bytes })?;
    stream::close_output()?;
    Ok(Pumped { bytes })
}
