//! Real `VirtualBox`, in the tree that `ci/virtualbox/install` makes, without its kernel driver: its own interpreter runs
//! the guest of `guest/`, which fits behind a boot sector and speaks the job protocol.

mod guest;
mod harness;
mod jobs;
