//! x
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let w = match a[1].as_str() {
        "raw" => hpcvm::recipe::Wrap::Raw,
        "lz4" => hpcvm::recipe::Wrap::Lz4,
        _ => hpcvm::recipe::Wrap::Stock,
    };
    let b = std::fs::read(&a[2]).unwrap();
    let t = std::time::Instant::now();
    let o = hpcvm::guest::wrap::wrap(&b, w);
    match o {
        Ok(o) => {
            eprintln!("{} {} -> {} {:?}", a[1], b.len(), o.len(), t.elapsed());
            std::fs::write(&a[3], o).unwrap()
        }
        Err(e) => eprintln!("{e}"),
    }
}
