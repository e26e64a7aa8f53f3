//! `[train]` and `[noise]`: the training loop.

use super::action::readers;
use super::choice::choice;
use super::section::section;

choice! {
    /// Optimizer.
    pub enum OptimizerType: any_case {
        /// Adam with decoupled weight decay.
        #[default]
        AdamW = "AdamW",
        /// AdamW with projection of radial updates.
        AdamP = "AdamP",
    }
}

choice! {
    /// Learning-rate schedule after the warm-up.
    pub enum LrSchedule: any_case {
        /// Constant.
        Const = "const",
        /// Half a cosine from the initial to the final rate.
        #[default]
        Cosine = "cosine",
    }
}

choice! {
    /// Noise added to embeddings in training.
    pub enum NoiseScheme: any_case {
        /// No noise; written as an empty text.
        #[default]
        None = "",
        /// Gaussian vector of given rms norm.
        GaussElem = "GaussElem",
        /// Random direction with Gaussian norm.
        GaussVec = "GaussVec",
        /// Random direction at a Gaussian angle.
        GaussAngle = "GaussAngle",
        /// Random direction at a uniform angle.
        UniformAngle = "UniformAngle",
        /// `GaussElem`, or `UniformAngle` with the probability `mix_ratio`.
        GaussElemUniformAngle = "GaussElemUniformAngle",
    }
}

section! {
    /// Length and course of the training.
    pub struct Train("train") {
        /// Samples per chunk in units of the number of valid target nouns.
        chunk_scale: f64 = 50.0 => flat("chunk_scale").above(0.0).whole_default().read_by(readers::TRAIN);
        /// Passes over the dataset; 0: no limit.
        max_epochs: usize = 18 => flat("max_epochs").read_by(readers::TRAIN);
        /// Chunks; 0: no limit.
        max_chunks: usize = 0 => flat("max_chunks").read_by(readers::TRAIN);
        /// Batches per optimizer step.
        accum_factor: usize = 8 => flat("accum_factor").at_least(1.0).read_by(readers::ACCUMULATION);
        /// Largest 2-norm of all gradients together; 0 or less: no clipping and no norm statistics.
        gradient_clip: f64 = 1.0 => flat("gradient_clip").read_by(readers::TRAIN);
        /// Half-life of the running averages.
        ewa_halflife_chunks: f64 = 4.0 => flat("loss_ewa_halflife").above(0.0).whole_default().unit("chunks").read_by(readers::TRAIN);
        /// Give every target of a sample a prefix with dropout of its own, as the original does; slower; changes nothing with one target or without dropout.
        repeat_prefix: bool = false => read_by(readers::TRAIN);
    }
    with {
        /// Final phase with rescaled dropout.
        last_dropout: TrainLastDropout,
        /// Fixed vector added to embeddings.
        mean_shift: TrainMeanShift,
        /// Optimizer.
        optimizer: TrainOptimizer,
        /// Learning rate.
        lr: TrainLr,
        /// Ending before the last chunk.
        stop: TrainStop,
    }
}

section! {
    /// Final phase with rescaled dropout.
    pub struct TrainLastDropout("train.last_dropout") {
        /// Length of the phase; 0: none.
        chunks: usize = 0 => flat("last_dropout_chunks").read_by(readers::TRAIN);
        /// Factor for every dropout probability in it.
        factor: f64 = 0.0 => flat("last_dropout_factor").at_least(0.0).read_by(readers::TRAIN);
    }
}

section! {
    /// Fixed vector added to embeddings, which are then normalised again.
    pub struct TrainMeanShift("train.mean_shift") {
        /// Add it.
        enabled: bool = false => flat("mean_shift").read_by(readers::TRAIN);
        /// JSON with that vector; `$EMBEDDER`: the specification with `:` and `/` replaced by `_`.
        path: String = "$SOURCE/data/modality_gap_$EMBEDDER.json".to_owned() => path().flat("mean_shift_path").read_by(readers::TRAIN);
    }
}

section! {
    /// Optimizer.
    pub struct TrainOptimizer("train.optimizer") {
        /// Which; any case.
        r#type["type"]: OptimizerType = OptimizerType::AdamW => flat("optimizer").read_by(readers::TRAIN);
        /// Decay of the running mean of gradients.
        beta1: f64 = 0.9 => flat("beta1").at_least(0.0).below(1.0).read_by(readers::TRAIN);
        /// Decay of the running mean of squared gradients.
        beta2: f64 = 0.95 => flat("beta2").at_least(0.0).below(1.0).read_by(readers::TRAIN);
        /// Decoupled weight decay.
        weight_decay: f64 = 0.1 => flat("weight_decay").at_least(0.0).read_by(readers::TRAIN);
        /// Decay parameters with fewer than two dimensions too.
        decay_1d: bool = false => flat("weight_decay_1d").read_by(readers::TRAIN);
        /// Nesterov momentum; AdamP only.
        nesterov: bool = true => flat("nesterov").read_by(readers::TRAIN);
    }
}

section! {
    /// Learning rate.
    pub struct TrainLr("train.lr") {
        /// Initial (peak) rate.
        init: f64 = 0.0015 => flat("init_lr").at_least(0.0).read_by(readers::TRAIN);
        /// Lower end of the cosine.
        r#final["final"]: f64 = 0.0 => flat("final_lr").at_least(0.0).read_by(readers::TRAIN);
        /// Schedule; any case.
        schedule: LrSchedule = LrSchedule::Cosine => flat("lr_scheduler").read_by(readers::TRAIN);
        /// Chunks of linear warm-up.
        warmup_chunks: usize = 0 => flat("lr_warmup").read_by(readers::TRAIN);
    }
}

section! {
    /// Ending before the last chunk.
    pub struct TrainStop("train.stop") {
        /// End after this many chunks without a new lowest running loss; 0: never.
        plateau_chunks: usize = 0 => unit("chunks").read_by(readers::TRAIN);
        /// End after this time of training, over all attempts; 0: never.
        hours: f64 = 0.0 => at_least(0.0).unit("h").read_by(readers::TRAIN);
    }
}

section! {
    /// Noise added to embeddings in training.
    pub struct Noise("noise") {
        /// Scheme; any case; empty: none.
        scheme: NoiseScheme = NoiseScheme::None => flat("noise_scheme").read_by(readers::TRAIN);
        /// Norm of the added vector before the result is normalised.
        vec_norm: f64 = 0.0 => flat("noise_vec_norm").at_least(0.0).read_by(readers::TRAIN);
        /// Lower end of uniform angles.
        angle_min: f64 = 0.0 => flat("noise_angle_min").at_least(-180.0).at_most(180.0).unit("°").read_by(readers::TRAIN);
        /// Upper end of uniform angles.
        angle_max: f64 = 0.0 => flat("noise_angle_max").at_least(-180.0).at_most(180.0).unit("°").read_by(readers::TRAIN);
        /// Standard deviation of Gaussian angles.
        angle_std: f64 = 0.0 => flat("noise_angle_std").at_least(0.0).unit("°").read_by(readers::TRAIN);
        /// Share of the second scheme of a mixture.
        mix_ratio: f64 = 0.0 => flat("noise_mix_ratio").at_least(0.0).at_most(1.0).read_by(readers::TRAIN);
    }
}
