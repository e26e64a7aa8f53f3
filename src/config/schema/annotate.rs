//! `[annotate.gpt]`: annotation by a model, for `novic annotate gpt`.

use super::choice::choice;
use super::section::section;

choice! {
    /// Form of answers.
    pub enum AnnotateAnswer {
        /// The most reliable one that the service offers.
        #[default]
        Auto = "auto",
        /// JSON that keeps to a schema.
        Schema = "schema",
        /// JSON.
        Json = "json",
        /// Plain text.
        Text = "text",
    }
}

choice! {
    /// How questions are sent.
    pub enum AnnotateMode {
        /// In batches if there are many.
        #[default]
        Auto = "auto",
        /// One by one.
        Single = "single",
        /// In batches.
        Batch = "batch",
    }
}

choice! {
    /// How closely images are looked at.
    pub enum AnnotateDetail {
        /// At a small copy.
        #[default]
        Low = "low",
        /// At tiles of it.
        High = "high",
        /// As the service chooses.
        Auto = "auto",
    }
}

choice! {
    /// Name of the limit of an answer.
    pub enum AnnotateLimit {
        /// Whichever the service knows.
        #[default]
        Auto = "auto",
        /// The old one.
        MaxTokens = "max_tokens",
        /// The new one.
        MaxCompletionTokens = "max_completion_tokens",
    }
}

choice! {
    /// Waits between tries.
    pub enum AnnotateBackoff {
        /// By chance, so that not all requests come at once.
        #[default]
        Jitter = "jitter",
        /// Like the original, after failures in a row.
        Novic = "novic",
    }
}

section! {
    /// What a model costs. What is absent is as known for the model, or as `[annotate.gpt]` says.
    pub struct ModelPrice("annotate.gpt.price") {
        /// Price of a million tokens of requests.
        input: Option<f64> = None => at_least(0.0).cosmetic().unit("USD");
        /// Price of a million tokens that were seen before; none: as any other.
        cached_input: Option<f64> = None => at_least(0.0).cosmetic().unit("USD");
        /// Price of a million tokens of answers.
        output: Option<f64> = None => at_least(0.0).cosmetic().unit("USD");
        /// Share of the price that batches save.
        batch_discount: Option<f64> = None => at_least(0.0).at_most(1.0).cosmetic();
        /// Tokens of an image.
        image_tokens_low: Option<u64> = None => cosmetic();
        /// Tokens of a tile of an image that is looked at closely.
        image_tokens_tile: Option<u64> = None => cosmetic();
    }
}

