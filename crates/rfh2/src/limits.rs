//! Bounds of reading a header. IBM's own products write far less.

/// Consecutive headers in a message.
pub const HEADERS_MAX: usize = 16;
/// Folders in one header.
pub const FOLDERS_MAX: usize = 64;
/// Bytes of one folder.
pub const FOLDER_BYTES_MAX: usize = 1 << 20;
/// Elements in one folder.
pub const ELEMENTS_MAX: usize = 20_000;
/// Depth of nested elements.
pub const DEPTH_MAX: usize = 16;
/// Attributes of one element.
pub const ATTRIBUTES_MAX: usize = 16;
