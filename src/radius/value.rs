//! The value types of RADIUS attributes (RFC 8044), between bytes and Rust.

use std::net::{Ipv4Addr, Ipv6Addr};

/// How the octets of an attribute are to be read (RFC 8044 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataType {
    /// `text`, UTF-8 (RFC 8044 §3.4).
    Text,
    /// `string`, any octets (RFC 8044 §3.5).
    Octets,
    /// `integer`, 32 bits unsigned (RFC 8044 §3.1); `enum` (§3.2) is the same with names in the dictionary.
    Integer,
    /// `integer64` (RFC 8044 §3.14).
    Integer64,
    /// One octet, unsigned (dictionaries of vendors).
    Byte,
    /// Two octets, unsigned (dictionaries of vendors).
    Short,
    /// 32 bits, two's complement (dictionaries of vendors).
    Signed,
    /// `time`, seconds since 1970 (RFC 8044 §3.3).
    Date,
    /// `ipv4addr` (RFC 8044 §3.8).
    Ipv4Addr,
    /// `ipv6addr` (RFC 8044 §3.9).
    Ipv6Addr,
    /// `ipv4prefix` (RFC 8044 §3.11).
    Ipv4Prefix,
    /// `ipv6prefix` (RFC 8044 §3.10).
    Ipv6Prefix,
    /// An IPv4 or IPv6 address, told apart by length (FreeRADIUS `combo-ip`).
    ComboIp,
    /// `ifid` (RFC 8044 §3.7).
    InterfaceId,
    /// Six octets of an Ethernet address.
    Ether,
    /// Ascend's binary filter; kept as octets.
    Abinary,
    /// `tlv` (RFC 8044 §3.13).
    Tlv,
    /// `vsa`, Vendor-Specific (RFC 8044 §3.12).
    Vsa,
    /// `extended` (RFC 6929 §2.1).
    Extended,
    /// `long-extended` (RFC 6929 §2.2).
    LongExtended,
    /// `evs`, Extended-Vendor-Specific (RFC 6929 §2.4).
    Evs,
    /// A fixed sequence of members (FreeRADIUS `struct`); kept as octets.
    Struct,
}

/// A value read from, or to be written to, an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// [`DataType::Text`].
    Text(String),
    /// [`DataType::Octets`], [`DataType::Abinary`], [`DataType::Struct`], and whatever did not fit its type.
    Octets(Vec<u8>),
    /// [`DataType::Integer`].
    Integer(u32),
    /// [`DataType::Integer64`].
    Integer64(u64),
    /// [`DataType::Byte`].
    Byte(u8),
    /// [`DataType::Short`].
    Short(u16),
    /// [`DataType::Signed`].
    Signed(i32),
    /// [`DataType::Date`], seconds since 1970 (unsigned, good until 2106).
    Date(u32),
    /// [`DataType::Ipv4Addr`].
    Ipv4Addr(Ipv4Addr),
    /// [`DataType::Ipv6Addr`].
    Ipv6Addr(Ipv6Addr),
    /// [`DataType::Ipv4Prefix`], address and prefix length.
    Ipv4Prefix(Ipv4Addr, u8),
    /// [`DataType::Ipv6Prefix`], address and prefix length.
    Ipv6Prefix(Ipv6Addr, u8),
    /// [`DataType::InterfaceId`].
    InterfaceId([u8; 8]),
    /// [`DataType::Ether`].
    Ether([u8; 6]),
}
