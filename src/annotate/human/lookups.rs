//! Where people look a noun up.

use crate::net::LOOKUPS;

/// Templates of addresses, with `{noun}` in the place of the noun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookups {
    /// A definition.
    pub definition: String,
    /// Pictures.
    pub images: String,
    /// A page of WordNet.
    pub wordnet: String,
}

impl Default for Lookups {
    fn default() -> Self {
        let [definition, images, wordnet] = LOOKUPS.map(str::to_owned);
        Self {
            definition,
            images,
            wordnet,
        }
    }
}

impl Lookups {
    /// An address for a noun.
    pub fn address(template: &str, noun: &str) -> String {
        template.replace("{noun}", &form_encoded(noun))
    }
}

/// As forms send texts.
fn form_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => encoded.push('+'),
            b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nouns_cannot_change_the_address() {
        let address = Lookups::address("https://h/?q={noun}&x", "a b&c=é/#");
        assert_eq!(address, "https://h/?q=a+b%26c%3D%C3%A9%2F%23&x");
    }
}
