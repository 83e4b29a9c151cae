//! The report on an image: what it says, that nothing of an image can act in it, and how it looks
//! in a browser. Besides: how images differ, and which of them go.

mod browser;
mod contrast;
mod diff;
mod fixture;
mod gc;
mod page;
mod picture;
