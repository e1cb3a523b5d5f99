//! What training needs beside the arithmetic: hidden states kept on disk, logs, ranks, and the card of what was trained.
//!
//! | room | what it is for |
//! | --- | --- |
//! | [`cache`] | the backbone's hidden states of segments seen before, on disk and bounded |

pub mod cache;
