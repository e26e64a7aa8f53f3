//! `[test]`, `[zero_shot]`, `[eval]`, `[infer]` and `[predictions]`: looking
//! at what was made.

use super::action::readers;
use super::choice::choice;
use super::section::section;

choice! {
    /// Which nouns class names are aligned with.
    pub enum EvalAlignment {
        /// Those of each model, without threshold.
        #[default]
        Model = "model",
        /// Those of the dictionary after the threshold; a class without a noun is an error.
        Dictionary = "dictionary",
    }
}

choice! {
    /// Which nouns guide the decoding of classification datasets.
    pub enum EvalGuide {
        /// The nouns of the model that name a class.
        #[default]
        Classes = "classes",
        /// All nouns of the model: no class list is given.
        Vocabulary = "vocabulary",
    }
}

section! {
    /// Test of the data loader.
    pub struct Test("test") {
        /// Open the dataset in training mode.
        training: bool = true => flat("test_training").read_by(readers::TEST);
        /// Move data to the device.
        device: bool = true => flat("test_device").read_by(readers::TEST);
        /// Let the loader do that.
        patch: bool = true => flat("test_patch").read_by(readers::TEST);
        /// Check the consistency of every batch.
        consistent: bool = false => flat("test_consistent").read_by(readers::TEST);
        /// Print this many noun samples.
        print: usize = 0 => flat("test_print").read_by(readers::TEST);
        /// Measure the angles between the embeddings and the same with the noise of training (`noise`), for plots.
        angles: bool = false => read_by(readers::TEST);
    }
}

section! {
    /// Zero-shot classification by the embedder alone.
    pub struct ZeroShot("zero_shot") {
        /// Clean class names.
        clean: bool = false => flat("clip_clean").read_by(readers::ZERO_SHOT);
        /// Prompts of the classification dataset, else those of the noun dataset.
        clip_prompts: bool = true => flat("clip_prompts").read_by(readers::ZERO_SHOT);
        /// Write the mean shift between images and texts.
        measure_gap: bool = false => flat("measure_gap").read_by(readers::ZERO_SHOT);
    }
}

section! {
    /// Evaluation of decoders.
    pub struct Eval("eval") {
        /// Keep dropout on; decoding of nouns has none.
        train_mode: bool = false => flat("eval_train").read_by(readers::EVALUATION);
        /// Restrict predictions to the known nouns.
        guided: bool = false => flat("eval_guided").read_by(readers::EVALUATION);
        /// Print the first batch with its predictions.
        debug: bool = false => flat("eval_debug").read_by(readers::EVALUATION);
        /// Give every batch all token columns, so that further end tokens (`model.num_end_loss`) count whatever the batch.
        batch_independent: bool = false => read_by(readers::EVAL);
        /// Leave out samples whose nouns a model cannot express, and count them; else they are an error.
        skip_unknown: bool = false => read_by(readers::EVAL);
        /// Samples per dataset; 0: all.
        samples_max: usize = 0 => flat("eval_samples_max").read_by(readers::EVAL_CLS_DECODING);
        /// Categories of images to copy; empty: none.
        copy_images: String = String::new() => flat("eval_images").read_by(readers::EVAL_CLS);
        /// Where to copy them.
        copy_images_dir: String = "$SOURCE/extras/eval_images".to_owned() => path().flat("eval_images_dir").read_by(readers::EVAL_CLS);
        /// Which nouns guide guided decoding.
        guide: EvalGuide = EvalGuide::Classes => read_by(readers::EVAL_CLS_DECODING);
        /// Which nouns class names are aligned with.
        alignment: EvalAlignment = EvalAlignment::Model => read_by(readers::EVAL_CLS);
    }
}

section! {
    /// Nouns for own images and texts.
    pub struct Infer("infer") {
        /// Print results.
        log: bool = true => flat("infer_log").read_by(readers::INFER);
        /// Texts to classify.
        texts: Vec<String> = Vec::new() => or_text().flat("infer_texts").read_by(readers::INFER);
        /// Image files to classify, relative to `image_dir`.
        images: Vec<String> = Vec::new() => or_text().path().flat("infer_images").read_by(readers::INFER);
        /// Base directory of these.
        image_dir: String = "$SOURCE/extras/world".to_owned() => path().flat("infer_image_dir").read_by(readers::INFER_TABLE);
        /// Directory whose images are all classified.
        all_images_dir: String = String::new() => path().flat("infer_all_images_dir").read_by(readers::INFER);
        /// Class annotations JSON; `$IMAGEDIR`: the image directory.
        annotations: String = "$IMAGEDIR/_class_annotations.json".to_owned() => path().flat("infer_ann_json").read_by(readers::INFER_TABLE);
        /// Add missing samples to that file.
        annotations_update: bool = false => flat("infer_ann_json_update").read_by(readers::INFER);
        /// Guiding of the default decoding configuration.
        guided: bool = false => flat("infer_guided").read_by(readers::INFER);
        /// Dataset that supplies the guide nouns.
        guide_dataset: String = String::new() => flat("infer_guide_dataset").read_by(readers::INFER);
        /// Guide nouns given directly; they come first.
        guide_targets: Vec<String> = Vec::new() => flat("infer_guide_targets").read_by(readers::INFER);
        /// Write guide nouns in other spellings (case, plural) as each model knows them.
        guide_canonical: bool = false => read_by(readers::INFER);
        /// Debug output.
        debug: bool = false => flat("infer_debug").read_by(readers::INFER);
        /// Write a prediction JSON per model.
        predictions_json: bool = false => flat("infer_pred_json").read_by(readers::INFER);
    }
}

section! {
    /// Prediction files.
    pub struct Predictions("predictions") {
        /// Prediction JSONs and directories of them.
        load: Vec<String> = Vec::new() => path().flat("load_pred_jsons").read_by(readers::PREDS_TABLE);
        /// Directory of the images.
        image_dir: String = "$SOURCE/extras/world".to_owned() => path().flat("pred_image_dir").read_by(readers::PREDS_TABLE);
        /// Class annotations JSON; `$IMAGEDIR`: the image directory.
        annotations: String = "$IMAGEDIR/_class_annotations.json".to_owned() => path().flat("pred_ann_json").read_by(readers::PREDS_TABLE);
    }
}
