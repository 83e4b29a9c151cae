//! What a program loads that `DT_NEEDED` does not say: plug-ins that the C library, or another
//! library, opens by name while the program runs.
//!
//! [`table`] lists the families: what tells that a program uses one, and where its members are.
//! [`uses`] answers for one program. All of it comes from the scanned tree: its `nsswitch.conf`,
//! its folders of modules. Nothing here decides whether a program starts.

mod conf;
mod gconv;
mod glob;
mod marks;
mod name_services;
mod openssl;
mod pam;
mod reach;
mod scripting;
mod strings;
mod table;
mod uses;

pub(super) use marks::Marks;
pub use reach::{Reached, plugin_files, reached};
pub use uses::{Certainty, Member, Use, uses};
pub(super) use uses::{Key, Members};
