//! Names of stored pictures: numbered, after the name at the service, and
//! nothing that leaves the folder.

/// Bytes of a file name on common file systems.
const LONGEST: usize = 255;
/// Characters of the part before the extension.
const LONGEST_STEM: usize = 250;
const EXTENSION: &str = ".jpg";

/// Name of picture `number` from the address `address`.
pub(super) fn file_name(number: u64, address: &str) -> String {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let name: String = percent_decoded(last)
        .chars()
        .filter(|&c| c != '\0')
        .map(|c| {
            if c == '/' || c == '\\' || c.is_control() {
                '_'
            } else {
                c
            }
        })
        .collect();
    let stem = match name.rfind('.') {
        Some(dot) if !name[..dot].trim_matches('.').is_empty() => &name[..dot],
        _ => &name,
    };
    let mut stem: String = format!("{number:06}-{stem}")
        .chars()
        .take(LONGEST_STEM)
        .collect();
    while stem.len() + EXTENSION.len() > LONGEST {
        stem.pop();
    }
    stem + EXTENSION
}

/// The number that a stored picture's name begins with.
pub(super) fn number_of(name: &str) -> Option<u64> {
    name.split('-').next()?.parse().ok()
}

/// The text that `%41` and the like stand for; bytes that are no UTF-8 become
/// replacement characters.
pub(super) fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let value = pair.and_then(|pair| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8)
        });
        match value {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_folder_and_fit() {
        let name = |address: &str| file_name(7, address);
        assert_eq!(
            name("http://h/a/Big%20one%2C_%C3%A9.PNG"),
            "000007-Big one,_é.jpg"
        );
        assert_eq!(number_of(&name("http://h/a-b/c-d.png")), Some(7));
        assert_eq!(number_of("fox.jpg"), None);
        assert_eq!(name("http://h/a/x.tar.gz?width=3"), "000007-x.tar.jpg");
        assert_eq!(name("http://h/a/..%2F..%2Fetc%2Fpasswd"), "000007-.._..jpg");
        assert_eq!(name("http://h/a/%00b%0Ac.png"), "000007-b_c.jpg");
        assert_eq!(name("http://h/a/"), "000007-.jpg");
        assert_eq!(name("http://h/%e4%zz%4"), "000007-\u{fffd}%zz%4.jpg");
        for long in ["x".repeat(400), "é".repeat(400), "日".repeat(400)] {
            let name = file_name(123_456, &format!("http://h/{long}.png"));
            assert!(name.len() <= 255 && name.len() > 250, "{}", name.len());
        }
    }
}
