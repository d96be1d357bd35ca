//! Event files of TensorBoard: TFRecords of `Event` messages, of which a small encoder of protocol buffers writes the
//! few fields that scalars need (tensorboard/compat/proto/{event,summary}.proto).
//!
//! ```text
//! record:   length u64 | masked crc of length u32 | message | masked crc of message u32      (little endian)
//! masked:   ((crc >> 15) | (crc << 17)) + 0xa282ead8,  crc = CRC-32C (Castagnoli)
//! Event:    1 wall_time double | 2 step int64 | 3 file_version string | 5 summary
//! Summary:  1 value: { 1 tag string | 2 simple_value float | 9 metadata: { 1 plugin_data: { 1 plugin_name } } }
//! ```

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    time::SystemTime,
};

use super::{Entry, Writer};

/// The open file.
pub struct Events(BufWriter<File>);

/// A name as TensorBoard wants it (it must contain `tfevents`), not yet there: `events.out.tfevents.1700000000.rhapsode`.
pub fn file_name(folder: &Path, now: SystemTime) -> String {
    let seconds = seconds(now) as u64;
    let names = (0..).map(|again| match again {
        0 => format!("events.out.tfevents.{seconds:010}.rhapsode"),
        n => format!("events.out.tfevents.{seconds:010}.rhapsode.{n}"),
    });
    let mut free = names.filter(|name| !folder.join(name).exists());
    free.next().unwrap_or_default()
}

impl Events {
    /// A new file with its first event, the version.
    pub fn create(path: &Path, now: SystemTime) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        let mut event = Message::default();
        event.double(1, seconds(now));
        event.bytes(3, b"brain.Event:2");
        record(&mut file, &event.0)?;
        Ok(Self(file))
    }
}

impl Writer for Events {
    /// One event a record; the tag of a metric is `source/name`, that of `log` the name itself.
    fn write(&mut self, entry: &Entry, now: SystemTime) -> io::Result<()> {
        let mut summary = Message::default();
        for (name, value) in entry.values {
            let tag = match entry.source {
                "log" => name.clone(),
                source => format!("{source}/{name}"),
            };
            let mut plugin = Message::default();
            plugin.bytes(1, b"scalars");
            let mut metadata = Message::default();
            metadata.bytes(1, &plugin.0);
            let mut scalar = Message::default();
            scalar.bytes(1, tag.as_bytes());
            scalar.float(2, *value as f32);
            scalar.bytes(9, &metadata.0);
            summary.bytes(1, &scalar.0);
        }
        let mut event = Message::default();
        event.double(1, seconds(now));
        event.int(2, entry.step);
        event.bytes(5, &summary.0);
        record(&mut self.0, &event.0)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn seconds(now: SystemTime) -> f64 {
    now.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |d| d.as_secs_f64())
}

/// A message of protocol buffers.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// The number of a field and how its value is stored.
    fn key(&mut self, field: u64, wire: u64) {
        self.varint(field << 3 | wire);
    }

    fn int(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }
}

/// A TFRecord.
fn record(file: &mut impl Write, data: &[u8]) -> io::Result<()> {
    let length = (data.len() as u64).to_le_bytes();
    file.write_all(&length)?;
    file.write_all(&masked(&length).to_le_bytes())?;
    file.write_all(data)?;
    file.write_all(&masked(data).to_le_bytes())
}

fn masked(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The remainders of all bytes for the reflected polynomial of Castagnoli.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// CRC-32C; a table will do, as records are a few hundred bytes (the crates at hand compute another polynomial).
fn crc32c(data: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        let at = (crc as u8 ^ byte) as usize;
        TABLE.get(at).copied().unwrap_or(0) ^ crc >> 8
    };
    !data.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        // Appendix B.4, and the check value of the CRC catalogue.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    /// The file as TensorBoard 2.x itself writes these two events (`EventFileWriter`, protobuf).
    #[test]
    fn the_bytes_are_those_of_tensorboard() {
        let path = std::env::temp_dir().join(format!("rhapsode-tfevents-{}", std::process::id()));
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
        let mut events = Events::create(&path, now).unwrap();
        let values = [("loss".to_string(), 0.25), ("acc".to_string(), 300.0)];
        let entry = Entry {
            source: "fit",
            step: 300,
            elapsed: Duration::ZERO,
            values: &values,
        };
        events.write(&entry, now).unwrap();
        events.flush().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, GOLDEN);
    }

    const GOLDEN: &str = concat!(
        "1800000000000000a37f4b220900002040fc54d9411a0d627261696e2e4576656e743a322b35311049000000000000003625",
        "0ea30900002040fc54d94110ac022a3b0a1c0a086669742f6c6f7373150000803e4a0b0a090a077363616c6172730a1b0a07",
        "6669742f61636315000096434a0b0a090a077363616c6172735d10d7dc",
    );
}
