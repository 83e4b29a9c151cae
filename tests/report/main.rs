//! The report on an image: what it says, that nothing of an image can act in it, and how it looks
//! in a browser.

mod browser;
mod contrast;
mod diff;
mod fixture;
mod page;
mod picture;
