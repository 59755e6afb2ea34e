use vxtap_capfile::LinkType;

use super::descriptions::Interface;
use super::time_scale::TimeScale;

pub(crate) fn interface(name: &str, description: &str) -> Interface {
    Interface {
        name: name.to_owned(),
        description: description.to_owned(),
        link_type: LinkType::ETHERNET,
        snap_len: 0,
        scale: TimeScale::new(9, 0),
    }
}
