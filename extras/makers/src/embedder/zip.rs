//! A zip archive of stored (uncompressed) files.

/// Builds the archive in memory.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
}

impl Archive {
    /// Adds a file and returns the offset of its first byte in the archive.
    pub fn add(&mut self, name: &str, data: &[u8]) -> usize {
        let start = self.bytes.len() as u32;
        let mut common = Vec::new();
        // version 10, no flags, stored, 1980-01-01 00:00
        for field in [10u16, 0, 0, 0, 0x21] {
            common.extend(field.to_le_bytes());
        }
        common.extend(crc32fast::hash(data).to_le_bytes());
        common.extend((data.len() as u32).to_le_bytes());
        common.extend((data.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend(0u16.to_le_bytes());
        self.bytes.extend(b"PK\x03\x04");
        self.bytes.extend(&common);
        self.bytes.extend(name.as_bytes());
        let offset = self.bytes.len();
        self.bytes.extend(data);
        self.directory.extend(b"PK\x01\x02\x0a\x00");
        self.directory.extend(&common);
        // no comment, disk 0, no attributes
        self.directory.extend([0u8; 10]);
        self.directory.extend(start.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.count += 1;
        offset
    }

    /// Closes the archive.
    pub fn finish(mut self) -> Vec<u8> {
        let start = self.bytes.len() as u32;
        let size = self.directory.len() as u32;
        self.bytes.append(&mut self.directory);
        self.bytes.extend(b"PK\x05\x06\0\0\0\0");
        self.bytes.extend(self.count.to_le_bytes());
        self.bytes.extend(self.count.to_le_bytes());
        self.bytes.extend(size.to_le_bytes());
        self.bytes.extend(start.to_le_bytes());
        self.bytes.extend(0u16.to_le_bytes());
        self.bytes
    }
}
