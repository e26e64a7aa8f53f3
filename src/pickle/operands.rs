//! Reading the operands of pickle operations from a byte slice.

use super::error::Fault;

/// A position in a pickle.
pub(super) struct Operands<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Operands<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn malformed(&self, reason: impl Into<String>) -> Fault {
        Fault::Malformed {
            at: self.at,
            reason: reason.into(),
        }
    }

    /// The next `count` bytes; nothing is allocated.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| self.malformed("it ends too early"))?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Fault> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Fault> {
        self.array().map(i32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_le_bytes)
    }

    /// Big-endian, unlike all others.
    pub(super) fn f64(&mut self) -> Result<f64, Fault> {
        self.array().map(f64::from_be_bytes)
    }

    /// A whole number in two's complement of as many bytes as its length says.
    pub(super) fn long(&mut self) -> Result<i64, Fault> {
        let length = usize::from(self.u8()?);
        let bytes = self.take(length)?;
        if length > 8 {
            return Err(self.malformed("a whole number of more than 64 bits"));
        }
        let negative = bytes.last().is_some_and(|&last| last >= 0x80);
        let mut wide = if negative { [0xff; 8] } else { [0; 8] };
        wide[..length].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(wide))
    }

    /// A text of `length` bytes.
    pub(super) fn text(&mut self, length: usize) -> Result<&'a str, Fault> {
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed("a text that is not UTF-8"))
    }

    /// A text up to a line end.
    pub(super) fn line(&mut self) -> Result<&'a str, Fault> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n');
        let end = end.ok_or_else(|| self.malformed("a name without end"))?;
        let line = self.text(end)?;
        self.take(1)?;
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_of_any_length_up_to_eight_bytes() {
        for number in [0, 1, -1, 127, 128, -128, 255, i64::MAX - 1, i64::MIN] {
            let mut bytes = vec![8];
            bytes.extend(number.to_le_bytes());
            assert_eq!(Operands::new(&bytes).long().unwrap(), number);
        }
        assert_eq!(Operands::new(&[0]).long().unwrap(), 0);
        assert_eq!(Operands::new(&[1, 0xff]).long().unwrap(), -1);
        assert_eq!(Operands::new(&[2, 0xff, 0]).long().unwrap(), 255);
        assert!(Operands::new(&[9; 10]).long().is_err());
        assert!(Operands::new(&[3, 1]).long().is_err());
    }

    #[test]
    fn lines_end_with_a_line_end() {
        let mut operands = Operands::new(b"torch\nbool\nx");
        assert_eq!(operands.line().unwrap(), "torch");
        assert_eq!(operands.line().unwrap(), "bool");
        assert!(operands.line().is_err());
    }
}
