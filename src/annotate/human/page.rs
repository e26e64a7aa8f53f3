//! The page as one document: its style and its script are in it, and it may
//! load nothing from anywhere else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The document, and the rules that it is shown under.
pub(super) struct Page {
    pub(super) html: String,
    pub(super) security_policy: String,
}

impl Page {
    pub(super) fn new() -> Self {
        let html = HTML
            .replace(
                "<link rel=\"stylesheet\" href=\"page.css\">",
                &format!("<style>{STYLE}</style>"),
            )
            .replace(
                "<script src=\"page.js\" defer></script>",
                &format!("<script type=\"module\">{SCRIPT}</script>"),
            );
        let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
        let security_policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src 'self' \
             data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash(SCRIPT),
            hash(STYLE)
        );
        Self {
            html,
            security_policy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_whole_and_names_nothing_elsewhere() {
        let page = Page::new();
        assert!(page.html.contains(STYLE) && page.html.contains(SCRIPT));
        for elsewhere in [
            "http:", "https:", "src=\"//", "@import", "page.css", "page.js",
        ] {
            assert!(!page.html.contains(elsewhere), "{elsewhere}");
        }
    }
}
