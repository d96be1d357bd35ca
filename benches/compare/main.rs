//! Our side of the comparison with PyTorch: a program that lives as long as the comparison and times what it
//! is asked for, so that both sides alternate finely on a busy machine.
//!
//! On standard input, a line each: `list`, `make ROW`, `run ROW TIMES`, `drop ROW`, `limits`, `quit`. The answer is one
//! line: the rows with tabs between them, `ok`, the seconds of one call, the machine's limits as JSON, or `error: ...`.
//!
//! `benches/compare/compare.py` starts it beside its twin in PyTorch (`twin.py`).
#![allow(clippy::disallowed_macros)]

mod ops;
mod train;

use std::{
    collections::BTreeMap,
    error::Error,
    io::{BufRead, Write},
    time::Instant,
};

use rhapsode_tensor::limits;

#[global_allocator]
static ALLOCATOR: rhapsode_tensor::memory::Staggered<mimalloc::MiMalloc> =
    rhapsode_tensor::memory::Staggered(mimalloc::MiMalloc);

/// Does the work of a row so many times.
type Work = Box<dyn FnMut(usize) -> Result<(), Box<dyn Error>>>;

/// A row of the comparison: its name, and what makes its inputs and gives its work.
struct Row {
    name: String,
    make: Box<dyn Fn() -> Result<Work, Box<dyn Error>>>,
}

impl Row {
    fn new(
        name: impl Into<String>,
        make: impl Fn() -> Result<Work, Box<dyn Error>> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            make: Box::new(make),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let rows: Vec<Row> = ops::rows().into_iter().chain(train::rows()).collect();
    let mut ready = BTreeMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split('\t').collect();
        let answer = match words.as_slice() {
            ["quit"] => break,
            ["list"] => Ok(rows
                .iter()
                .map(|row| row.name.as_str())
                .collect::<Vec<_>>()
                .join("\t")),
            ["make", name] => make(&rows, name).map(|work| {
                ready.insert(name.to_string(), work);
                "ok".to_string()
            }),
            ["run", name, times] => run(&mut ready, name, times),
            ["limits"] => Ok(serde_json::to_string(&limits())?),
            ["drop", name] => {
                ready.remove(*name);
                Ok("ok".to_string())
            }
            _ => Err(format!("no such request: {line}").into()),
        };
        let answer = answer.unwrap_or_else(|error| format!("error: {error}").replace('\n', " "));
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// What the machine can do at most with all threads: billions of operations or bytes a second.
fn limits() -> serde_json::Value {
    serde_json::json!({
        "flops": limits::flops(),
        "read": limits::read(),
        "update": limits::update(),
        "level": format!("{:?}", rhapsode_tensor::simd::level()),
        "threads": rhapsode_tensor::pool::global().parts(),
    })
}

fn make(rows: &[Row], name: &str) -> Result<Work, Box<dyn Error>> {
    let row = rows
        .iter()
        .find(|row| row.name == name)
        .ok_or("no such row")?;
    (row.make)()
}

fn run(
    ready: &mut BTreeMap<String, Work>,
    name: &str,
    times: &str,
) -> Result<String, Box<dyn Error>> {
    let work = ready.get_mut(name).ok_or("not made")?;
    let times: usize = times.parse()?;
    let start = Instant::now();
    work(times)?;
    Ok((start.elapsed().as_secs_f64() / times as f64).to_string())
}
