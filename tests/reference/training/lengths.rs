//! `arithmetic.json`: lengths and decay factors from random sizes
//! (`training.md` 2.2, 2.6).

use novic::train::averages::decay_factor;
use novic::train::{LengthInput, Lengths};

use crate::golden;

#[test]
fn lengths_from_sizes() {
    let cases = golden::json("training", "arithmetic.json");
    let cases = cases.as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let options = &case["options"];
        let whole = |key: &str| options[key].as_u64().unwrap();
        let lengths = Lengths::new(&LengthInput {
            samples: case["samples"].as_u64().unwrap(),
            valid_nouns: case["valid_nouns"].as_u64().unwrap(),
            batch_size: whole("batch_size"),
            accum_factor: whole("accum_factor"),
            chunk_scale: options["chunk_scale"].as_f64().unwrap(),
            max_epochs: whole("max_epochs"),
            max_chunks: whole("max_chunks"),
        });
        let halflife = options["loss_ewa_halflife"].as_f64().unwrap();
        let computed = lengths.and_then(|lengths| {
            let decay = decay_factor(halflife, lengths.chunk_batches)?;
            Ok((lengths, decay))
        });
        if !case["error"].is_null() {
            assert!(computed.is_err(), "must be rejected: {case}");
            continue;
        }
        let (lengths, decay) = computed.unwrap();
        let result = &case["result"];
        for (key, own) in [
            (&result["epoch_batches"], lengths.epoch_batches),
            (&result["chunk_batches"], lengths.chunk_batches),
            (&result["chunk_samples"], lengths.chunk_samples()),
            (&result["max_chunks"], lengths.max_chunks),
            (&case["optimizer_steps_per_epoch"], lengths.epoch_steps()),
            (&case["epoch_samples"], lengths.epoch_samples()),
            (&case["grad_norm_slots"], lengths.chunk_steps()),
        ] {
            assert_eq!(key.as_u64().unwrap(), own, "{case}");
        }
        let expected = result["ewa_factor"].as_f64().unwrap();
        assert!((expected - decay).abs() <= 1e-15, "{case}");
        let inverse = result["ewa_factor_inv"].as_f64().unwrap();
        assert!((inverse - (1.0 - decay)).abs() <= 1e-15, "{case}");
    }
}