section! {
    /// Annotation by a model. What is absent has the default of `novic annotate gpt`, whose options win.
    pub struct AnnotateGpt("annotate.gpt") {
        /// State file.
        state: Option<String> = None => path().cosmetic();
        /// Directory of the images.
        images: Option<String> = None => path().cosmetic();
        /// Directory of their small copies, in that of the images.
        images_small: String = "512px".to_owned() => cosmetic();
        /// Longest side of small copies.
        small_size: usize = 512 => at_least(28.0).at_most(8192.0).cosmetic().unit("pixels");
        /// Quality of small copies.
        small_quality: usize = 85 => at_least(1.0).at_most(100.0).cosmetic();
        /// Make no small copies: all of them must be there.
        small_ready: bool = false => cosmetic();
        /// Version of the state file; none: as it is.
        state_format: Option<u64> = None => at_least(1.0).at_most(2.0).cosmetic();
        /// Directory of batch files, in that of the images.
        batch_dir: String = "batches".to_owned() => cosmetic();
        /// Prediction files, or directories of them.
        predictions: Vec<String> = Vec::new() => or_text().cosmetic();
        /// Nouns per sample and configuration.
        topk: usize = 1 => at_least(1.0).cosmetic();
        /// Model to ask.
        model: String = "gpt-4o-2024-05-13".to_owned() => cosmetic();
        /// Opinions per pair, at least and at most.
        opinions: Vec<u64> = vec![3, 5] => cosmetic();
        /// Share of equal opinions that decides.
        confidence: f64 = 0.78 => above(0.5).cosmetic();
        /// Nouns per question, up to twice as many.
        min_nouns: usize = 8 => at_least(1.0).cosmetic();
        /// Seed of the order of nouns and questions.
        seed: u64 = 1 => cosmetic();
        /// Ask in the order in which nouns are dealt.
        no_shuffle: bool = false => cosmetic();
        /// What the model is told.
        prompt: String = "describe-then-judge-1".to_owned() => cosmetic();
        /// What it is told instead: a text, or a file of it.
        instruction: Option<String> = None => cosmetic();
        /// Go on with another prompt than before.
        allow_prompt_change: bool = false => cosmetic();
        /// Ask again about pairs that were given up.
        retry_failed: bool = false => cosmetic();
        /// Say what a run would take, and ask nobody.
        dry_run: bool = false => cosmetic();
        /// Requests that are printed as they would be sent when nobody is asked.
        show: usize = 0 => cosmetic();
        /// Directory for the batch files of an estimate.
        write_jsonl: Option<String> = None => cosmetic();
        /// Form of answers.
        answer: AnnotateAnswer = AnnotateAnswer::Auto => cosmetic();
        /// How questions are sent.
        mode: AnnotateMode = AnnotateMode::Auto => cosmetic();
        /// How closely images are looked at.
        detail: AnnotateDetail = AnnotateDetail::Low => cosmetic();
        /// Longest answer.
        answer_tokens: usize = 512 => at_least(1.0).cosmetic().unit("tokens");
        /// Sampling temperature; null: the service's own.
        temperature: Option<f64> = Some(0.2) => at_least(0.0).cosmetic();
        /// Share of the probability that is sampled from; null: the service's own.
        top_p: Option<f64> = Some(0.6) => above(0.0).cosmetic();
        /// Seed of the sampling, for services that have one.
        sampling_seed: Option<u64> = None => cosmetic();
        /// More members of requests, as a JSON object.
        extra_body: Option<String> = None => cosmetic();
        /// Name of the limit of an answer.
        token_param: AnnotateLimit = AnnotateLimit::Auto => cosmetic();
        /// Address of the service, with its version.
        base_url: Option<String> = None => cosmetic();
        /// Environment variable that holds the key, or `none`.
        api_key_env: String = "OPENAI_API_KEY".to_owned() => cosmetic();
        /// Send the key in the clear to other machines.
        insecure_http: bool = false => cosmetic();
        /// Requests at a time.
        concurrency: usize = 8 => at_least(1.0).cosmetic();
        /// Requests per minute.
        rpm: Option<f64> = None => above(0.0).cosmetic();
        /// Tokens per minute.
        tpm: Option<f64> = None => above(0.0).cosmetic();
        /// Tries per request.
        attempts: usize = 5 => at_least(1.0).cosmetic();
        /// Longest wait before the second try; it doubles with each.
        backoff_base: f64 = 1.0 => above(0.0).cosmetic().unit("s");
        /// Waits between tries.
        backoff: AnnotateBackoff = AnnotateBackoff::Jitter => cosmetic();
        /// Longest time of a request.
        timeout: f64 = 120.0 => above(0.0).cosmetic().unit("s");
        /// Longest time until a connection is there.
        connect_timeout: f64 = 10.0 => above(0.0).cosmetic().unit("s");
        /// Log of requests, or `none`; none given: beside the state file.
        log: Option<String> = None => cosmetic();
        /// Directory for the whole bodies of requests and responses.
        log_bodies: Option<String> = None => cosmetic();
        /// Requests in all, at most.
        max_requests: Option<u64> = None => cosmetic();
        /// Cost in all, at most.
        max_cost: Option<f64> = None => at_least(0.0).cosmetic().unit("USD");
        /// Tokens in all, at most.
        max_tokens: Option<u64> = None => cosmetic();
        /// Price of a million tokens of requests.
        price_input: Option<f64> = None => at_least(0.0).cosmetic().unit("USD");
        /// Price of a million tokens that were seen before; none: as any other.
        price_cached_input: Option<f64> = None => at_least(0.0).cosmetic().unit("USD");
        /// Price of a million tokens of answers.
        price_output: Option<f64> = None => at_least(0.0).cosmetic().unit("USD");
        /// Share of the price that batches save.
        batch_discount: f64 = 0.5 => at_least(0.0).at_most(1.0).cosmetic();
        /// Tokens of an image; none: as known for the model.
        image_tokens_low: Option<u64> = None => cosmetic();
        /// Tokens of a tile of an image that is looked at closely; none: as known for the model.
        image_tokens_tile: Option<u64> = None => cosmetic();
        /// Questions per batch.
        max_batch_requests: usize = 49_000 => at_least(20.0).cosmetic();
        /// Size of a batch.
        max_batch_mib: u64 = 90 => at_least(1.0).cosmetic().unit("MiB");
        /// Size of all batches under way.
        max_files_mib: u64 = 5120 => cosmetic().unit("MiB");
        /// Batches under way.
        max_pending_batches: usize = 50 => at_least(1.0).cosmetic();
        /// Thousands of tokens of all batches under way.
        max_pending_ktokens: u64 = 10_000 => at_least(5.0).cosmetic();
        /// Questions that are few enough to be asked one by one.
        unbatch_thres: usize = 50 => cosmetic();
        /// Time between the first looks at batches; it grows.
        poll: f64 = 15.0 => above(0.0).cosmetic().unit("s");
        /// Leave files at the service.
        keep_remote: bool = false => cosmetic();
    }
}
