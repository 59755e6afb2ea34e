//! Capture filters, judged by tcpdump's programs over every frame of the captures, and by the kernel.

mod judge;
mod kernel;
mod verdicts;
