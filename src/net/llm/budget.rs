//! What may be spent, and what has been.

use super::answer::Usage;

/// Prices in USD per million tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// Tokens of the request.
    pub input: f64,
    /// Tokens of the request that were seen before.
    pub cached_input: f64,
    /// Tokens of the answer.
    pub output: f64,
}

impl Price {
    /// Without a discount for tokens that were seen before.
    pub fn new(input: f64, output: f64) -> Self {
        Self {
            input,
            cached_input: input,
            output,
        }
    }

    /// All of them times a factor.
    pub fn times(self, factor: f64) -> Self {
        Self {
            input: self.input * factor,
            cached_input: self.cached_input * factor,
            output: self.output * factor,
        }
    }

    /// Cost in USD.
    pub fn cost(&self, usage: &Usage) -> f64 {
        let fresh = (usage.prompt_tokens - usage.cached_tokens) as f64;
        let cached = usage.cached_tokens as f64;
        let output = usage.completion_tokens as f64;
        (fresh * self.input + cached * self.cached_input + output * self.output) / 1e6
    }
}

/// Prices of the models that are asked by default.
pub fn known_price(model: &str) -> Option<Price> {
    match model {
        "gpt-3.5-turbo-1106" => Some(Price::new(1.0, 2.0)),
        "gpt-4o-2024-05-13" => Some(Price::new(5.0, 15.0)),
        _ => None,
    }
}

/// What may be spent at most; what is absent is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Requests that are sent.
    pub requests: Option<u64>,
    /// Tokens of requests and answers.
    pub tokens: Option<u64>,
    /// USD.
    pub cost: Option<f64>,
}

/// What has been spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Spent {
    /// Requests that were sent.
    pub requests: u64,
    /// Requests that were answered, usefully or not.
    pub answers: u64,
    /// Their tokens.
    pub usage: Usage,
    /// Their cost in USD, if prices are known.
    pub cost: f64,
}

impl Limits {
    /// The limit that one more request would break if it takes `worst`, beside
    /// what is `spent` and what others in flight may take.
    pub(super) fn broken_by(
        &self,
        spent: &Spent,
        in_flight: &Usage,
        worst: &Usage,
        price: Option<&Price>,
    ) -> Option<String> {
        if let Some(limit) = self.requests
            && spent.requests >= limit
        {
            return Some(format!("{limit} requests"));
        }
        let mut more = *in_flight;
        more += *worst;
        if let Some(limit) = self.tokens
            && spent.usage.total() + more.total() > limit
        {
            return Some(format!("{limit} tokens"));
        }
        if let (Some(limit), Some(price)) = (self.cost, price)
            && spent.cost + price.cost(&more) > limit
        {
            return Some(format!("{limit} USD"));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(prompt_tokens: u64, completion_tokens: u64) -> Usage {
        Usage {
            prompt_tokens,
            cached_tokens: 0,
            completion_tokens,
        }
    }

    #[test]
    fn cost_counts_cached_tokens_at_their_price() {
        let price = Price {
            input: 5.0,
            cached_input: 1.0,
            output: 15.0,
        };
        let usage = Usage {
            cached_tokens: 400_000,
            ..usage(1_000_000, 100_000)
        };
        assert!((price.cost(&usage) - (3.0 + 0.4 + 1.5)).abs() < 1e-9);
    }

    #[test]
    fn limits_count_what_is_on_its_way() {
        let price = Price::new(1.0, 1.0);
        let limits = Limits {
            requests: Some(10),
            tokens: Some(1000),
            cost: Some(0.0009),
        };
        let broken = |requests, done, in_flight| {
            let spent = Spent {
                requests,
                usage: usage(done, 0),
                cost: price.cost(&usage(done, 0)),
                ..Spent::default()
            };
            limits.broken_by(&spent, &usage(0, in_flight), &usage(50, 50), Some(&price))
        };
        assert_eq!(broken(9, 400, 400), None);
        assert_eq!(broken(10, 0, 0).as_deref(), Some("10 requests"));
        assert_eq!(broken(0, 501, 400).as_deref(), Some("1000 tokens"));
        assert_eq!(broken(0, 401, 400).as_deref(), Some("0.0009 USD"));
    }
}
