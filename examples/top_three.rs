//! Prints the three likeliest labels of a picture.
//!
//! `cargo run --release --example top_three -- extras/demo/fox.png`

use novic::images::{DecodeOptions, decode_file};
use novic::infer::{CheckpointSource, NovicModel};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "extras/demo/fox.png".to_owned());
    // The decoder in the program; a file or the id of a run are others.
    let model = NovicModel::load(&CheckpointSource::Embedded)?;
    let picture = decode_file(path.as_ref(), &DecodeOptions::default())?;
    let labels: Vec<String> = model
        .classify_image(&picture)?
        .into_iter()
        .take(3)
        .map(|label| match label.probability {
            Some(probability) => format!("{} = {:.1}%", label.noun, probability * 100.0),
            None => format!("{} (score {:.2})", label.noun, label.score),
        })
        .collect();
    println!("{}", labels.join(" / "));
    Ok(())
}
