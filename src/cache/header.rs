//! The fixed header of a cache file and where its sections lie
//! (`embedding-cache.md` section 5).

use super::dtype::{FloatDtype, IntDtype};
use super::error::{CacheError, Result};
use super::hash::ConfigHash;

/// First bytes of a complete file; zeros while it is being written.
pub const MAGIC: [u8; 32] = [
    0xa9, 0xfd, 0x4b, 0x14, 0x2a, 0x9a, 0xb8, 0x13, 0x6d, 0x15, 0x37, 0xca, 0xe8, 0x2b, 0xef, 0x82,
    0x42, 0x19, 0xdb, 0x4a, 0xb8, 0x93, 0xb2, 0x26, 0xa0, 0x1a, 0x3d, 0xe4, 0xad, 0x52, 0xb1, 0x99,
];

/// Version of files as the original writes them.
pub const VERSION: u8 = 1;

/// Version of files whose embeddings are stored in another type than they are
/// delivered in, which is single precision, as are the weights.
pub const VERSION_COMPACT: u8 = 2;

/// Bytes of the header.
pub const HEADER_SIZE: usize = 128;

/// Metadata of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Version of the format.
    pub version: u8,
    /// Samples have targets.
    pub use_targets: bool,
    /// No target is absent.
    pub full_targets: bool,
    /// Weights are uniform over the present targets.
    pub default_weights: bool,
    /// Weights of a sample sum to 1.
    pub unit_weights: bool,
    /// Readers must match the hashes.
    pub embedder_strict: bool,
    /// Hash of the embedder's configuration, or zeros.
    pub embedder_hash: ConfigHash,
    /// Hash of the target configuration, or zeros.
    pub target_config_hash: ConfigHash,
    /// Target nouns `R`, the empty one included; 0 without targets.
    pub target_nouns_num: u32,
    /// Bytes of the noun section.
    pub target_nouns_size: u32,
    /// Columns `C` of the token table.
    pub target_dim: u16,
    /// Type of the token table.
    pub target_dtype: IntDtype,
    /// Samples `N`.
    pub embed_num: u32,
    /// Targets per sample `M`.
    pub embed_targets_dim: u16,
    /// Type of target ids.
    pub embed_targets_dtype: IntDtype,
    /// Embedding dimension `F`.
    pub embed_dim: u16,
    /// Type of embeddings; of weights, too, in version 1.
    pub embed_dtype: FloatDtype,
}

impl Header {
    /// Header of a complete file. Checks magic bytes and version; element
    /// types are checked by [`parse_fields`](RawHeader::parse_fields), later,
    /// in the order of the specification.
    pub(super) fn check_start(bytes: &[u8; HEADER_SIZE]) -> Result<RawHeader<'_>> {
        if bytes[..MAGIC.len()] == [0; 32] {
            return Err(CacheError::Incomplete);
        }
        if bytes[..MAGIC.len()] != MAGIC {
            return Err(CacheError::NotACache);
        }
        let (raw, version) = (RawHeader { bytes }, bytes[32]);
        let dtype = FloatDtype::from_id(raw.u16(126));
        let is_compact = matches!(dtype, Ok(FloatDtype::F16 | FloatDtype::BF16));
        if version != VERSION && !(version == VERSION_COMPACT && is_compact) {
            return Err(CacheError::UnknownVersion { version });
        }
        Ok(raw)
    }

    /// Bytes of the header, with zeros instead of the magic bytes while the
    /// file is incomplete.
    pub(super) fn encode(&self, complete: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_SIZE);
        out.extend_from_slice(if complete { &MAGIC } else { &[0; 32] });
        out.push(self.version);
        for flag in [
            self.use_targets,
            self.full_targets,
            self.default_weights,
            self.unit_weights,
            self.embedder_strict,
        ] {
            out.push(u8::from(flag));
        }
        out.extend_from_slice(&self.embedder_hash.0);
        out.extend_from_slice(&self.target_config_hash.0);
        out.extend_from_slice(&self.target_nouns_num.to_le_bytes());
        out.extend_from_slice(&self.target_nouns_size.to_le_bytes());
        out.extend_from_slice(&self.target_dim.to_le_bytes());
        out.extend_from_slice(&self.target_dtype.id().to_le_bytes());
        out.extend_from_slice(&MASK_DTYPE_BOOL.to_le_bytes());
        out.extend_from_slice(&self.embed_num.to_le_bytes());
        out.extend_from_slice(&self.embed_targets_dim.to_le_bytes());
        out.extend_from_slice(&self.embed_targets_dtype.id().to_le_bytes());
        out.extend_from_slice(&self.embed_dim.to_le_bytes());
        out.extend_from_slice(&self.embed_dtype.id().to_le_bytes());
        out
    }

    /// Type in which embeddings and weights are delivered.
    pub fn delivered_dtype(&self) -> FloatDtype {
        match self.version {
            VERSION_COMPACT => FloatDtype::F32,
            _ => self.embed_dtype,
        }
    }

    /// Where the sections lie.
    pub fn layout(&self) -> Layout {
        Layout::of(self)
    }
}

const MASK_DTYPE_BOOL: u16 = 0;

