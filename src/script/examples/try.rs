//! Try
use rhapsode_script::*;
fn main() {
    let mut s = Session::new(SessionOptions::default());
    for code in std::env::args().skip(1) {
        let mut io = Recorder::default();
        let r = s.execute(&code, &mut io);
        eprintln!(">>> {code}");
        if !io.stdout.is_empty() { eprint!("{}", io.stdout); }
        for d in &io.displays { eprintln!("[display] {}", d.plain()); }
        match r { Ok(Some(d)) => eprintln!("{}", d.plain()), Err(e) => eprintln!("{}", e.render(false)), _ => {} }
    }
}
