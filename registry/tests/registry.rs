//! The registry from outside: real directories, real files, one module per subject.

mod hostile;
mod messages;
mod parsers;
mod projects;
mod publishing;
mod race;
mod resolution;
mod updates;
mod world;
mod yanks;
