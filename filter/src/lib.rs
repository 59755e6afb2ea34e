//! Capture filters in the language of tcpdump.
