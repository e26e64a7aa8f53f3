//! Writes what the program knows of itself: the reference of the documentation
//! and man pages.
//!
//! `cargo run --example pages -- reference docs/reference`
//! `cargo run --example pages -- man FOLDER`

mod reference;

use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [what, folder] = arguments[..] else {
        return Err("give what to write (reference or man) and a folder".into());
    };
    let folder = Path::new(folder);
    fs::create_dir_all(folder)?;
    match what {
        "reference" => {
            for (name, text) in reference::pages() {
                fs::write(folder.join(name), text)?;
            }
        }
        "man" => clap_mangen::generate_to(novic::cli::command(), folder)?,
        other => return Err(format!("there is no `{other}`: reference or man").into()),
    }
    Ok(())
}
