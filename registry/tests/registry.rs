//! The registry from outside: real directories, real files, one module per subject.

mod gc;
mod hostile;
mod messages;
mod mirror;
mod parsers;
mod projects;
mod publishing;
mod race;
mod resolution;
mod world;
