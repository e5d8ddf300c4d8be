//! Values taken off the front of any bytes. Where none are left there are zeros, so that every input means
//! something.

/// What has not been taken yet.
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub fn i64(&mut self) -> i64 {
        let taken = self.take(8);
        taken.iter().fold(0, |number, byte| number << 8 | i64::from(*byte))
    }

    /// As many bytes as the next byte says.
    pub fn chunk(&mut self) -> &'a [u8] {
        let length = self.u8();
        self.take(usize::from(length))
    }

    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.chunk()).into_owned()
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, left) = self.0.split_at(length.min(self.0.len()));
        self.0 = left;
        taken
    }
}
