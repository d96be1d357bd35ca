//! Times
use rhapsode_script::*;
use std::time::Instant;
fn main() {
    for _ in 0..3 {
        let t = Instant::now();
        let mut s = Session::new(SessionOptions::default());
        let built = t.elapsed();
        let mut io = Recorder::default();
        let _ = s.execute("1 + 1", &mut io);
        eprintln!("build {built:?}, first result {:?}", t.elapsed());
        let t = Instant::now();
        let _ = s.execute("1 + 1", &mut io);
        eprintln!("second cell {:?}", t.elapsed());
        let t = Instant::now();
        let _ = s.highlight("let x = 1;");
        eprintln!("first highlight {:?}", t.elapsed());
        let t = Instant::now();
        let _ = s.complete("zer", 3);
        eprintln!("complete {:?}", t.elapsed());
        let t = Instant::now();
        let _ = s.is_complete("let x = 1;");
        eprintln!("is_complete {:?}", t.elapsed());
    }
    let mut s = Session::new(SessionOptions::default());
    for code in std::env::args().skip(1) {
        let mut io = Recorder::default();
        let t = Instant::now();
        let r = s.execute(&code, &mut io);
        eprintln!("{:?}  {code:.80}", t.elapsed());
        match r {
            Ok(Some(d)) => eprintln!("{}", d.plain()),
            Err(e) => eprintln!("{}", e.render(false)),
            _ => {}
        }
    }
}
