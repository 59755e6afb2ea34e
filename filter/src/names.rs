//! Names for numbers: what tcpdump finds in `/etc/services` and `/etc/protocols`, fixed here so that a filter means the
//! same on every machine.

pub(crate) mod constants;
pub(crate) mod protocols;
pub(crate) mod services;
