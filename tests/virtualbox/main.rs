//! Real `VirtualBox`, in the tree that `ci/virtualbox/install` makes, without its kernel driver: its own interpreter runs
//! the guest of `guest/`, which fits behind a boot sector and speaks the job protocol. What the real one cannot be made
//! to do is done by a scripted one (`fake`).

mod bench;
mod ends;
mod fake;
mod guest;
mod hardware;
mod harness;
mod jobs;
mod many;
mod registry;
mod slots;
