//! What is known of an image, as one HTML page that stands by itself, and how two images differ.
//!
//! The page is made from the image's own lists only, so that the same image gives the same bytes.
//! It loads nothing: style, script and pictures are inside, and its content security policy
//! allows those by digest and nothing else. Every text of the image is escaped by the one place
//! that writes values, [`render`].

mod amount;
mod comparison;
mod error;
mod facts;
mod files;
mod journey;
mod libraries;
mod licences;
mod map;
mod packages;
mod page;
mod render;
mod treemap;

pub use comparison::{Change, Comparison, Side};
pub use error::ReportError;
pub use facts::Facts;
pub use render::render;
