//! `[tables]`, `[wiki]` and `[sample]`: tables of the original and image
//! collection.

use super::action::readers;
use super::choice::choice;
use super::section::section;

choice! {
    /// Table of prediction files.
    pub enum PredsTable: any_case {
        /// Nouns by model.
        NounsV1 = "nouns_v1",
        /// Best predictions of each model.
        #[default]
        ModelTopkV1 = "model_topk_v1",
        /// Best decoding configuration of each model.
        ModelMaxV1 = "model_max_v1",
        /// Decoding configurations by model.
        GencfgModelV1 = "gencfg_model_v1",
    }
}

choice! {
    /// Table of tracked runs.
    pub enum RunsTable: any_case {
        /// Class decoding by decoding configuration.
        EvalGenClsV1 = "eval_gen_cls_v1",
        /// Inference.
        InferV1 = "infer_v1",
        /// Everything about a model.
        AllV1 = "all_v1",
        /// The same with later columns.
        #[default]
        AllV2 = "all_v2",
    }
}

section! {
    /// Tables of the original.
    pub struct Tables("tables") {}
    with {
        /// Table of prediction files.
        preds: TablesPreds,
        /// Table of tracked runs.
        runs: TablesRuns,
    }
}

section! {
    /// Table of prediction files.
    pub struct TablesPreds("tables.preds") {
        /// Which table.
        r#type["type"]: PredsTable = PredsTable::ModelTopkV1 => flat("pfmt_type").read_by(readers::PREDS_TABLE);
        /// Predictions considered.
        topk: usize = 3 => flat("pfmt_topk").at_least(1.0).read_by(readers::PREDS_TABLE);
        /// Model name instead of file name.
        model_spec: bool = true => flat("pfmt_model_spec").read_by(readers::PREDS_TABLE);
        /// Sort column: `[+-][0]column`.
        sort: String = String::new() => flat("pfmt_sort").read_by(readers::PREDS_TABLE);
    }
}

section! {
    /// Table of tracked runs.
    pub struct TablesRuns("tables.runs") {
        /// Which table.
        r#type["type"]: RunsTable = RunsTable::AllV2 => flat("fmt_type").read_by(readers::RUNS_TABLE);
        /// Trained models, separated by blanks.
        models: String = String::new() => flat("fmt_models").read_by(readers::RUNS_TABLE);
        /// Host patterns of the training.
        model_hosts: String = String::new() => flat("fmt_model_hosts").read_by(readers::RUNS_TABLE);
        /// Host names of the evaluation.
        hosts: String = String::new() => flat("fmt_hosts").read_by(readers::RUNS_TABLE);
        /// Age filter such as `1d12h`: at least this old.
        min_ago: String = String::new() => flat("fmt_min_ago").read_by(readers::RUNS_TABLE);
        /// Age filter: at most this old.
        max_ago: String = String::new() => flat("fmt_max_ago").read_by(readers::RUNS_TABLE);
        /// Time filter such as `D20240131`: not before.
        min_stamp: String = String::new() => flat("fmt_min_stamp").read_by(readers::RUNS_TABLE);
        /// Time filter: not after.
        max_stamp: String = String::new() => flat("fmt_max_stamp").read_by(readers::RUNS_TABLE);
        /// Sort column.
        sort: String = String::new() => flat("fmt_sort").read_by(readers::RUNS_TABLE);
    }
}

section! {
    /// Collection of encyclopaedia images.
    pub struct Wiki("wiki") {
        /// Parent of the output directory.
        output_dir: String = "$SOURCE/extras/wiki_images".to_owned() => path().flat("wiki_collect_dir").read_by(readers::WIKI);
        /// Language of the Wikipedia that is asked.
        language: String = "en".to_owned() => read_by(readers::WIKI);
        /// Project of the Wikimedia movement that is asked.
        project: String = "wikipedia".to_owned() => read_by(readers::WIKI);
        /// Address of another service's api.php in its place.
        api_url: String = String::new() => read_by(readers::WIKI);
        /// E-mail or web address that the service finds in every request.
        contact: String = String::new() => read_by(readers::WIKI);
        /// Pictures to have in the end; 0: all there are.
        max_images: usize = 0 => read_by(readers::WIKI);
        /// Beginnings of the names of licences that are taken; none: all.
        licences: Vec<String> = Vec::new() => read_by(readers::WIKI);
    }
}

section! {
    /// Sampling of images.
    pub struct Sample("sample") {
        /// Images to draw from.
        input_dir: String = String::new() => path().flat("sample_input_dir").read_by(readers::SAMPLE);
        /// Parent of the output directory.
        output_dir: String = "$SOURCE/extras/sampled_images".to_owned() => path().flat("sample_output_dir").read_by(readers::SAMPLE);
        /// Number of images.
        count: usize = 100 => flat("sample_count").read_by(readers::SAMPLE);
        /// Nouns with special weight.
        special: Vec<String> = Vec::new() => flat("sample_special").read_by(readers::SAMPLE);
        /// Similarity of an image and a text that counts as unrelated.
        special_mean: f64 = 0.05 => flat("sample_special_mean").read_by(readers::SAMPLE);
        /// Factors of the exponent, one per noun.
        special_factor: Vec<f64> = Vec::new() => flat("sample_special_factor").read_by(readers::SAMPLE);
        /// One per noun in the place of `special_mean`.
        special_means: Vec<f64> = Vec::new() => read_by(readers::SAMPLE);
    }
}
