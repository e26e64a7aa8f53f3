//! The built-in dictionary: compressed in the program, unpacked when asked
//! for (`nouns-captions.md` section 9).

use super::NounsError;

/// Made by `novic nouns build`; notices and licences lie beside it.
const COMPRESSED: &[u8] = include_bytes!("../../extras/dictionary/nouns.json.zst");
/// BLAKE3 of the unpacked JSON, so that keys need not unpack it.
const IDENTITY: &str = include_str!("../../extras/dictionary/nouns.json.b3");
/// No dictionary we ship unpacks to more bytes than this.
const SIZE_LIMIT: usize = 64 << 20;

/// The JSON text.
pub(super) fn json() -> Result<Vec<u8>, NounsError> {
    zstd::bulk::decompress(COMPRESSED, SIZE_LIMIT).map_err(|error| damaged(&error.to_string()))
}

/// BLAKE3 of the JSON text.
pub(super) fn identity() -> Result<blake3::Hash, NounsError> {
    let hex = IDENTITY.split_whitespace().next().unwrap_or_default();
    blake3::Hash::from_hex(hex).map_err(|error| damaged(&error.to_string()))
}

fn damaged(reason: &str) -> NounsError {
    NounsError::EmbeddedDictionary {
        reason: reason.to_owned(),
    }
}
