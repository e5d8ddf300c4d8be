//! Reads a value's fields in order. It never panics: bytes that are missing or left over are errors.

use super::RowError;

pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts after the version byte, which must be one of 1 to `known`.
    pub(crate) fn versioned(bytes: &'a [u8], known: u8) -> Result<Self, RowError> {
        let mut reader = Self { bytes, at: 0 };
        let found = reader.u8()?;
        if found == 0 || found > known {
            return Err(RowError::UnknownVersion { found, known });
        }
        Ok(reader)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, RowError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, RowError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, RowError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, RowError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(crate) fn i64_if(&mut self, present: bool) -> Result<Option<i64>, RowError> {
        if present { self.i64().map(Some) } else { Ok(None) }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], RowError> {
        let expected = self.at.saturating_add(length);
        let taken = self
            .bytes
            .get(self.at..expected)
            .ok_or(RowError::Truncated { expected, found: self.bytes.len() })?;
        self.at = expected;
        Ok(taken)
    }

    pub(crate) fn end(self) -> Result<(), RowError> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            found => Err(RowError::TrailingBytes { found }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RowError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }
}
