//! The registry from outside: real directories, real files, one module per subject.

mod doctor;
mod hostile;
mod local;
mod messages;
mod packages;
mod parsers;
mod projects;
mod publishing;
mod race;
mod resolution;
mod stores;
mod world;
