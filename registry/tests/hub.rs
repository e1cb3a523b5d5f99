//! The Hugging Face Hub from outside: a fake one on loopback, kind and hostile.
