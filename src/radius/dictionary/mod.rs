//! Dictionaries in the FreeRADIUS text format: names, numbers and types of attributes, and their text both ways.
//!
//! Never opens a file (texts arrive through a closure), never sees a secret or an authenticator (hiding is a closure
//! too), and decides nothing about a packet.
//!
//! Names are global, as in FreeRADIUS 3, whose published sets load whole. The words of version 4 are read, but not its
//! habit of giving one name to attributes of several vendors: that is the contradiction the errors speak of.
//!
//! [`Dictionary::embedded`] holds the files under `dictionaries/`; [`Dictionary::extended`] adds an operator's own.
//! [`Dictionary::encode`] turns `Filter-Id` and `"sandbox"` into the octets of an attribute,
//! [`Dictionary::describe`] turns them back.

mod attribute;
mod define;
mod describe;
mod embedded;
mod encode;
mod error;
mod hash;
mod line;
mod load;
mod text;

use std::io;
use std::path::Path;
use std::sync::OnceLock;

pub use attribute::{Attribute, AttributePath, Encryption, Flags, Vendor, VendorFormat};
pub use describe::Described;
pub use encode::EncodeError;
pub use error::{DictionaryError, Problem};
pub use text::{TextError, quote};

use hash::Table;

/// Attributes and vendors by name and by number.
///
/// Names are compared without regard to ASCII case, as FreeRADIUS does. A name defined again with the same number
/// replaces the earlier definition and keeps its `VALUE`s; of two names for one number both are found by name and
/// the later one is found by number.
#[derive(Debug, Clone)]
pub struct Dictionary {
    files: Vec<Box<str>>,
    attributes: Vec<Attribute>,
    by_name: Table<Box<str>>,
    by_kind: [Option<u32>; 256],
    by_vendor: Table<(u32, u32)>,
    by_path: Table<AttributePath>,
    vendors: Vec<Vendor>,
    vendor_by_name: Table<Box<str>>,
    vendor_by_number: Table<u32>,
}

impl Default for Dictionary {
    fn default() -> Self {
        Self::new()
    }
}

impl Dictionary {
    /// A dictionary that knows nothing.
    pub fn new() -> Self {
        Self {
            files: Vec::new(),
            attributes: Vec::new(),
            by_name: Table::default(),
            by_kind: [None; 256],
            by_vendor: Table::default(),
            by_path: Table::default(),
            vendors: Vec::new(),
            vendor_by_name: Table::default(),
            vendor_by_number: Table::default(),
        }
    }

