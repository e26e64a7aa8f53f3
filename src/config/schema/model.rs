//! `[model]`: the object decoder.

use super::action::readers;
use super::choice::choice;
use super::fraction::Fraction;
use super::section::section;

choice! {
    /// Decoder class.
    pub enum ModelType {
        /// Transformer decoder with the embedding as prefix.
        #[default]
        PrefixedIterDecoder = "PrefixedIterDecoder",
        /// Decoder without parameters, for tests of the loop.
        DudDecoder = "DudDecoder",
    }
}

choice! {
    /// Activation function.
    pub enum Activation {
        /// max(x, 0).
        Relu = "relu",
        /// Gaussian error linear unit, exact form.
        #[default]
        Gelu = "gelu",
        /// Hyperbolic tangent.
        Tanh = "tanh",
    }
}

choice! {
    /// Hidden width of the input MLP, of its input and output widths.
    pub enum MlpHidden {
        /// No hidden layer.
        #[default]
        None = "none",
        /// The smaller.
        Min = "min",
        /// The larger.
        Max = "max",
        /// Arithmetic mean.
        Amean = "amean",
        /// Geometric mean.
        Gmean = "gmean",
    }
}

choice! {
    /// ReZero scalars of residual branches.
    pub enum Rezero {
        /// None.
        #[default]
        None = "none",
        /// One per residual branch.
        Perskip = "perskip",
        /// One per layer.
        Perlayer = "perlayer",
    }
}

choice! {
    /// Initialisation of the input MLP.
    pub enum MlpInit {
        /// As linear layers usually are.
        Default = "default",
        /// Variance-preserving.
        #[default]
        Balanced = "balanced",
    }
}

choice! {
    /// Initialisation of the transformer.
    pub enum TransformerInit {
        /// As transformer layers usually are.
        Default = "default",
        /// As open_clip's text tower.
        Open = "open",
        /// Variance-preserving.
        #[default]
        Balanced = "balanced",
    }
}

section! {
    /// Structure, precision and initialisation of the object decoder.
    pub struct Model("model") {
        /// Decoder class.
        r#type["type"]: ModelType = ModelType::PrefixedIterDecoder => flat("model").restored().read_by(readers::TARGET_OR_DECODER);
        /// Matrix products in half precision when the decoder is trained on a GPU.
        amp: bool = false => flat("amp").read_by(readers::DECODER);
        /// bf16 instead of f16 in that case.
        amp_bf16: bool = true => flat("amp_bf16").read_by(readers::DECODER);
        /// Graph compilation in the original; accepted and ignored.
        compile: bool = false => flat("compile").read_by(readers::DECODER);
        /// Round the stored vocabulary up to a multiple of 64.
        vocab_quant: bool = false => flat("vocab_quant").structural().read_by(readers::DECODER);
        /// End tokens that count in the loss.
        num_end_loss: usize = 1 => flat("num_end_loss").restored().at_least(1.0).read_by(readers::DECODER);
        /// Smoothing of the cross entropy.
        label_smoothing: f64 = 0.0 => flat("label_smoothing").restored().at_least(0.0).below(1.0).read_by(readers::DECODER);
        /// Transformer width E.
        hidden_dim: usize = 512 => flat("hidden_dim").structural().at_least(1.0).read_by(readers::DECODER);
        /// Feed-forward width as a fraction of E: text, whole or floating-point number; E times it must be whole.
        feedforward_scale: Fraction = Fraction::ratio("1/4", 1, 4) => flat("feedfwd_scale").structural().above(0.0).read_by(readers::DECODER);
        /// Prefix positions P that the embedding is mapped to.
        prefix_len: usize = 4 => flat("mlp_seq_len").structural().at_least(1.0).read_by(readers::DECODER);
        /// Dropout probability before the first layer.
        input_dropout: f64 = 0.1 => flat("input_dropout").at_least(0.0).below(1.0).read_by(readers::DECODER);
        /// Transformer layers.
        layers: usize = 6 => flat("num_layers").structural().at_least(1.0).read_by(readers::DECODER);
        /// Attention heads; must divide E.
        heads: usize = 8 => flat("num_heads").structural().at_least(1.0).read_by(readers::DECODER);
        /// Dropout probability inside layers.
        layer_dropout: f64 = 0.1 => flat("layer_dropout").at_least(0.0).below(1.0).read_by(readers::DECODER);
        /// Activation in layers.
        activation: Activation = Activation::Gelu => flat("layer_activation").structural().read_by(readers::DECODER);
        /// Normalise before (not after) attention and feed-forward.
        norm_first: bool = true => flat("layer_norm_first").structural().read_by(readers::DECODER);
        /// Biases in layers.
        layer_bias: bool = false => flat("layer_bias").structural().read_by(readers::DECODER);
        /// Bias of the output layer.
        logits_bias: bool = false => flat("logits_bias").structural().read_by(readers::DECODER);
        /// Token embedding and output layer share their weights.
        weight_tying: bool = true => flat("weight_tying").structural().read_by(readers::DECODER);
        /// Prefix positions see only those before them.
        strictly_causal: bool = false => flat("strictly_causal").structural().read_by(readers::DECODER);
        /// Nested tensors in the original's inference; accepted and ignored.
        nested: bool = false => flat("enable_nested").structural().read_by(readers::DECODER);
        /// ReZero scalars; the names of the weights depend on it.
        rezero: Rezero = Rezero::None => flat("init_rezero_mode").restored().read_by(readers::DECODER);
    }
    with {
        /// MLP that maps the embedding to the prefix.
        mlp: ModelMlp,
        /// Initialisation of fresh weights.
        init: ModelInit,
    }
}

section! {
    /// MLP that maps the embedding to the prefix.
    pub struct ModelMlp("model.mlp") {
        /// Width of its hidden layer.
        hidden: MlpHidden = MlpHidden::None => flat("mlp_hidden_layer").structural().read_by(readers::DECODER);
        /// Bias of its hidden layer.
        bias: bool = false => flat("mlp_hidden_bias").structural().read_by(readers::DECODER);
        /// Normalisation of its hidden layer.
        norm: bool = false => flat("mlp_hidden_norm").structural().read_by(readers::DECODER);
        /// Activation of its hidden layer.
        activation: Activation = Activation::Gelu => flat("mlp_hidden_activation").structural().read_by(readers::DECODER);
    }
}

section! {
    /// Initialisation of fresh weights.
    pub struct ModelInit("model.init") {
        /// Biases start at zero.
        bias_zero: bool = true => flat("init_bias_zero").read_by(readers::DECODER);
        /// Weights of the input MLP.
        mlp_mode: MlpInit = MlpInit::Balanced => flat("init_mlp_mode").read_by(readers::DECODER);
        /// The MLP's outputs start with unit norm.
        mlp_unit_norm: bool = false => flat("init_mlp_unit_norm").read_by(readers::DECODER);
        /// Weights of the transformer.
        mode: TransformerInit = TransformerInit::Balanced => flat("init_tfrm_mode").read_by(readers::DECODER);
        /// Token embeddings start with unit norm.
        unit_norm: bool = false => flat("init_tfrm_unit_norm").read_by(readers::DECODER);
        /// Weights of the last normalisation start for unit norm.
        unit_postnorm: bool = true => flat("init_tfrm_unit_postnorm").read_by(readers::DECODER);
        /// Scale the projections back to the residual stream by the number of layers.
        proj_layers: bool = true => flat("init_tfrm_proj_layers").read_by(readers::DECODER);
        /// Normalisation weights inside residual branches start at zero.
        zero_norm: bool = false => flat("init_zero_norm").read_by(readers::DECODER);
    }
}
