//! `[checkpoint]`: loading, resuming and saving.

use super::action::readers;
use super::choice::choice;
use super::section::section;

choice! {
    /// Foreign form in which checkpoints are also written.
    pub enum CheckpointExport {
        /// Native checkpoints only.
        #[default]
        None = "none",
        /// Also as `.train`, which the original loads.
        Train = "train",
    }
}

section! {
    /// Loading, resuming and saving of checkpoints.
    pub struct Checkpoint("checkpoint") {
        /// One checkpoint to start from: a file, a directory, a run, or `embedded`, the one in the program.
        load: String = String::new() => path().flat("load_model").read_by(readers::CHECKPOINT);
        /// Checkpoint files, directories of them, runs, and `embedded`.
        load_many: Vec<String> = Vec::new() => or_text().path().flat("load_models").read_by(readers::CHECKPOINTS);
        /// Newest files taken of a directory; 0: all.
        per_dir: usize = 1 => flat("load_models_dirnum").read_by(readers::CHECKPOINTS);
        /// Continue the run; else only the weights are used.
        resume: bool = true => flat("load_train_state").read_by(readers::TRAIN);
        /// Continue the schedule, ignoring the rate keys given.
        resume_lr: bool = true => flat("load_lr_state").read_by(readers::TRAIN);
        /// Fewest chunks between two checkpoints.
        save_every_min: usize = 12 => flat("save_every_min").read_by(readers::TRAIN);
        /// Most chunks between two checkpoints.
        save_every_max: usize = 48 => flat("save_every_max").read_by(readers::TRAIN);
        /// Running accuracy below which none is saved early.
        save_top1_min: f64 = 95.0 => flat("save_top1_min").unit("%").read_by(readers::TRAIN);
        /// Gain per chunk that counts as flattening.
        save_top1_delta: f64 = 0.5 => flat("save_top1_delta").unit("%").read_by(readers::TRAIN);
        /// Use the current dictionary for all checkpoints that are repaired.
        fix_force_vocab: bool = false => flat("fix_force_vtx").read_by(readers::FIX);
        /// Newest saved checkpoints that are kept; with `keep_best` and `keep_every` also 0: all.
        keep_last: usize = 0 => read_by(readers::TRAIN);
        /// Best saved checkpoints, by running token accuracy, that are kept.
        keep_best: usize = 0 => read_by(readers::TRAIN);
        /// Saved checkpoints are kept whose chunk is a multiple of this; 0: none for that reason.
        keep_every: usize = 0 => read_by(readers::TRAIN);
        /// Also write every checkpoint in this form to `outputs/<run id>/`.
        export: CheckpointExport = CheckpointExport::None => read_by(readers::TRAIN);
    }
}
