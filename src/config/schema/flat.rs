//! The original's flat dictionary.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::key::Key;
use super::{Config, key_by_flat_name};

/// Every flat name, in the order of the original's file.
const ORDER: &str = "
action device allow_tf32 cudnn_bench determ determ_seed dry_run wandb wandb_project
wandb_entity wandb_group wandb_job_type wandb_name wandb_tags embedder_spec embedder_amp
embedder_amp_bf16 embedder_compile embedder_optimum batch_size_token batch_size_embed
batch_size_image embedding_dataset embedding_datasets batch_size dataset_workers vocab_path
vocab_thres prompt_path prompt_collection hypernym_collection noun_cache noun_recache
noun_cache_dir embedding_cache_dir strict_embedder save_embedding_cache cls_dataset
cls_datasets cls_dataset_root cls_split load_model load_models load_models_dirnum model
with_start_token with_end_token compact_ids fixed_token_length auto_fixed_token_length
use_masks use_weights multi_target multi_first fixed_multi_length amp amp_bf16 vocab_quant
num_end_loss label_smoothing hidden_dim feedfwd_scale mlp_hidden_layer mlp_hidden_bias
mlp_hidden_norm mlp_hidden_activation input_dropout num_layers num_heads layer_dropout
layer_activation layer_norm_first layer_bias logits_bias init_bias_zero init_mlp_mode
init_mlp_unit_norm init_tfrm_mode init_tfrm_unit_norm init_tfrm_unit_postnorm
init_tfrm_proj_layers init_zero_norm init_rezero_mode mlp_seq_len weight_tying
strictly_causal enable_nested gencfg gencfgs gencfgs_grid gencfg_method gencfg_topk
gencfg_prior gencfg_guide gencfg_tau gencfg_alpha test_training test_device test_patch
test_consistent test_print clip_clean clip_prompts measure_gap multi_target_freq
captions_path template_multiplier sample_multiplier captions_print class_names_variant
images save_targets multi_mode load_train_state load_lr_state chunk_scale save_every_min
save_every_max save_top1_min save_top1_delta max_epochs max_chunks accum_factor optimizer
init_lr final_lr lr_scheduler lr_warmup beta1 beta2 weight_decay weight_decay_1d nesterov
compile gradient_clip loss_ewa_halflife last_dropout_chunks last_dropout_factor mean_shift
mean_shift_path noise_scheme noise_vec_norm noise_angle_min noise_angle_max noise_angle_std
noise_mix_ratio fix_force_vtx eval_train eval_guided eval_debug eval_samples_max eval_images
eval_images_dir infer_log infer_texts infer_images infer_image_dir infer_all_images_dir
infer_ann_json infer_ann_json_update infer_guided infer_guide_dataset infer_guide_targets
infer_debug infer_pred_json load_pred_jsons pred_image_dir pred_ann_json pfmt_type pfmt_topk
pfmt_model_spec pfmt_sort fmt_type fmt_models fmt_model_hosts fmt_hosts fmt_min_ago
fmt_max_ago fmt_min_stamp fmt_max_stamp fmt_sort wiki_collect_dir sample_input_dir
sample_output_dir sample_count sample_special sample_special_mean sample_special_factor
";

/// The keys that have a flat name, in the order of the original's file.
static FLAT_KEYS: LazyLock<Vec<(&'static str, &'static Key)>> = LazyLock::new(|| {
    ORDER
        .split_whitespace()
        .filter_map(|name| Some((name, key_by_flat_name(name)?)))
        .collect()
});

impl Config {
    /// The flat dictionary of the original: every key that has a flat name, in
    /// the order of its file, typed as YAML would read it (`training.md` 1.1).
    ///
    /// `wandb` is always true, as readers of the original expect.
    pub fn flat(&self) -> Map<String, Value> {
        FLAT_KEYS
            .iter()
            .map(|&(name, key)| {
                let value = if key.path == "tracking.wandb.mode" {
                    Value::Bool(true)
                } else {
                    yaml_form(key, self.get(key.path).unwrap_or(Value::Null))
                };
                (name.to_owned(), value)
            })
            .collect()
    }
}

/// The default of some float keys is written without a point in the original's
/// file, which makes it an int there; any other value is a float.
fn yaml_form(key: &Key, value: Value) -> Value {
    if !key.whole_default || value != (key.default)() {
        return value;
    }
    match value {
        Value::Array(items) => items.into_iter().map(whole).collect(),
        value => whole(value),
    }
}

fn whole(value: Value) -> Value {
    match value.as_f64() {
        Some(number) if number.fract() == 0.0 => Value::from(number as i64),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::{WandbMode, keys};

    #[test]
    fn the_order_names_every_flat_key_once() {
        let mut ordered: Vec<_> = ORDER.split_whitespace().collect();
        let mut declared: Vec<_> = keys().iter().filter_map(|key| key.flat).collect();
        ordered.sort_unstable();
        declared.sort_unstable();
        assert_eq!(ordered, declared);
    }

    #[test]
    fn floats_that_are_not_the_default_stay_floats() {
        let mut config = Config::default();
        assert_eq!(config.flat()["loss_ewa_halflife"].to_string(), "4");
        config.train.ewa_halflife_chunks = 8.0;
        config.tracking.wandb.mode = WandbMode::Offline;
        assert_eq!(config.flat()["loss_ewa_halflife"].to_string(), "8.0");
        assert_eq!(config.flat()["wandb"], Value::Bool(true));
    }
}
