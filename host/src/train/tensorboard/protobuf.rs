//! As much of protobuf's wire format as events need.

/// A message under construction.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

/// How a field's value is written.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Eight = 1,
    Bytes = 2,
    Four = 5,
}

impl Message {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// A `double`.
    pub(super) fn double(&mut self, field: u8, value: f64) {
        self.key(field, Wire::Eight);
        self.0.extend(value.to_le_bytes());
    }

    /// A `float`.
    pub(super) fn float(&mut self, field: u8, value: f32) {
        self.key(field, Wire::Four);
        self.0.extend(value.to_le_bytes());
    }

    /// An `int64` that is not negative, or an `enum`.
    pub(super) fn integer(&mut self, field: u8, value: u64) {
        self.key(field, Wire::Varint);
        self.varint(value);
    }

    /// A `string` or `bytes`.
    pub(super) fn bytes(&mut self, field: u8, value: &[u8]) {
        self.key(field, Wire::Bytes);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    /// A message within.
    pub(super) fn message(&mut self, field: u8, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn key(&mut self, field: u8, wire: Wire) {
        self.varint(u64::from(field) << 3 | wire as u64);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::Message;

    /// The examples of protobuf's own description of its encoding.
    #[test]
    fn fields_are_written_as_the_description_says() {
        let mut message = Message::default();
        message.integer(1, 150);
        message.bytes(2, b"testing");
        message.message(3, |inner| inner.integer(1, 150));
        let text = [0x12, 7, b't', b'e', b's', b't', b'i', b'n', b'g'];
        let expected = [&[0x08, 0x96, 0x01][..], &text, &[0x1a, 3, 0x08, 0x96, 0x01]].concat();
        assert_eq!(message.into_bytes(), expected);
    }

    #[test]
    fn large_numbers_take_ten_bytes() {
        let mut message = Message::default();
        message.integer(1, u64::MAX);
        assert_eq!(message.into_bytes(), [0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
    }
}
