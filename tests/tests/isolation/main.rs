//! What confines a pod, told from inside by the probe: side by side with other runtimes, against the list of known
//! attacks, and what each way out of it opens.
//!
//! The two tables of docs/isolation.md are generated here and compared; `RKT_WRITE_DOCS=1` writes them anew.

mod columns;
mod cve;
mod doc;
mod inside;
mod reach;
mod report;
mod rows;
mod sides;
