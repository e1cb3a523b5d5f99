//! The frame around each event: its length, and checksums of both.

/// What TensorFlow adds to a rotated checksum, so that a checksum of data with checksums in it still says something.
const MASK: u32 = 0xa282_ead8;

/// Makes `record` the record of an event.
pub(super) fn encode(event: &[u8], record: &mut Vec<u8>) {
    record.clear();
    let length = (event.len() as u64).to_le_bytes();
    record.extend(length);
    record.extend(masked_checksum(&length).to_le_bytes());
    record.extend(event);
    record.extend(masked_checksum(event).to_le_bytes());
}

fn masked_checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(MASK)
}
