//! Forms with a file, as services take them.

/// Bytes between the parts; they must not occur in what is sent.
const BOUNDARY: &str = "novic-7d1f2c0a9b5e4836";

/// Type of a form.
pub(super) fn content_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

/// A form with a purpose and a file of JSON lines. Lines of JSON have no line
/// break that could be taken for a boundary.
pub(super) fn form(purpose: &str, name: &str, content: &[u8]) -> Vec<u8> {
    let name = name.replace(['"', '\r', '\n', '\\'], "_");
    let mut form = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n{purpose}\r\n\
         --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: application/jsonl\r\n\r\n"
    )
    .into_bytes();
    form.extend_from_slice(content);
    form.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    form
}
