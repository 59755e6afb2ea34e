//! Values of flags: what is read, and what is told where another was expected.

use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use vxtap_filter::Filter;
use vxtap_wire::vxlan::Vni;

use crate::generate::FrameSize;

/// Of what length frames are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size(pub(super) FrameSize);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (smallest, largest) = (FrameSize::SMALLEST, FrameSize::LARGEST);
        match text.parse() {
            _ if text == "imix" => Ok(Self(FrameSize::Imix)),
            Ok(bytes) if (smallest..=largest).contains(&bytes) => Ok(Self(FrameSize::Bytes(bytes))),
            _ => Err(format!("expected {smallest} to {largest}, or imix")),
        }
    }
}

pub(super) fn filter(text: &str) -> Result<Filter, String> {
    Filter::parse(text).map_err(|error| format!("{error}\n{}", error.with_caret()))
}

pub(super) fn vni(text: &str) -> Result<Vni, String> {
    text.parse().ok().and_then(Vni::new).ok_or_else(|| format!("expected a whole number from 0 to {}", Vni::MAX))
}

/// Reads whole numbers from `least` to `most`.
pub(super) fn whole<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Copy + Send + Sync + 'static,
{
    move |text| match text.parse::<T>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("expected a whole number from {least} to {most}")),
    }
}

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an address and a port, such as 127.0.0.1:9790 or [::1]:9790".to_owned())
}

pub(super) fn positive_number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("expected a number greater than 0".to_owned()),
    }
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    positive_number(text)
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected a number of seconds greater than 0".to_owned())
}
