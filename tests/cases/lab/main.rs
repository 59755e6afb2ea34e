//! The kernel mirrors a host's real traffic; see `vxtap_tests::lab`.

mod kernel_mirror;