    /// The dictionaries built into this program, parsed at the first call.
    ///
    /// # Panics
    /// When an embedded file is wrong, which a unit test excludes.
    pub fn embedded() -> &'static Dictionary {
        static EMBEDDED: OnceLock<Dictionary> = OnceLock::new();
        EMBEDDED.get_or_init(|| match embedded::load() {
            Ok(dictionary) => dictionary,
            Err(error) => panic!("embedded dictionary: {error}"),
        })
    }

    /// One text with no files behind it; `$INCLUDE` is an error, `$INCLUDE-` finds nothing. The file is called
    /// `text` in errors. Never panics, whatever the text.
    pub fn parse_str(text: &str) -> Result<Dictionary, DictionaryError> {
        let mut dictionary = Dictionary::new();
        load::text(&mut dictionary, text)?;
        Ok(dictionary)
    }

    /// The file `root` and all it includes. `read` is given each path (the `$INCLUDE` name joined to the folder of
    /// the file that names it) and returns its text; [`io::ErrorKind::NotFound`] is forgiven for `$INCLUDE-`.
    pub fn load(root: &Path, mut read: impl FnMut(&Path) -> io::Result<String>) -> Result<Dictionary, DictionaryError> {
        let mut dictionary = Dictionary::new();
        load::file(&mut dictionary, root, &mut read)?;
        Ok(dictionary)
    }

    /// This dictionary and then the files `roots` in their order, each with all it includes. Later definitions win,
    /// except that a name given another number, or a `VALUE` name given another number, is an error naming both
    /// places. On an error nothing has changed.
    pub fn extended<P: AsRef<Path>>(
        &self,
        roots: impl IntoIterator<Item = P>,
        mut read: impl FnMut(&Path) -> io::Result<String>,
    ) -> Result<Dictionary, DictionaryError> {
        let mut dictionary = self.clone();
        for root in roots {
            load::file(&mut dictionary, root.as_ref(), &mut read)?;
        }
        Ok(dictionary)
    }

    /// The attribute of this name, whatever its case. `Attr-26.9.1` is not looked up here: see
    /// [`Dictionary::encode`].
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.get(with_lowercase(name, |lower| self.by_name.get(lower).copied())?)
    }

    /// The plain attribute of this type, RFC 2865 §5.
    pub fn by_kind(&self, kind: u8) -> Option<&Attribute> {
        self.get(self.by_kind[usize::from(kind)]?)
    }

    /// The attribute of this vendor type inside Vendor-Specific, RFC 2865 §5.26.
    pub fn by_vendor(&self, vendor: u32, vendor_type: u32) -> Option<&Attribute> {
        self.get(*self.by_vendor.get(&(vendor, vendor_type))?)
    }

    /// The attribute at any path.
    pub fn by_path(&self, path: &AttributePath) -> Option<&Attribute> {
        match *path.numbers() {
            [kind] if kind < 256 => self.by_kind(kind as u8),
            [attribute::VENDOR_SPECIFIC, vendor, vendor_type] => self.by_vendor(vendor, vendor_type),
            _ => self.get(*self.by_path.get(path)?),
        }
    }

    /// The vendor of this name, whatever its case.
    pub fn vendor_by_name(&self, name: &str) -> Option<&Vendor> {
        let index = with_lowercase(name, |lower| self.vendor_by_name.get(lower).copied())?;
        self.vendors.get(index as usize)
    }

    /// The vendor of this private enterprise number.
    pub fn vendor(&self, number: u32) -> Option<&Vendor> {
        self.vendors.get(*self.vendor_by_number.get(&number)? as usize)
    }

    /// All attributes in the order of their first definition.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter()
    }

    /// All vendors in the order of their first definition.
    pub fn vendors(&self) -> impl Iterator<Item = &Vendor> {
        self.vendors.iter()
    }

    /// File and line where an attribute of this dictionary was defined, for messages.
    pub fn place(&self, attribute: &Attribute) -> String {
        self.place_of(attribute.origin)
    }

    fn place_of(&self, origin: attribute::Origin) -> String {
        let file = self.files.get(origin.file as usize).map_or("?", |name| name);
        format!("{file}:{}", origin.line)
    }

    fn get(&self, index: u32) -> Option<&Attribute> {
        self.attributes.get(index as usize)
    }

    /// Makes the attribute at `index` the one a path is printed as.
    fn set_printed(&mut self, path: AttributePath, index: u32) {
        match *path.numbers() {
            [kind] if kind < 256 => self.by_kind[kind as usize] = Some(index),
            [attribute::VENDOR_SPECIFIC, vendor, vendor_type] => {
                self.by_vendor.insert((vendor, vendor_type), index);
            }
            _ => {
                self.by_path.insert(path, index);
            }
        }
    }

    /// How a vendor frames its attributes; vendors we do not know are taken to follow RFC 2865 §5.26.
    fn format_of(&self, vendor: u32) -> VendorFormat {
        self.vendor(vendor).map_or(VendorFormat::RECOMMENDED, |v| v.format)
    }
}

/// Calls `f` with the name in ASCII lower case, without allocating for names of usual length.
fn with_lowercase<R>(name: &str, f: impl FnOnce(&str) -> R) -> R {
    let mut buffer = [0; 96];
    match buffer.get_mut(..name.len()) {
        Some(lower) => {
            lower.copy_from_slice(name.as_bytes());
            lower.make_ascii_lowercase();
            // ASCII letters changed in place keep UTF-8 valid.
            f(std::str::from_utf8(lower).unwrap_or(name))
        }
        None => f(&name.to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests;
