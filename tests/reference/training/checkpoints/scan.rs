//! A small strict reader of our own: which operations and names a pickle has,
//! and how its archive is built. It shares nothing with the product's reader.

use std::collections::BTreeSet;

/// What a pickle is made of.
#[derive(Debug, Default)]
pub struct Pickle {
    pub operations: BTreeSet<&'static str>,
    pub globals: BTreeSet<String>,
}

/// Walks over a pickle.
pub fn pickle(bytes: &[u8]) -> Pickle {
    let mut found = Pickle::default();
    let mut at = 0;
    loop {
        let operands = at + 1;
        let (name, length) = match bytes[at] {
            0x80 => ("PROTO", 1),
            b'}' => ("EMPTY_DICT", 0),
            b']' => ("EMPTY_LIST", 0),
            b')' => ("EMPTY_TUPLE", 0),
            b'(' => ("MARK", 0),
            b'X' => ("BINUNICODE", 4 + number(&bytes[operands..operands + 4])),
            b'J' => ("BININT", 4),
            b'K' => ("BININT1", 1),
            b'M' => ("BININT2", 2),
            0x8a => ("LONG1", 1 + usize::from(bytes[operands])),
            b'G' => ("BINFLOAT", 8),
            b'N' => ("NONE", 0),
            0x88 => ("NEWTRUE", 0),
            0x89 => ("NEWFALSE", 0),
            b't' => ("TUPLE", 0),
            0x85 => ("TUPLE1", 0),
            0x86 => ("TUPLE2", 0),
            0x87 => ("TUPLE3", 0),
            b'a' => ("APPEND", 0),
            b'e' => ("APPENDS", 0),
            b's' => ("SETITEM", 0),
            b'u' => ("SETITEMS", 0),
            b'q' => ("BINPUT", 1),
            b'r' => ("LONG_BINPUT", 4),
            b'h' => ("BINGET", 1),
            b'j' => ("LONG_BINGET", 4),
            b'c' => ("GLOBAL", lines(&bytes[operands..])),
            b'R' => ("REDUCE", 0),
            b'b' => ("BUILD", 0),
            b'Q' => ("BINPERSID", 0),
            b'.' => ("STOP", 0),
            other => panic!("operation {other:#x} at {at}"),
        };
        found.operations.insert(name);
        let end = operands + length;
        match name {
            "PROTO" => assert_eq!(bytes[operands], 2, "protocol"),
            "GLOBAL" => {
                let text = std::str::from_utf8(&bytes[operands..end]).unwrap();
                found.globals.insert(text.trim_end().replace('\n', "."));
            }
            "STOP" => {
                assert_eq!(end, bytes.len(), "bytes behind the end");
                return found;
            }
            _ => {}
        }
        at = end;
    }
}

fn lines(bytes: &[u8]) -> usize {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(at, _)| at + 1).nth(1).expect("two lines")
}

/// A member of an archive.
#[derive(Debug)]
pub struct Member {
    pub name: String,
    pub method: usize,
    pub start: usize,
    pub size: usize,
}

/// Members in the order of the directory.
pub fn members(bytes: &[u8]) -> Vec<Member> {
    let end = bytes
        .windows(4)
        .rposition(|window| window == b"PK\x05\x06")
        .expect("no directory");
    let count = number(&bytes[end + 10..end + 12]);
    let mut at = number(&bytes[end + 16..end + 20]);
    let mut members = Vec::new();
    for _ in 0..count {
        let entry = &bytes[at..];
        assert_eq!(&entry[..4], b"PK\x01\x02");
        let lengths = [28, 30, 32].map(|place| number(&entry[place..place + 2]));
        let local = number(&entry[42..46]);
        let header = &bytes[local..];
        assert_eq!(&header[..4], b"PK\x03\x04");
        members.push(Member {
            name: String::from_utf8(entry[46..46 + lengths[0]].to_vec()).unwrap(),
            method: number(&entry[10..12]),
            start: local + 30 + number(&header[26..28]) + number(&header[28..30]),
            size: number(&entry[24..28]),
        });
        at += 46 + lengths.iter().sum::<usize>();
    }
    members
}

fn number(bytes: &[u8]) -> usize {
    let digits = bytes.iter().rev();
    digits.fold(0, |number, byte| number << 8 | usize::from(*byte))
}
