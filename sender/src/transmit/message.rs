//! The kernel's message structures, allocated once and filled anew for each port of each batch.
#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::mem;

use super::Method;
use super::socket::PortSocket;
use super::train::Planner;
use crate::batch::{MAX_FRAMES, Slot};

/// The control message that asks for segmentation; laid out as `CMSG_FIRSTHDR` and `CMSG_DATA` would have it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct SegmentControl {
    header: libc::cmsghdr,
    segment: u16,
}

/// Messages for `sendmmsg`: each one datagram, or one train with its segment size.
pub(super) struct Messages {
    headers: Vec<libc::mmsghdr>,
    /// One for each datagram.
    vectors: Vec<libc::iovec>,
    controls: Vec<SegmentControl>,
}

impl Messages {
    pub(super) fn new() -> Self {
        // SAFETY: all three are plain C structures of integers and pointers, for which zero is a value.
        let (header, vector, cmsg): (libc::mmsghdr, libc::iovec, libc::cmsghdr) =
            unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        let mut control = SegmentControl { header: cmsg, segment: 0 };
        control.header.cmsg_level = libc::SOL_UDP;
        control.header.cmsg_type = libc::UDP_SEGMENT;
        // SAFETY: CMSG_LEN only computes.
        control.header.cmsg_len = unsafe { libc::CMSG_LEN(size_of::<u16>() as u32) } as _;
        Self {
            headers: vec![header; MAX_FRAMES],
            vectors: vec![vector; MAX_FRAMES],
            controls: vec![control; MAX_FRAMES],
        }
    }

    /// Makes one message of each train of `planner`, whose members are in `slots`, which point into `bytes`.
    pub(super) fn load<'a>(&'a mut self, bytes: &'a [u8], slots: &[Slot], planner: &Planner) -> Loaded<'a> {
        let mut next = 0;
        for train in 0..planner.trains() {
            let members = planner.members(train);
            let first = next;
            let mut segment = 0;
            for member in members {
                let slot = &slots[usize::from(*member)];
                // A slice, so that a slot that points outside panics here and never reaches the kernel.
                let datagram = &bytes[slot.offset - usize::from(slot.head)..slot.offset + slot.len as usize];
                self.vectors[next] =
                    libc::iovec { iov_base: datagram.as_ptr().cast_mut().cast(), iov_len: datagram.len() };
                next += 1;
                // The first is as long as all but the last.
                segment = segment.max(datagram.len());
            }
            let header = &mut self.headers[train].msg_hdr;
            header.msg_iov = self.vectors[first..next].as_mut_ptr();
            header.msg_iovlen = (next - first) as _;
            if members.len() > 1 {
                let control = &mut self.controls[train];
                control.segment = segment as u16;
                header.msg_control = (&raw mut *control).cast();
                header.msg_controllen = size_of::<SegmentControl>() as _;
            } else {
                header.msg_control = std::ptr::null_mut();
                header.msg_controllen = 0;
            }
        }
        Loaded { headers: &mut self.headers[..planner.trains()], bytes: PhantomData }
    }
}

/// Messages ready to be sent. Holds on to everything that they point to.
pub(super) struct Loaded<'a> {
    headers: &'a mut [libc::mmsghdr],
    bytes: PhantomData<&'a [u8]>,
}

impl Loaded<'_> {
    /// How many messages there are.
    pub(super) fn len(&self) -> usize {
        self.headers.len()
    }

    /// Sends the messages from `first` on; gives how many the kernel took, at least one. An error is about message
    /// `first`, which was not sent. Blocks on a full queue only if it `waits`.
    pub(super) fn send(&mut self, socket: &PortSocket, first: usize, method: Method, waits: bool) -> io::Result<usize> {
        let headers = &mut self.headers[first..];
        let flags = if waits { 0 } else { libc::MSG_DONTWAIT };
        let result = if method == Method::Single {
            // SAFETY: as below, for one message.
            let result = unsafe { libc::sendmsg(socket.fd(), &raw const headers[0].msg_hdr, flags) };
            if result < 0 { -1 } else { 1 }
        } else {
            // SAFETY: `Messages::load` filled all these headers. They point to vectors and control messages in boxed
            // slices of `Messages` and the vectors to `bytes`; all are borrowed for as long as
            // `self` lives, so none has moved or gone. The kernel writes only to the headers' lengths.
            unsafe { libc::sendmmsg(socket.fd(), headers.as_mut_ptr(), headers.len() as libc::c_uint, flags) }
        };
        usize::try_from(result).map_err(|_| io::Error::last_os_error())
    }
}
