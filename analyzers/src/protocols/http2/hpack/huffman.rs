//! The Huffman code of header fields (RFC 7541 5.2 and appendix B).
//!
//! The code is canonical: codes of one length count upwards in the order of their symbols, and begin where the shorter ones end. So the
//! lengths say all.

/// Lengths of the codes of all bytes and of the end of the string, in bits.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The longest code, in bits.
const LONGEST: usize = 30;
/// The code that ends a string: it may not be in one.
const END: u16 = 256;
/// Codes up to so many bits are found in one step.
const QUICK: u32 = 8;

/// The codes of one length.
#[derive(Clone, Copy)]
struct Run {
    /// Codes of this length and shorter ones are less than this, as the highest bits of 32.
    limit: u64,
    /// The first code of this length, as a number.
    first: u32,
    /// Where the symbols of this length begin in [`SYMBOLS`].
    at: u16,
}

/// Symbols by their codes.
const SYMBOLS: [u16; 257] = symbols();
/// By length, 0 unused.
const RUNS: [Run; LONGEST + 1] = runs();
/// By the next 8 bits: symbol and length, which is 0 where the code is longer.
static QUICKLY: [(u8, u8); 1 << QUICK] = quickly();

const fn symbols() -> [u16; 257] {
    let mut symbols = [0; 257];
    let mut count = 0;
    let mut length = 1;
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                symbols[count] = symbol as u16;
                count += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    symbols
}

const fn runs() -> [Run; LONGEST + 1] {
    let mut runs = [Run { limit: 0, first: 0, at: 0 }; LONGEST + 1];
    let mut code = 0u64;
    let mut at = 0;
    let mut length = 1;
    while length <= LONGEST {
        code <<= 1;
        let first = code;
        let begin = at;
        while at < SYMBOLS.len() && LENGTHS[SYMBOLS[at] as usize] as usize == length {
            at += 1;
            code += 1;
        }
        runs[length] = Run { limit: code << (32 - length), first: first as u32, at: begin as u16 };
        length += 1;
    }
    runs
}

const fn quickly() -> [(u8, u8); 1 << QUICK] {
    let mut table = [(0, 0); 1 << QUICK];
    let mut bits = 0;
    while bits < table.len() {
        let mut length = 1;
        while length <= QUICK as usize {
            let window = (bits as u64) << (32 - QUICK);
            let run = &RUNS[length];
            if window < run.limit {
                let index = (window >> (32 - length)) as usize - run.first as usize + run.at as usize;
                table[bits] = (SYMBOLS[index] as u8, length as u8);
                break;
            }
            length += 1;
        }
        bits += 1;
    }
    table
}

/// Appends what `coded` says to `out`: at most eight bytes for five. False where it is no such code, or its padding is not what RFC
/// 7541 5.2 asks.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> bool {
    let mut bytes = coded.iter();
    // The next bits, the highest first, and how many they are.
    let (mut window, mut filled) = (0u64, 0u32);
    loop {
        while filled <= 56 {
            let Some(byte) = bytes.next() else { break };
            window |= u64::from(*byte) << (56 - filled);
            filled += 8;
        }
        if filled == 0 {
            return true;
        }
        let (symbol, length) = QUICKLY[(window >> (64 - QUICK)) as usize];
        let (symbol, length) = if length > 0 {
            (u16::from(symbol), u32::from(length))
        } else {
            let bits = window >> 32;
            let length = (QUICK as usize + 1..=LONGEST).find(|length| bits < RUNS[*length].limit);
            let Some(length) = length else { return is_padding(window, filled) };
            let run = &RUNS[length];
            let index = (bits >> (32 - length)).saturating_sub(u64::from(run.first)) + u64::from(run.at);
            (SYMBOLS.get(index as usize).copied().unwrap_or(END), length as u32)
        };
        if length > filled || symbol == END {
            return is_padding(window, filled);
        }
        out.push(symbol as u8);
        window <<= length;
        filled -= length;
    }
}

/// Less than a byte of the highest bits of the end's code, which are ones.
const fn is_padding(window: u64, filled: u32) -> bool {
    filled < 8 && window >> (64 - filled) == (1 << filled) - 1
}

#[cfg(test)]
mod tests {
    use super::decode;

    fn decoded(coded: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(coded, &mut out).then_some(out)
    }

    #[test]
    fn strings_of_the_rfc_are_decoded() {
        let coded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&coded).unwrap(), b"www.example.com");
        assert_eq!(decoded(&[0x64, 0x02]).unwrap(), b"302");
        assert_eq!(decoded(&[]).unwrap(), b"");
    }

    #[test]
    fn long_codes_are_decoded() {
        // LF is 30 bits, and two bits of padding.
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xf3]).unwrap(), b"\n");
        // `\` is 19 bits, 0x80 is 20 bits.
        assert_eq!(decoded(&[0xff, 0xfe, 0x1f]).unwrap(), b"\\");
    }

    #[test]
    fn bad_padding_and_the_end_within_a_string_are_told() {
        assert_eq!(decoded(&[0xf1, 0xe3, 0xff]), None, "a byte of padding");
        assert_eq!(decoded(&[0b0000_0000]), None, "padding of zeros");
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), None, "the end");
    }
}
