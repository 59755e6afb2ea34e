//! What numbers are called.

pub(super) mod kind {
    //! Types of records that are looked into.
    pub(in super::super) const A: u16 = 1;
    pub(in super::super) const NS: u16 = 2;
    pub(in super::super) const CNAME: u16 = 5;
    pub(in super::super) const SOA: u16 = 6;
    pub(in super::super) const NULL: u16 = 10;
    pub(in super::super) const PTR: u16 = 12;
    pub(in super::super) const MX: u16 = 15;
    pub(in super::super) const TXT: u16 = 16;
    pub(in super::super) const AAAA: u16 = 28;
    pub(in super::super) const SRV: u16 = 33;
    pub(in super::super) const NAPTR: u16 = 35;
    pub(in super::super) const DNAME: u16 = 39;
    pub(in super::super) const OPT: u16 = 41;
    pub(in super::super) const DS: u16 = 43;
    pub(in super::super) const SSHFP: u16 = 44;
    pub(in super::super) const RRSIG: u16 = 46;
    pub(in super::super) const NSEC: u16 = 47;
    pub(in super::super) const DNSKEY: u16 = 48;
    pub(in super::super) const TLSA: u16 = 52;
    pub(in super::super) const CDS: u16 = 59;
    pub(in super::super) const CDNSKEY: u16 = 60;
    pub(in super::super) const SVCB: u16 = 64;
    pub(in super::super) const HTTPS: u16 = 65;
    pub(in super::super) const CAA: u16 = 257;
}

/// The name of a record type in EVE; `None` where the number stands for it, as it does for AXFR and IXFR.
pub(super) const fn record_type(number: u16) -> Option<&'static str> {
    Some(match number {
        1 => "A",
        2 => "NS",
        3 => "MD",
        4 => "MF",
        5 => "CNAME",
        6 => "SOA",
        7 => "MB",
        8 => "MG",
        9 => "MR",
        10 => "NULL",
        11 => "WKS",
        12 => "PTR",
        13 => "HINFO",
        14 => "MINFO",
        15 => "MX",
        16 => "TXT",
        17 => "RP",
        18 => "AFSDB",
        19 => "X25",
        20 => "ISDN",
        21 => "RT",
        22 => "NSAP",
        24 => "SIG",
        25 => "KEY",
        26 => "PX",
        27 => "GPOS",
        28 => "AAAA",
        29 => "LOC",
        30 => "NXT",
        33 => "SRV",
        34 => "ATMA",
        35 => "NAPTR",
        36 => "KX",
        37 => "CERT",
        38 => "A6",
        39 => "DNAME",
        41 => "OPT",
        42 => "APL",
        43 => "DS",
        44 => "SSHFP",
        45 => "IPSECKEY",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        49 => "DHCID",
        50 => "NSEC3",
        51 => "NSEC3PARAM",
        52 => "TLSA",
        55 => "HIP",
        59 => "CDS",
        60 => "CDNSKEY",
        64 => "SVCB",
        65 => "HTTPS",
        99 => "SPF",
        249 => "TKEY",
        250 => "TSIG",
        254 => "MAILA",
        255 => "ANY",
        256 => "URI",
        257 => "CAA",
        _ => return None,
    })
}

/// The name of a response code; `None` where the number stands for it.
pub(super) const fn response_code(number: u16) -> Option<&'static str> {
    Some(match number {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        _ => return None,
    })
}