/// A header whose magic bytes and version are right.
pub(super) struct RawHeader<'a> {
    bytes: &'a [u8; HEADER_SIZE],
}

impl RawHeader<'_> {
    fn array<const W: usize>(&self, offset: usize) -> [u8; W] {
        let mut out = [0; W];
        out.copy_from_slice(&self.bytes[offset..offset + W]);
        out
    }

    fn u16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.array(offset))
    }

    fn u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.array(offset))
    }

    fn flag(&self, offset: usize) -> bool {
        self.bytes[offset] != 0
    }

    pub(super) fn use_targets(&self) -> bool {
        self.flag(33)
    }

    pub(super) fn embedder_strict(&self) -> bool {
        self.flag(37)
    }

    pub(super) fn embedder_hash(&self) -> ConfigHash {
        ConfigHash(self.array(38))
    }

    pub(super) fn target_nouns_num(&self) -> u32 {
        self.u32(102)
    }

    pub(super) fn target_nouns_size(&self) -> u32 {
        self.u32(106)
    }

    /// All fields.
    pub(super) fn parse_fields(&self) -> Result<Header> {
        let mask_dtype = self.u16(114);
        if mask_dtype != MASK_DTYPE_BOOL {
            return Err(CacheError::UnknownDtype {
                kind: "mask",
                id: mask_dtype,
            });
        }
        Ok(Header {
            version: self.bytes[32],
            use_targets: self.use_targets(),
            full_targets: self.flag(34),
            default_weights: self.flag(35),
            unit_weights: self.flag(36),
            embedder_strict: self.embedder_strict(),
            embedder_hash: self.embedder_hash(),
            target_config_hash: ConfigHash(self.array(70)),
            target_nouns_num: self.target_nouns_num(),
            target_nouns_size: self.target_nouns_size(),
            target_dim: self.u16(110),
            target_dtype: IntDtype::from_id(self.u16(112))?,
            embed_num: self.u32(116),
            embed_targets_dim: self.u16(120),
            embed_targets_dtype: IntDtype::from_id(self.u16(122))?,
            embed_dim: self.u16(124),
            embed_dtype: FloatDtype::from_id(self.u16(126))?,
        })
    }
}

/// Rows of one kind: row `i` lies at `offset + i * stride`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// Byte of the first row.
    pub offset: u64,
    /// Bytes per row.
    pub stride: u64,
    /// Number of rows.
    pub rows: u64,
}

impl Section {
    /// First byte behind the section.
    pub fn end(&self) -> u64 {
        self.offset + self.size()
    }

    /// Bytes of the section.
    pub fn size(&self) -> u64 {
        self.stride * self.rows
    }

    /// Byte at which a row begins.
    pub fn at(&self, row: u64) -> u64 {
        self.offset + self.stride * row
    }
}

/// Sections of a file, back to back without padding or alignment. The counts
/// alone decide, not `use_targets`: they are zero in a file without targets.
/// The widths of the header fields keep every sum far below 2⁶⁴.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Noun names.
    pub nouns: Section,
    /// Token table.
    pub tokens: Section,
    /// Mask table.
    pub masks: Section,
    /// Target ids of the samples.
    pub target_ids: Section,
    /// Target weights of the samples.
    pub weights: Section,
    /// Embeddings of the samples.
    pub embeds: Section,
}

impl Layout {
    fn of(header: &Header) -> Self {
        let mut offset = HEADER_SIZE as u64;
        let mut section = |rows: u32, stride: usize| {
            let section = Section {
                offset,
                stride: stride as u64,
                rows: u64::from(rows),
            };
            offset = section.end();
            section
        };
        let float = header.embed_dtype.bytes();
        let weight = header.delivered_dtype().bytes();
        let nouns = header.target_nouns_num;
        let columns = usize::from(header.target_dim);
        let targets = usize::from(header.embed_targets_dim);
        let samples = header.embed_num;
        Self {
            nouns: section(header.target_nouns_size, 1),
            tokens: section(nouns, columns * header.target_dtype.bytes()),
            masks: section(nouns, columns),
            target_ids: section(samples, targets * header.embed_targets_dtype.bytes()),
            weights: section(samples, targets * weight),
            embeds: section(samples, usize::from(header.embed_dim) * float),
        }
    }

    /// Size of the whole file.
    pub fn total_size(&self) -> u64 {
        self.embeds.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_million_wide_samples_are_counted_right() {
        let header = Header {
            version: VERSION,
            use_targets: true,
            full_targets: false,
            default_weights: true,
            unit_weights: true,
            embedder_strict: true,
            embedder_hash: ConfigHash::NONE,
            target_config_hash: ConfigHash::NONE,
            target_nouns_num: 50_000,
            target_nouns_size: 600_000,
            target_dim: 12,
            target_dtype: IntDtype::I64,
            embed_num: 100_000_000,
            embed_targets_dim: 3,
            embed_targets_dtype: IntDtype::I32,
            embed_dim: 1152,
            embed_dtype: FloatDtype::F32,
        };
        let layout = header.layout();
        assert_eq!(layout.weights.size(), 1_200_000_000);
        assert_eq!(
            layout.total_size(),
            128 + 600_000 + 50_000 * 12 * 9 + 100_000_000 * (3 * 8 + 1152 * 4)
        );
    }
}
