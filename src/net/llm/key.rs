//! The key of a service.

use std::fmt;

use super::error::LlmError;

/// The name of a key variable that means: no key.
const NO_KEY: &str = "none";

/// A secret. It is shown nowhere: neither by `Debug` nor in error texts.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// The key in the environment variable `variable`; none if that is `none`.
    ///
    /// # Errors
    /// The variable is not set, empty, or not printable ASCII.
    pub fn from_environment(variable: &str) -> Result<Option<Self>, LlmError> {
        if variable == NO_KEY {
            return Ok(None);
        }
        let value = std::env::var(variable).unwrap_or_default();
        let value = value.trim();
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(LlmError::NoKey {
                variable: variable.to_owned(),
            });
        }
        Ok(Some(Self(value.to_owned())))
    }

    /// The text, for the header of a request.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// `text` without the key in it.
    pub(super) fn hide_in(&self, text: &str) -> String {
        text.replace(&self.0, "[key]")
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey([key])")
    }
}
