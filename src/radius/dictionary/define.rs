//! The lines that define something: `ATTRIBUTE`, `VALUE` and `VENDOR`, and what may stand where.
//!
//! Knows nothing of files and blocks beyond the [`Context`] it is given.

use crate::radius::value::DataType;

use super::attribute::{
    Attribute, AttributePath, Flags, Origin, VENDOR_SPECIFIC, Values, Vendor, VendorFormat, number,
};
use super::error::Problem;
use super::line;
use super::load::{Context, Later, Loader};

impl Loader<'_> {
    pub(super) fn attribute(&mut self, context: &mut Context, words: &[&str]) -> Result<(), Problem> {
        let [_, name, oid, type_word, flag_words @ ..] = words else {
            return Err(Problem::Usage("ATTRIBUTE name number type [flags]"));
        };
        let (mut data_type, fixed_length) = line::data_type(type_word)?;
        let read = line::flags(flag_words)?;
        let mut flags = Flags { virtual_only: read.flags.virtual_only || context.internal, ..read.flags };
        data_type = match (data_type, read.container) {
            (DataType::Octets | DataType::Tlv, Some(container)) => container,
            _ => data_type,
        };

        let mut prefix = context.prefix();
        if let Some(vendor) = read.other {
            // Files of old name the vendor at the end of each line.
            let Some(vendor) = self.dictionary.vendor_by_name(vendor).filter(|_| prefix.is_none()) else {
                return Err(Problem::Flag(vendor.to_owned()));
            };
            prefix = AttributePath::new(&[VENDOR_SPECIFIC, vendor.number]);
        }
        let (digits, prefix, is_relative) = match oid.strip_prefix('.') {
            Some(digits) => (digits, context.relative.or(prefix), true),
            None => (*oid, prefix, false),
        };
        let wrong_oid = || Problem::Oid((*oid).to_owned());
        let mut path: AttributePath = digits.parse().map_err(|()| wrong_oid())?;
        if let Some(prefix) = prefix {
            path = path.numbers().iter().try_fold(prefix, |path, n| path.child(*n)).ok_or_else(wrong_oid)?;
        }
        self.check_place(&path)?;
        if path.kind().is_none() {
            flags.virtual_only = true;
        }
        if !is_relative && is_container(data_type) {
            context.relative = Some(path);
        }

        let attribute = Attribute {
            name: (*name).into(),
            path,
            data_type,
            fixed_length,
            flags,
            values: Values::default(),
            origin: context.origin,
        };
        let index = self.insert(attribute)?;
        if let Some(names) = read.names_of {
            self.named_by.push(Later { what: (index, names.to_owned()), origin: context.origin });
        }
        Ok(())
    }

    /// Whether an attribute can sit at this path: the numbers fit their fields, and what is above can hold it.
    fn check_place(&self, path: &AttributePath) -> Result<(), Problem> {
        let numbers = path.numbers();
        let too_big = |n: u32, most: u32| Problem::Number(n.to_string(), format!(" of at most {most}"));
        // What lies below the containers that RFC 2865 and RFC 6929 fix.
        let tlvs = match *numbers {
            [_] => return Ok(()),
            [VENDOR_SPECIFIC, _] | [241..=246, VENDOR_SPECIFIC, _] => {
                return Err(Problem::Oid(path.to_string()));
            }
            [VENDOR_SPECIFIC, vendor, vendor_type, ..] => {
                let known = self.dictionary.vendor(vendor);
                let format = known.ok_or_else(|| Problem::UnknownVendor(vendor.to_string()))?.format;
                if vendor_type > format.largest_type() {
                    return Err(too_big(vendor_type, format.largest_type()));
                }
                3
            }
            [241..=246, VENDOR_SPECIFIC, vendor, ..] => {
                self.dictionary.vendor(vendor).ok_or_else(|| Problem::UnknownVendor(vendor.to_string()))?;
                3
            }
            _ => 1,
        };
        let below = numbers.get(tlvs..).unwrap_or_default();
        if let Some(big) = below.iter().find(|n| **n > 0xff) {
            return Err(too_big(*big, 0xff));
        }
        let fixed = matches!(numbers, [VENDOR_SPECIFIC, _, _] | [241..=246, _] | [241..=246, VENDOR_SPECIFIC, _, _]);
        if fixed || (path.vendor().is_some() && below.is_empty()) {
            return Ok(());
        }
        let parent = path.parent().ok_or_else(|| Problem::Oid(path.to_string()))?;
        match self.dictionary.by_path(&parent) {
            Some(parent) if parent.data_type == DataType::Tlv || parent.data_type == DataType::Struct => Ok(()),
            Some(parent) => Err(Problem::NotAContainer(parent.name.to_string())),
            None => Err(Problem::NoParent(parent.to_string())),
        }
    }

    pub(super) fn insert(&mut self, attribute: Attribute) -> Result<u32, Problem> {
        let dictionary = &mut *self.dictionary;
        let lower = attribute.name.to_ascii_lowercase().into_boxed_str();
        let path = attribute.path;
        let index = match dictionary.by_name.get(&lower) {
            Some(&index) => {
                let place = dictionary.place_of(dictionary.attributes[index as usize].origin);
                let known = &mut dictionary.attributes[index as usize];
                if known.path != path {
                    return Err(Problem::Contradiction {
                        what: "attribute",
                        name: known.name.to_string(),
                        earlier: known.path.to_string(),
                        place,
                        later: path.to_string(),
                    });
                }
                let values = std::mem::take(&mut known.values);
                *known = Attribute { values, ..attribute };
                index
            }
            None => {
                let index = dictionary.attributes.len() as u32;
                dictionary.attributes.push(attribute);
                dictionary.by_name.insert(lower, index);
                index
            }
        };
        dictionary.set_printed(path, index);
        Ok(index)
    }

    pub(super) fn value(&mut self, context: &Context, words: &[&str]) -> Result<(), Problem> {
        let &[_, attribute, name, number_word] = words else {
            return Err(Problem::Usage("VALUE attribute name number"));
        };
        if self.add_value(attribute, name, number_word, context.origin)? {
            return Ok(());
        }
        let what = [attribute.to_owned(), name.to_owned(), number_word.to_owned()];
        self.values.push(Later { what, origin: context.origin });
        Ok(())
    }

    /// Adds a `VALUE`; `false` when its attribute is not defined yet.
    pub(super) fn add_value(
        &mut self,
        owner: &str,
        name: &str,
        number_word: &str,
        origin: Origin,
    ) -> Result<bool, Problem> {
        let index = super::with_lowercase(owner, |lower| self.dictionary.by_name.get(lower).copied());
        let (data_type, values) = match index {
            Some(index) => {
                let attribute = &mut self.dictionary.attributes[index as usize];
                (attribute.data_type, &mut attribute.values)
            }
            None => match self.enums.get_mut(&owner.to_ascii_lowercase()) {
                Some((data_type, values)) => (*data_type, values),
                None => return Ok(self.unplaced.contains(&owner.to_ascii_lowercase())),
            },
        };
        if !is_enumerable(data_type) {
            return Err(Problem::NotEnumerable(owner.to_owned()));
        }
        let number = line::value_number(number_word, data_type)?;
        match values.add(name, number, origin) {
            Ok(()) => Ok(true),
            Err(known) => Err(Problem::Contradiction {
                what: "value",
                name: format!("{owner} {name}"),
                earlier: known.number.to_string(),
                place: self.dictionary.place_of(known.origin),
                later: number.to_string(),
            }),
        }
    }

    pub(super) fn vendor(&mut self, context: &Context, words: &[&str]) -> Result<(), Problem> {
        let (name, number_word, format) = match *words {
            [_, name, number_word] => (name, number_word, None),
            [_, name, number_word, format] => (name, number_word, Some(line::vendor_format(format)?)),
            _ => return Err(Problem::Usage("VENDOR name number [format=t,l[,c]]")),
        };
        let vendor_number = number(number_word).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
        let vendor_number = vendor_number.ok_or_else(|| not_a_number(number_word))?;
        let dictionary = &mut *self.dictionary;
        let lower = name.to_ascii_lowercase().into_boxed_str();
        if let Some(&index) = dictionary.vendor_by_name.get(&lower) {
            let known = &dictionary.vendors[index as usize];
            if known.number != vendor_number {
                return Err(Problem::Contradiction {
                    what: "vendor",
                    name: known.name.to_string(),
                    earlier: known.number.to_string(),
                    place: dictionary.place_of(known.origin),
                    later: vendor_number.to_string(),
                });
            }
            if let Some(format) = format {
                dictionary.vendors[index as usize].format = format;
            }
            dictionary.vendor_by_number.insert(vendor_number, index);
            return Ok(());
        }
        // A second name for a number that is known keeps the framing it has.
        let known = dictionary.vendor(vendor_number).map_or(VendorFormat::RECOMMENDED, |v| v.format);
        let index = dictionary.vendors.len() as u32;
        dictionary.vendors.push(Vendor {
            name: name.into(),
            number: vendor_number,
            format: format.unwrap_or(known),
            origin: context.origin,
        });
        dictionary.vendor_by_name.insert(lower, index);
        dictionary.vendor_by_number.insert(vendor_number, index);
        Ok(())
    }
}

pub(super) fn not_a_number(word: &str) -> Problem {
    Problem::Number(word.to_owned(), String::new())
}

pub(super) fn is_container(data_type: DataType) -> bool {
    matches!(
        data_type,
        DataType::Tlv | DataType::Vsa | DataType::Extended | DataType::LongExtended | DataType::Evs | DataType::Struct
    )
}

/// Whether `VALUE` names may belong to a type. Octets have none that could be written, but published sets give them
/// names all the same (packed structures), and FreeRADIUS reads those.
fn is_enumerable(data_type: DataType) -> bool {
    matches!(
        data_type,
        DataType::Byte
            | DataType::Short
            | DataType::Integer
            | DataType::Integer64
            | DataType::Signed
            | DataType::Date
            | DataType::Octets
    )
}
