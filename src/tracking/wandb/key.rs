//! The API key: from the environment, else from `~/.netrc`.

use std::fmt;
use std::path::{Path, PathBuf};

use super::client::host;
use super::error::WandbError;

/// Variable that holds the key.
const VARIABLE: &str = "WANDB_API_KEY";

/// A secret. It is shown nowhere: neither by `Debug` nor in error texts.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// A key.
    pub fn new(key: &str) -> ApiKey {
        ApiKey(key.to_owned())
    }

    /// The key that the user has for the service at `base_url`.
    ///
    /// # Errors
    /// There is none, or the address is none.
    pub fn of_service(base_url: &str) -> Result<ApiKey, WandbError> {
        let host = host(base_url)?;
        ApiKey::find(&host).ok_or(WandbError::NoKey { host })
    }

    /// The key for the machine `host`: `WANDB_API_KEY`, else the password of
    /// that machine in the file that `NETRC` names, else in `~/.netrc`.
    fn find(host: &str) -> Option<ApiKey> {
        let given = std::env::var(VARIABLE).ok();
        let given = given.map(|key| key.trim().to_owned());
        if let Some(key) = given.filter(|key| !key.is_empty()) {
            return Some(ApiKey(key));
        }
        let file = std::env::var_os("NETRC").map(PathBuf::from).or_else(|| {
            let home = std::env::var_os("HOME")?;
            Some(Path::new(&home).join(".netrc"))
        })?;
        let text = std::fs::read_to_string(file).ok()?;
        password(&text, host).map(ApiKey)
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

/// The password of a machine in the text of a netrc file.
fn password(text: &str, host: &str) -> Option<String> {
    let mut here = false;
    // What the next word is the value of.
    let mut of = "";
    for line in text.lines() {
        for word in line.split_whitespace() {
            match (of, word) {
                ("", word) if word.starts_with('#') => break,
                ("", "default") => here = false,
                ("", word) => {
                    of = word;
                    continue;
                }
                ("machine", name) => here = name == host,
                ("password", password) if here => return Some(password.to_owned()),
                _ => {}
            }
            of = "";
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_that_of_the_machine() {
        let text = "machine other\n  login x\n  password no\n# machine api.wandb.ai password no\n\
                    machine api.wandb.ai login #user password\n#yes\ndefault password never\n";
        assert_eq!(password(text, "api.wandb.ai").as_deref(), Some("#yes"));
        assert_eq!(password(text, "nowhere"), None);
        assert_eq!(
            password("machine api.wandb.ai password", "api.wandb.ai"),
            None
        );
    }

    #[test]
    fn it_is_not_shown() {
        let key = ApiKey("secret".into());
        assert!(!format!("{key:?}").contains("secret"));
        assert_eq!(key.hide_in("wrong key secret"), "wrong key [key]");
    }
}
