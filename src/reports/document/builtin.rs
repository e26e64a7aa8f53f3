//! Reports that come with the program: the tables of the original and of the
//! paper.

const BUILTIN: [(&str, &str); 8] = [
    (
        "format_preds/nouns_v1",
        include_str!("../../../reports/format_preds/nouns_v1.toml"),
    ),
    (
        "format_preds/model_topk_v1",
        include_str!("../../../reports/format_preds/model_topk_v1.toml"),
    ),
    (
        "format_preds/model_max_v1",
        include_str!("../../../reports/format_preds/model_max_v1.toml"),
    ),
    (
        "format_preds/gencfg_model_v1",
        include_str!("../../../reports/format_preds/gencfg_model_v1.toml"),
    ),
    (
        "format_wandb/eval_gen_cls_v1",
        include_str!("../../../reports/format_wandb/eval_gen_cls_v1.toml"),
    ),
    (
        "format_wandb/infer_v1",
        include_str!("../../../reports/format_wandb/infer_v1.toml"),
    ),
    (
        "format_wandb/all_v1",
        include_str!("../../../reports/format_wandb/all_v1.toml"),
    ),
    (
        "format_wandb/all_v2",
        include_str!("../../../reports/format_wandb/all_v2.toml"),
    ),
];

/// The text of a built-in report.
pub fn builtin(name: &str) -> Option<&'static str> {
    let found = BUILTIN.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text)
}

/// Names of the built-in reports.
pub fn builtin_names() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::reports::document::Report;

    #[test]
    fn all_can_be_read() {
        for name in builtin_names() {
            if let Err(errors) = Report::load(Path::new(name), &[]) {
                panic!("{name}: {errors}");
            }
        }
    }
}
