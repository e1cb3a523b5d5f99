//! The registry from outside: real directories, real files, one module per subject.

mod doctor;
mod gc;
mod hostile;
mod keys;
mod local;
mod messages;
mod mirror;
mod packages;
mod parsers;
mod projects;
mod publishing;
mod race;
mod resolution;
mod stores;
mod trust;
mod updates;
mod world;
mod yanks;
